"""A bench under way: how much it measures, which sides run, and the texts that its cases share. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measure import Measure, Sample, interleave
from benchmarks.side import Side

Log = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Args:
        prompts: of a case.
        static: rows of a peer's static batch; so many of the prompts are measured there.
        single: prompts that are measured of a peer that takes one at a time.
        tokens: longest text; 0 takes the presets' lengths.
        exact: tokens a request where both sides write equally many.
        trial: tokens a request to find out how many sequences a peer is fastest with.
        rows, batch: of training.
        steps: of trl that are measured.
        epochs: passes of DPO; the reference is computed once.
        shape_seconds: spent on each shape of the machine's own rate.
        verdicts: texts to judge.
        loop: changes to the demo preset.
        stage: requests of each stage of the demo loop that a peer does.
    """

    prompts: int = 64
    static: int = 32
    single: int = 4
    tokens: int = 0
    exact: int = 128
    trial: int = 16
    rows: int = 32
    batch: int = 8
    steps: int = 2
    epochs: int = 3
    shape_seconds: float = 0.3
    verdicts: int = 8
    loop: dict[str, Any] = field(default_factory=dict)
    stage: int = 2


FULL = Size()
QUICK = Size(
    prompts=6,
    static=4,
    single=1,
    tokens=12,
    exact=8,
    trial=2,
    rows=4,
    batch=2,
    steps=1,
    epochs=1,
    shape_seconds=0.02,
    verdicts=1,
    loop={"n_train": 3, "n_heldout": 2, "n_benign": 0, "candidates": 1, "judge": "rules+model", "tokens": 12},
    stage=1,
)


@dataclass
class Bench:
    """The sides that run now; cases share them.

    Args:
        model, dtype: as `benchmarks.ours.Redraft` takes them.
        rounds: A B pairs of each comparison, as far as they fit into `seconds`.
        size: how much is measured.
        log: called with a sentence on the progress.
        seconds: of one case; a round that has begun is finished.
    """

    model: str
    dtype: str
    rounds: int
    size: Size
    log: Log
    seconds: float = float("inf")
    _open: ExitStack = field(default_factory=ExitStack)
    _sides: dict[str, Side] = field(default_factory=dict)
    _facts: dict[str, Any] = field(default_factory=dict)
    _texts: dict[str, Any] = field(default_factory=dict)
    _rows: list[Any] = field(default_factory=list)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def redraft(self) -> Side:
        return self.side("redraft")

    def side(self, name: str) -> Side:
        """A side with the model loaded; started when it is first asked for."""
        if name not in self._sides:
            self._sides[name] = self._open.enter_context(self.fresh(name))
            # First calls build what is built once: kernels for shapes, compiled patterns, memory.
            facts = self._sides[name].call("warm")
            if name == "redraft":
                self._facts = facts
        return self._sides[name]

    def fresh(self, name: str) -> Side:
        """A new process for a side; who asks for it closes it."""
        self.log(f"starting {name} …")
        if name == "redraft":
            return Side(name, model=self.model, dtype=self.dtype)
        facts = self.facts
        if name == "llama.cpp":
            return Side(name, gguf=facts["gguf"], threads=facts["threads"])
        where = {"folder": facts["folder"], "gguf": facts["gguf"], "dtype": facts["dtype"]}
        return Side(name, **where) if name == "trl" else Side(name, **where, ends=facts["ends"])

    @property
    def facts(self) -> dict[str, Any]:
        """Of the model: what peers need to load it."""
        self.side("redraft")
        return self._facts

    @property
    def known(self) -> dict[str, Any]:
        """What a reader must know of all figures; without asking for it, so it may be empty."""
        return {key: self._facts[key] for key in ("model", "dtype", "threads") if key in self._facts}

    @property
    def texts(self) -> dict[str, Any]:
        """Requests for drafts, critiques and revisions."""
        if not self._texts:
            self.log("writing the drafts and critiques that the cases work on …")
            self._texts = self.redraft.call("texts", count=self.size.prompts, tokens=self.size.tokens)
        return self._texts

    @property
    def rows(self) -> list[Any]:
        """Rows to train on and to score."""
        if not self._rows:
            self.log("writing the answers that training and scoring work on …")
            self._rows = self.redraft.call("rows", count=self.size.rows, tokens=self.size.tokens)
        return self._rows

    def measure(self, sides: Mapping[str, Measure], share: float = 1.0) -> dict[str, list[Sample]]:
        """The bench's rounds of these, in this share of a case's time."""
        return interleave(sides, self.rounds, self.log, share * self.seconds)

    def once(self, sides: Mapping[str, Measure]) -> dict[str, list[Sample]]:
        """A single round, of what hardly differs from one to the next."""
        return interleave(sides, 1, self.log)
