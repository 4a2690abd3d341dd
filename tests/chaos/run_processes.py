"""What the chaos tests share: processes of a run, and what its journal must then hold."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.events.base import Record
from engine.runs.journal_reader import JournalReader, read
from engine.settings import RunConfig, to_json

LONG = int(os.environ.get("REDRAFT_CHAOS", "0"))
"""How many kills, and a quarter of it how many signals of each kind; 0 is the short form."""

SEED = int(os.environ.get("REDRAFT_CHAOS_SEED", "1"))

COUNT, FULL, ONCE, KILL = range(4)
"""What `faults.c` does: only count, fail from the k-th operation on, fail that one alone, kill in the middle of it."""

ITEMS = (
    "INITIAL-GENERATION",
    "INITIAL-EVALUATION",
    "CRITIQUE-GENERATION",
    "REVISION-CANDIDATE",
    "CANDIDATE-EVALUATION",
    "REVISION-GENERATION",
    "REVISION-EVALUATION",
    "TRAINING-PAIR-CREATED",
    "COMPARISON-ANSWER",
    "COMPARISON-EVALUATION",
    "COMPARISON-TEST",
    "SIDE-BY-SIDE-DIFF",
    "COMPARISON-SUMMARY",
    "TRAIN-COMPLETE",
    "RUN-COMPLETE",
)
"""Records of which a finished run holds each once; the steps of the training are looked at apart."""


def faults(folder: Path) -> Path | None:
    """`faults.c` as a library that can be preloaded; None where there is no C compiler."""
    library = folder / "faults.so"
    source = Path(__file__).with_name("faults.c")
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return library


class ForkServer:
    """Forks processes of runs (see `fork_server.py`)."""

    def __init__(self, home: Path, library: Path | None) -> None:
        self.faults = library is not None
        environment = {**os.environ, "REDRAFT_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])}
        environment |= {"TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
        if library is not None:
            environment["LD_PRELOAD"] = str(library)
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fork_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._ended: dict[int, int] = {}
        self._begun: list[int] = []
        self._buffer = b""
        assert "ready" in self._line(120.0)

    def begin(self, **order: Any) -> int:
        """Fork a child that does this; its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"environment": {}, **order}).encode() + b"\n")
        self._process.stdin.flush()
        while not self._begun:
            self._take(self._line(30.0))
        return self._begun.pop()

    def poll(self, child: int) -> int | None:
        """The child's exit code (negative: the signal that killed it), None while it runs."""
        # What was read with an earlier line is in the buffer, and no descriptor tells of it.
        while child not in self._ended and (
            b"\n" in self._buffer or select.select([self._process.stdout], [], [], 0)[0]
        ):
            self._take(self._line(5.0))
        return self._ended.get(child)

    def wait(self, child: int, seconds: float = 120.0) -> int:
        """The same, waited for.

        Raises:
            AssertionError: it does not end.
        """
        end = time.monotonic() + seconds
        while (code := self.poll(child)) is None:
            assert time.monotonic() < end, f"process {child} does not end"
            time.sleep(0.005)
        return code

    def close(self) -> None:
        """End the fork server; processes that go on are not touched."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _take(self, answer: dict[str, int]) -> None:
        if "began" in answer:
            self._begun.append(answer["began"])
        else:
            self._ended[answer["ended"]] = answer["code"]

    def _line(self, seconds: float) -> dict[str, int]:
        assert self._process.stdout is not None
        end = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the fork server does not answer"
            data = os.read(self._process.stdout.fileno(), 1 << 16)
            assert data, "the fork server died"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, int] = json.loads(line)
        return answer


@dataclass
class RunProcesses:
    """One run's folder, and the processes that perform it, one after the other."""

    fork_server: ForkServer
    folder: Path
    config: RunConfig
    arguments: list[str]
    known: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = JournalReader(self.folder)

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    @property
    def command(self) -> list[str]:
        """What a person would type next."""
        if (self.folder / "run.json").exists():
            return ["resume", str(self.folder)]
        return ["run", *self.arguments, "-o", str(self.folder)]

    def begin(self, **order: Any) -> int:
        """Begin the run, or go on with it."""
        return self.fork_server.begin(what="command", arguments=self.command, log=str(self.log), **order)

    def finish(self) -> None:
        """Go on to the end, undisturbed."""
        code = self.fork_server.wait(self.begin())
        assert code == 0, f"exit code {code}: {self.log.read_text()[-2000:]}"
        assert events(self.folder)[-1].stage == "RUN-COMPLETE"

    def look(self) -> int:
        """How many records there are by now."""
        self.known += self._reader.poll()
        return len(self.known)

    def reach(self, at: int, child: int, seconds: float = 120.0) -> bool:
        """Wait until this many records are written; False where the child ended before."""
        end = time.monotonic() + seconds
        while self.look() < at:
            if self.fork_server.poll(child) is not None:
                return False
            assert time.monotonic() < end, "the run does not get on"
            time.sleep(0.0005)
        return True

    @property
    def stage(self) -> str:
        """Of the loop, as far as it came."""
        names = [str(event.data.get("name")) for event in self.known if event.stage == "STAGE-START"]
        return names[-1] if names else "before the first stage"


def as_arguments(config: RunConfig) -> list[str]:
    """The options of `redraft run` that make these settings."""
    plain = to_json(config)
    groups = ("draft", "critique", "revision", "answer", "train")
    numbers = {f"{group}.{name}": value for group in groups for name, value in plain[group].items()}
    numbers |= {name: value for name, value in plain.items() if name not in groups}
    changes = [
        f"{name}={value}"
        for name, value in numbers.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    chosen = {
        "-g": config.generator,
        "--judge": config.judge,
        "--constitution": config.constitution,
        "--teacher": config.teacher,
        "--dtype": config.dtype,
        "--objective": config.train.objective,
        "-v": 0,
    }
    named = [str(word) for pair in chosen.items() for word in pair]
    return [*named, *(word for change in changes for word in ("--set", change))]


def events(folder: Path) -> list[Record]:
    """All whole records."""
    return list(read(folder))


@dataclass(frozen=True)
class Whole:
    """What a run that nothing happened to ended in."""

    pairs: bytes
    losses: dict[int, float]
    adapter: bytes
    outcome: Any
    records: int

    @classmethod
    def of(cls, folder: Path) -> Whole:
        """Raises AssertionError where the run did nothing that could be compared."""
        found = cls(
            (folder / "pairs.jsonl").read_bytes(),
            losses(folder),
            (folder / "adapter" / "adapter_model.safetensors").read_bytes(),
            _outcome(folder),
            len(events(folder)),
        )
        assert found.pairs
        assert len(found.losses) > 3
        return found


def _outcome(folder: Path) -> Any:
    """The report without what a clock said."""
    report = json.loads((folder / "report.json").read_bytes())
    return {name: _without_seconds(report[name]) for name in ("pairs", "summary", "prompts")}


def _without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_seconds(inner) for name, inner in value.items() if name != "seconds"}
    return [_without_seconds(inner) for inner in value] if isinstance(value, list) else value


def losses(folder: Path) -> dict[int, float]:
    """Step -> loss; a step that was done again must have given the same."""
    found: dict[int, float] = {}
    for event in events(folder):
        if _is_step(event):
            step = int(event.data["step"])
            assert step not in found or abs(found[step] - event.data["loss"]) <= 1e-6, f"step {step} differs"
            found[step] = float(event.data["loss"])
    return found


def _is_step(event: Record) -> bool:
    return event.stage.startswith("EPOCH-") and "lr" in event.data


def _key(event: Record) -> tuple[object, ...] | None:
    if _is_step(event):
        return "step", event.data["step"]
    name = event.stage.split(" ")[0]
    if name not in ITEMS:
        return None
    members = ("candidate", "set", "arm", "sample")
    return name, event.item, *(event.data.get(member) for member in members)


def repeated(found: Iterable[Record]) -> list[int]:
    """For each time that the run was gone on with: how many items it did that had been done before."""
    done: set[tuple[object, ...]] = set()
    again = [0]
    for event in found:
        if event.stage == "RUN-RESUMED":
            again.append(0)
        key = _key(event)
        if key is not None:
            again[-1] += key in done
            done.add(key)
    return again


def missing(folder: Path, like: Path) -> Counter[object]:
    """Items that the other run has and this one has not, however often."""
    return Counter({_key(event): 1 for event in events(like)}) - Counter({_key(event): 1 for event in events(folder)})


def litter(folder: Path) -> list[str]:
    """What a finished run must not leave behind."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".*")]


def check(folder: Path, whole: Whole, like: Path) -> None:
    """That this run, whatever happened to it, ended as the other did.

    Raises:
        AssertionError: it did not.
    """
    assert events(folder)[-1].stage == "RUN-COMPLETE"
    assert not missing(folder, like)
    assert max(repeated(events(folder))) <= 1
    mine = losses(folder)
    assert mine.keys() == whole.losses.keys()
    assert max(abs(mine[step] - whole.losses[step]) for step in mine) <= 1e-6
    assert (folder / "pairs.jsonl").read_bytes() == whole.pairs
    assert (folder / "adapter" / "adapter_model.safetensors").read_bytes() == whole.adapter
    assert _outcome(folder) == whole.outcome
    assert litter(folder) == []
