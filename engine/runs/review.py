"""Blind reading of a run: base and trained answers in random order, the reader's choices, and what they add up to.

Choices are kept in `review.jsonl` in the run's folder, a line for each, which nothing else in the run reads or
changes. The order of the pairs and the side of each answer follow from the seed by hash, so a reading can be
interrupted, resumed, or done in an editor and imported.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from engine.errors import InputError, StorageError
from engine.events.codec import dumps
from engine.files import own_folder
from engine.json_values import is_number
from engine.runs.journal_reader import read
from engine.stats.exact import sign_test_p, wilson_interval
from engine.text import sanitize, truncate

REVIEW = "review.jsonl"
"""Name of the file with the choices in a run's folder."""

Choice = Literal["left", "right", "fine", "bad", "skip"]
"""Which answer the reader prefers: one of them, neither since both are fine or both are bad, or no decision."""

CHOICES: tuple[Choice, ...] = get_args(Choice)

PAIRS = 50
"""Pairs that are read unless a number is asked for."""

JUDGE_MARGIN = 0.05
"""Difference of the expected scores from which on the judge counts as preferring the answer with the lower one."""

_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class BlindPair:
    """Two answers to one prompt, without the names of the models.

    Args:
        key: ten hexadecimal digits of seed, prompt and answers; says nothing of who wrote what.
        item: the prompt's id.
        prompt, left, right: the texts.
        left_arm: "base" or "trained"; never shown before the end.
        expected: the judge's expected score of the base and of the trained answer; None without a verdict.
    """

    key: str
    item: str
    prompt: str
    left: str
    right: str
    left_arm: str
    expected: tuple[float | None, float | None]

    def preferred(self, choice: Choice) -> str:
        """ "base" or "trained"; "" where the choice prefers neither."""
        other = "trained" if self.left_arm == "base" else "base"
        return {"left": self.left_arm, "right": other}.get(choice, "")


@dataclass(frozen=True)
class ReviewResult:
    """What a reading adds up to.

    Args:
        seed: of the reading.
        trained, base: pairs in which this model's answer was preferred.
        fine, bad, skipped: pairs without a preference.
        share: of the pairs with a preference, those for the trained model, with the ends of the 95 % interval (Wilson);
            None without any.
        p: exact two-sided sign test of `trained` against `base`.
        judged: pairs with a preference of the reader and of the judge (`JUDGE_MARGIN`).
        agreement: share of these in which both prefer the same answer, with its 95 % interval.
    """

    seed: int
    trained: int = 0
    base: int = 0
    fine: int = 0
    bad: int = 0
    skipped: int = 0
    share: tuple[float, float, float] | None = None
    p: float | None = None
    judged: int = 0
    agreement: tuple[float, float, float] | None = None

    @property
    def read(self) -> int:
        """Pairs that were decided; skipped ones are not."""
        return self.trained + self.base + self.fine + self.bad

    def to_data(self) -> dict[str, Any]:
        """As the report's member `review` (docs/report.md)."""
        return {
            "seed": self.seed,
            "read": self.read,
            "trained": self.trained,
            "base": self.base,
            "fine": self.fine,
            "bad": self.bad,
            "skipped": self.skipped,
            "share": self.share,
            "p": self.p,
            "judged": self.judged,
            "agreement": self.agreement,
        }


class Review:
    """A reading: its pairs in order, and the choices so far.

    Args:
        folder: the run's.
        seed: of the order; the last one used for this run, or 0, if not given.
        count: pairs to read, the first of the order; all if 0.

    Raises:
        InputError: the run has no two different answers to any held-out prompt (yet).
        StorageError: the journal or the choices cannot be read.
    """

    def __init__(self, folder: Path, seed: int | None = None, count: int = PAIRS) -> None:
        self.folder = folder
        rows = _rows(folder)
        self.seed = seed if seed is not None else _last_seed(rows)
        found = sorted(_pairs(folder, self.seed), key=lambda pair: pair.key)
        self.pairs: tuple[BlindPair, ...] = tuple(found[:count] if count else found)
        self._places = {pair.key: place for place, pair in enumerate(self.pairs)}
        known = {pair.key for pair in found}
        self._rows = {row["key"]: row for row in rows if row["seed"] == self.seed and row["key"] in known}

    def choice(self, place: int) -> Choice | None:
        """The choice on the pair at this place; None before there is one."""
        row = self._rows.get(self.pairs[place].key)
        return row["choice"] if row is not None else None

    @property
    def done(self) -> int:
        """Pairs that have a choice."""
        return sum(pair.key in self._rows for pair in self.pairs)

    def next_open(self, place: int = 0) -> int | None:
        """The first pair without a choice from this place on, then from the beginning; None where all have one."""
        order = [*range(place, len(self.pairs)), *range(place)]
        return next((one for one in order if self.pairs[one].key not in self._rows), None)

    def choose(self, place: int, choice: Choice) -> None:
        """Keep a choice; an earlier one on the same pair is replaced.

        Raises:
            StorageError: it cannot be written.
        """
        self._keep([(self.pairs[place], choice)])

    def take(self, choices: Mapping[str, Choice]) -> int:
        """Keep the choices of a sheet, key -> choice; returns how many are new or changed.

        Raises:
            StorageError: they cannot be written.
        """
        wanted = ((self.pairs[self._places[key]], choice) for key, choice in choices.items())
        new = [(pair, choice) for pair, choice in wanted if self._rows.get(pair.key, {}).get("choice") != choice]
        self._keep(new)
        return len(new)

    def place(self, key: str) -> int | None:
        """Where the pair with this key is; None where there is none."""
        return self._places.get(key)

    def result(self) -> ReviewResult:
        """What the choices of this reading add up to."""
        return _result(self.seed, self._rows.values())

    def _keep(self, choices: Sequence[tuple[BlindPair, Choice]]) -> None:
        rows = [
            {
                "version": 1,
                "seed": self.seed,
                "key": pair.key,
                "item": pair.item,
                "left": pair.left_arm,
                "choice": choice,
                "preferred": pair.preferred(choice),
                "expected": list(pair.expected),
                "time": round(time.time(), 3),
            }
            for pair, choice in choices
        ]
        if rows:
            _append(self.folder / REVIEW, "".join(dumps(row) + "\n" for row in rows).encode())
            self._rows.update((str(row["key"]), row) for row in rows)


def review_result(folder: Path) -> ReviewResult | None:
    """What the last reading of a run adds up to; None where there is none. Reads no texts.

    Raises:
        StorageError: the choices cannot be read.
    """
    rows = _rows(folder)
    if not rows:
        return None
    seed = _last_seed(rows)
    return _result(seed, {row["key"]: row for row in rows if row["seed"] == seed}.values())


def _result(seed: int, rows: Iterable[Mapping[str, Any]]) -> ReviewResult:
    rows = list(rows)
    trained, base = (sum(row["preferred"] == arm for row in rows) for arm in ("trained", "base"))
    counts = {name: sum(row["choice"] == name for row in rows) for name in ("fine", "bad", "skip")}
    judged = [(row["preferred"], _judge(row["expected"])) for row in rows if row["preferred"]]
    both = [(reader, judge) for reader, judge in judged if judge]
    same = sum(reader == judge for reader, judge in both)
    decided = trained + base
    return ReviewResult(
        seed,
        trained,
        base,
        counts["fine"],
        counts["bad"],
        counts["skip"],
        (trained / decided, *wilson_interval(trained, decided)) if decided else None,
        sign_test_p(trained, base) if decided else None,
        len(both),
        (same / len(both), *wilson_interval(same, len(both))) if both else None,
    )


def _judge(expected: Sequence[float | None]) -> str:
    base, trained = expected
    if base is None or trained is None or abs(base - trained) < JUDGE_MARGIN:
        return ""
    return "trained" if trained < base else "base"


def _pairs(folder: Path, seed: int) -> list[BlindPair]:
    """A pair for each held-out prompt that both models answered, each differently."""
    weights = _weights(folder)
    found: dict[str, BlindPair] = {}
    compared = 0
    for record in read(folder):
        if not record.stage.startswith("COMPARISON-TEST") or record.data.get("set") == "benign":
            continue
        compared += 1
        base, trained = (str(record.texts.get(arm, "")) for arm in ("base", "trained"))
        if base.strip() == trained.strip():
            continue
        digest = hashlib.sha256("\0".join([str(seed), record.item, base, trained]).encode("utf-8", "replace"))
        swapped = digest.digest()[-1] % 2 == 1
        pair = BlindPair(
            digest.hexdigest()[:10],
            record.item,
            sanitize(str(record.texts.get("prompt", ""))),
            sanitize(base),
            sanitize(trained),
            "base",
            (_expected(record.data.get("base"), weights), _expected(record.data.get("trained"), weights)),
        )
        found[record.item] = replace(pair, left=pair.right, right=pair.left, left_arm="trained") if swapped else pair
    if not found:
        raise InputError(
            "no held-out prompt has two answers that differ."
            if compared
            else "the run has not compared base and trained model yet.",
            where=str(folder),
            next_step="Finish the run first: `redraft resume`." if not compared else "There is nothing to read.",
        )
    return list(found.values())


def _weights(folder: Path) -> Mapping[str, float]:
    """Principle -> weight, as the report has them; empty where it has none: each then counts as 1."""
    try:
        report = json.loads((folder / "report.json").read_bytes())
        weights = report["constitution"]["weights"]
        return {str(name): float(weight) for name, weight in weights.items()}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return {}


def _expected(verdict: Any, weights: Mapping[str, float]) -> float | None:
    if not isinstance(verdict, Mapping) or verdict.get("flagged") is None:
        return None
    principles = verdict.get("principles")
    if not isinstance(principles, Mapping) or not principles:
        return None
    known = {name: p for name, p in principles.items() if is_number(p)}
    return round(sum(weights.get(name, 1.0) * p for name, p in known.items()), 6)


# The file


def _rows(folder: Path) -> list[dict[str, Any]]:
    """The whole rows of a run's choices, oldest first; lines that are damaged are left out."""
    path = folder / REVIEW
    try:
        with open(path, "rb") as file:
            lines = file.read(_MAX_BYTES).split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"the choices cannot be read ({error.strerror}).", where=str(path)) from error
    return [row for row in map(_row, lines) if row is not None]


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or row.get("choice") not in CHOICES or not isinstance(row.get("key"), str):
        return None
    seed, expected = row.get("seed"), row.get("expected")
    whole = isinstance(seed, int) and row.get("preferred") in ("base", "trained", "")
    if not whole or not isinstance(expected, list) or len(expected) != 2:
        return None
    row["expected"] = [value if is_number(value) else None for value in expected]
    return row


def _last_seed(rows: Sequence[Mapping[str, Any]]) -> int:
    return int(rows[-1]["seed"]) if rows else 0


def _append(path: Path, lines: bytes) -> None:
    try:
        own_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            # A line that was cut when a process died must not swallow the next one.
            torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
            file.write(b"\n" * torn + lines)
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(
            f"the choice cannot be written ({error.strerror}).",
            where=str(path),
            next_step="Check the folder's permissions and free space.",
        ) from error


# The sheet: a reading in an editor

_HELP = """\
Write your choice after each `choice:`: left, right, fine (both are fine), bad (both are bad) or skip.
Empty ones stay open. Then: `redraft review {run} --import FILE`.
"""
_WORDS: Mapping[str, Choice] = {
    **{choice: choice for choice in CHOICES},
    "l": "left",
    "r": "right",
    "both fine": "fine",
    "f": "fine",
    "both bad": "bad",
    "b": "bad",
    "s": "skip",
}


def sheet(review: Review) -> str:
    """The pairs as Markdown with an empty choice each (those that were made are filled in); names no model."""
    run = sanitize(review.folder.name)
    blocks = [f"# Blind reading of {run}\n\nseed: {review.seed} · {len(review.pairs)} pairs\n\n{_HELP.format(run=run)}"]
    for place, pair in enumerate(review.pairs):
        texts = (("Prompt", pair.prompt), ("Left", pair.left), ("Right", pair.right))
        blocks.append(f"## {place + 1} {pair.key}\n\nchoice: {review.choice(place) or ''}".rstrip() + "\n")
        blocks += [f"**{name}**\n\n{_quoted(text)}\n" for name, text in texts]
    return "\n".join(blocks)


def read_sheet(text: str, where: str) -> tuple[int, dict[str, tuple[Choice, int]]]:
    """The seed of a sheet, and key -> (choice, number of its line); pairs without a choice are left out.

    Args:
        text: of the file.
        where: its name, for messages.

    Raises:
        InputError: a choice is not one of the words, or the file is not a sheet; names the line.
    """
    seed: int | None = None
    key = ""
    found: dict[str, tuple[Choice, int]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        if line.startswith("seed:") and seed is None:
            word = line.removeprefix("seed:").split("·")[0].strip()
            seed = int(word) if word.lstrip("-").isdecimal() else None
        elif line.startswith("## "):
            key = line.split()[-1]
        elif line.startswith("choice:"):
            word = " ".join(line.removeprefix("choice:").strip().casefold().rstrip(".").split())
            if word and word not in _WORDS:
                raise InputError(
                    f"{truncate(sanitize(word), 40)!r} is not a valid choice.",
                    where=f"{where}, line {number}",
                    next_step=f"Write {', '.join(CHOICES[:-1])} or {CHOICES[-1]}.",
                )
            if word:
                found[key] = (_WORDS[word], number)
    if seed is None:
        raise InputError(
            "this is not a sheet of a blind reading.",
            where=where,
            next_step="`redraft review RUN --export FILE` writes one.",
        )
    return seed, found


def import_sheet(folder: Path, text: str, where: str) -> tuple[Review, int]:
    """Keep the choices of a sheet; returns the reading and how many choices are new or changed.

    Raises:
        InputError: it is not a sheet, or not of this run; names the line.
        StorageError: they cannot be written.
    """
    seed, found = read_sheet(text, where)
    review = Review(folder, seed, count=0)
    for key, (_, number) in found.items():
        if review.place(key) is None:
            raise InputError(
                f"this run has no pair {truncate(sanitize(key), 20)!r}.",
                where=f"{where}, line {number}",
                next_step="Name the run that the sheet was exported from.",
            )
    return review, review.take({key: choice for key, (choice, _) in found.items()})


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n")) if text.strip() else "> (empty)"
