"""One side of a comparison in a process of its own: it is called by name and answers with plain data.

Sides are apart so that each library runs with its own settings of threads, so that memory can be measured apart, and so
that Ctrl-C can end a measurement in the middle of anything. The process that asks needs no torch.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TextIO

from engine.errors import RedraftError
from engine.text import sanitize, truncate

SIDES: dict[str, tuple[str, str]] = {
    "redraft": ("benchmarks.ours", "Redraft"),
    "transformers": ("benchmarks.peers", "Transformers"),
    "llama.cpp": ("benchmarks.llama", "LlamaCpp"),
    "trl": ("benchmarks.trainers", "Trl"),
}
"""Name -> module and class; the class's public methods are what can be called."""

_OURS = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "TOKENIZERS_PARALLELISM")
"""Set by `engine.models.machine_profile` for Redraft itself; peers run with their libraries' own defaults."""


class SideError(RedraftError):
    """A side failed; the message is what it said. `side` is its name."""

    def __init__(self, side: str, what: str) -> None:
        super().__init__(what, where="bench")
        self.side = side


class Side:
    """A running side. Use it as a context manager, so that its process ends in any case.

    Args:
        name: one of `SIDES`.
        settings: for the class's constructor.

    Raises:
        SideError: from any call, where the other process raised or died.
    """

    def __init__(self, name: str, **settings: Any) -> None:
        self.name = name
        environment = {key: value for key, value in os.environ.items() if name == "redraft" or key not in _OURS}
        environment |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 -- closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.side", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            encoding="utf-8",
            env=environment,
            # Ctrl-C in the terminal is for the one who asks.
            start_new_session=True,
        )
        try:
            self._ask("", settings)
        except BaseException:
            self.close()
            raise

    def call(self, method: str, **arguments: Any) -> Any:
        """Call a method of the side and wait for its result."""
        return self._ask(method, arguments)

    def close(self) -> None:
        """End the process, whatever it does."""
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        self._process.wait()
        self._said.close()

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, method: str, arguments: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ""
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps({"method": method, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            said = self._last_words()
            raise SideError(self.name, f"the process that measures {self.name} ended by itself (code {code}{said}).")
        answer = json.loads(line)
        if "error" in answer:
            raise SideError(self.name, f"{self.name} failed: {answer['error']}")
        return answer["value"]

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = sanitize(self._said.read().decode("utf-8", "replace")).strip().splitlines()
        return f": {truncate(lines[-1], 200)}" if lines else ""


def main(name: str) -> None:
    """What the other process does: build the side, then answer one line with one line until stdin ends."""
    answers = _private_stdout()
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines.put,), daemon=True).start()
    side: Any = None
    while True:
        asked = json.loads(lines.get())
        try:
            if asked["method"]:
                value = getattr(side, asked["method"])(**asked["arguments"])
            else:
                module, kind = SIDES[name]
                side, value = getattr(importlib.import_module(module), kind)(**asked["arguments"]), None
            answer = {"value": value}
        except Exception as error:  # noqa: BLE001 -- sent to the caller
            answer = {"error": str(error) if isinstance(error, RedraftError) else f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _private_stdout() -> TextIO:
    """The stream for answers; whatever a library prints goes elsewhere from now on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _read(put: Callable[[str], None]) -> None:
    for line in sys.stdin:
        put(line)
    # The caller is gone; the result of the current work would be lost.
    os._exit(0)


@contextlib.contextmanager
def busy_core() -> Iterator[int]:
    """Start a process that keeps one core busy. Returns its id."""
    code = "import os\nparent = os.getppid()\nprint(flush=True)\nwhile os.getppid() == parent: sum(range(100_000))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    main(sys.argv[1])
