"""A run whose drafts come from a server: requests in flight, memory, and cost a pair, for few prompts and for many.

    python -m benchmarks.endpoint [PROMPTS ...]            # 20 and 20,000 if none are given

The server is a stub in a process of its own that answers every chat after 50 ms. The run is a real one (two drafts a
prompt, verdicts by rules, pairs); it is stopped where its training would begin. The client's processor time counts,
not the wall's: what a machine of two cores can take is what limits 64 requests in flight.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.models.hub.memory import resident

DELAY = 0.05
"""Seconds until the stub answers."""
CONCURRENCY = 64
_WORDS = ("river", "stone", "cloud", "paper", "green", "seven", "window", "market", "travel", "letter", "music",
          "garden", "winter", "bridge", "camera", "doctor", "engine", "forest", "guitar", "harbor")  # fmt: skip


@dataclass
class Stub:
    """The server's own count: requests, the most in flight, and their mean while there were any."""

    requests: int = 0
    now: int = 0
    most: int = 0
    busy: float = 0.0
    area: float = 0.0
    changed: float = field(default_factory=time.perf_counter)

    def step(self, change: int) -> None:
        """One more or one less in flight."""
        at = time.perf_counter()
        self.area += self.now * (at - self.changed)
        self.busy += (at - self.changed) * (self.now > 0)
        self.now, self.changed = self.now + change, at
        self.most = max(self.most, self.now)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next((line.split(":")[1] for line in head.lower().split("\r\n") if "content-length" in line), "0")
            await reader.readexactly(int(length))
            if head.startswith("GET"):
                answer: dict[str, Any] = {"requests": self.requests, "most": self.most, "mean": self.mean()}
            else:
                self.step(1)
                await asyncio.sleep(DELAY)
                self.step(-1)
                self.requests += 1
                text = " ".join(random.choices(_WORDS, k=20))
                answer = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
                answer["usage"] = {"prompt_tokens": 30, "completion_tokens": 20}
            body = json.dumps(answer).encode()
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                         "Connection: close\r\n\r\n".encode() + body)  # fmt: skip
            await writer.drain()
        writer.close()

    def mean(self) -> float:
        """Requests in flight, averaged over the time in which there were any."""
        return self.area / self.busy if self.busy else 0.0


async def _listen() -> None:
    stub = Stub()
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0, backlog=512)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The address of a stub in a process of its own, for the length of a block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.endpoint", "--serve"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.wait()


RULES = """
name = "Plain"

[[principles]]
id = "plain"
title = "Plain words"
short = "plain"
description = "Answers do without these words."
weight = 2.0
critiques = ["Say which."]
revisions = ["Write it anew."]

[[principles.rules]]
id = "plain.word"
category = "word"
pattern = "river|stone"
match = ["river"]
must_not_match = ["tree"]
"""


def measure(prompts: int, folder: Path, url: str) -> dict[str, Any]:
    """Perform the run in this process up to its training."""
    from engine.control import Control
    from engine.errors import Stopped
    from engine.models import machine_profile

    machine_profile.prepare_environment()
    from engine.pipeline.runner import perform
    from engine.settings import RunConfig

    chance = random.Random(0)
    rows = [" ".join(chance.choices(_WORDS, k=9)) + f" {number}?" for number in range(prompts)]
    (folder / "prompts.txt").write_text("\n".join(rows) + "\n")
    (folder / "rules.toml").write_text(RULES)
    config = RunConfig(
        judge="rules",
        constitution=str(folder / "rules.toml"),
        train_prompts=str(folder / "prompts.txt"),
        n_train=prompts,
        n_heldout=2,
        n_benign=0,
        deduplicate=False,
        teacher="samples",
        n_samples=2,
        n_revised=0,
        endpoint=url,
        endpoint_model="stub",
        endpoint_texts="draft",
        endpoint_concurrency=CONCURRENCY,
        dtype="float32",
        device="cpu",
    )
    control = Control()
    watch = _Watch(folder / "run", control, prompts)
    control.add_check(watch)
    with contextlib.suppress(Stopped):
        perform(config, folder / "run", control)
    return watch.result()


class _Watch:
    """Looks at memory and processor time while the drafts come, and stops the run once its pairs are chosen."""

    def __init__(self, folder: Path, control: Any, prompts: int) -> None:
        self._prompts = prompts
        self._journal, self._control = folder / "journal.jsonl", control
        self._position, self._drafts, self._pairs = 0, 0, 0
        self._next = 0.0
        self._memory: list[tuple[int, float]] = []
        self._cpu: dict[str, float] = {}

    def __call__(self) -> None:
        if time.monotonic() < self._next or not self._journal.exists():
            return
        self._next = time.monotonic() + 0.2
        with self._journal.open("rb") as file:
            file.seek(self._position)
            new = file.read()
        self._position += len(new)
        self._drafts += new.count(b'"INITIAL-GENERATION"') + new.count(b'"DRAFT-SAMPLE"')
        self._pairs += new.count(b'"TRAINING-PAIR-CREATED"')
        if self._drafts:
            self._cpu.setdefault("began", time.process_time())
            self._cpu["now"] = time.process_time()
            self._memory.append((self._drafts, resident()))
        if self._pairs >= self._prompts:
            self._control.stop()

    def result(self) -> dict[str, Any]:
        """What was seen."""
        half = [size for drafts, size in self._memory if drafts >= self._prompts]
        return {
            "prompts": self._prompts,
            "drafts": self._drafts,
            "pairs": self._pairs,
            "CPU ms a draft": round(1e3 * (self._cpu["now"] - self._cpu["began"]) / max(1, self._drafts), 2),
            "MB at the first draft": round(self._memory[0][1] / 1e6),
            "MB at half of the drafts": round(half[0] / 1e6) if half else 0,
            "MB at the end": round(self._memory[-1][1] / 1e6),
        }


def main() -> None:
    """Print one line of JSON for each number of prompts."""
    if sys.argv[1:] == ["--serve"]:
        asyncio.run(_listen())
        return
    if len(sys.argv) == 4 and sys.argv[1] == "--run":
        with tempfile.TemporaryDirectory() as place:
            found = measure(int(sys.argv[2]), Path(place), sys.argv[3])
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for prompts in [int(count) for count in sys.argv[1:]] or [20, 20_000]:
        with serving() as url:
            began = time.monotonic()
            command = [sys.executable, "-m", "benchmarks.endpoint", "--run", str(prompts), url]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            with urllib.request.urlopen(url) as reply:
                seen = json.load(reply)
        found |= {"wall s": round(time.monotonic() - began, 1), "requests": seen["requests"]}
        found |= {"most in flight": seen["most"], "mean in flight": round(seen["mean"], 1)}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
