"""A run as a Markdown report to read and send: the result first, then prompt by prompt what was written about it, then
the course of the run, and figures and settings in one table each.

Records are grouped by prompt, so the journal is read twice: once for the places of its records, which is all that is
kept, and once record by record.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from engine.events.base import KEY, SUMMARY, Record
from engine.events.codec import dumps, plain
from engine.events.verbosity import Entry, Part, entry
from engine.json_values import is_number
from engine.runs.report import OUTCOMES, Change, Report
from engine.text import sanitize, truncate

_TITLES = {
    "INITIAL-GENERATION": "Draft",
    "DRAFT-SAMPLE": "Further draft",
    "DEMONSTRATION": "Demonstration",
    "INITIAL-EVALUATION": "Verdict on the draft",
    "CRITIQUE-GENERATION": "Critique",
    "REVISION-CANDIDATE": "Candidate",
    "CANDIDATE-EVALUATION": "Verdict on a candidate",
    "REVISION-GENERATION": "Revision",
    "REVISION-EVALUATION": "Verdict on the revision",
    "TRAINING-PAIR-CREATED": "Pair",
    "PAIR-EVALUATION": "Verdict on the pair",
    "COMPARISON-ANSWER": "Answer",
    "COMPARISON-EVALUATION": "Verdict on an answer",
    "COMPARISON-SECOND-VERDICT": "Second verdict",
    "COMPARISON-TEST": "Both answers",
    "SIDE-BY-SIDE-DIFF": "What changed",
    "EVAL-INPUT": "Text",
    "EVAL-MODEL-RESPONSE": "The judge's answer",
    "EVAL-DECISION": "Verdict",
}
_COMPARED = ("COMPARISON-", "SIDE-BY-SIDE-DIFF")
_CHAPTERS = (("train", "Training prompts"), ("compared", "Compared prompts"), ("evaluated", "Judged texts"))

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&])")
_LEADING = re.compile(r"^(\d{1,9})([.)])|^([-+=])")
_CELL = 300
_HEADING = 100


class Index:
    """Which records belong to which part of the report: their places in the journal, not their texts."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[tuple[str, str], array[int]]] = {name: {} for name, _ in _CHAPTERS}
        self.rest = array("Q")
        self._sets: dict[str, str] = {}  # id of a compared prompt -> its set
        self.start: Record | None = None
        self.report: Mapping[str, Any] = {}
        self.offsets = array("Q")
        self.lengths = array("I")

    def add(self, event: Record, offset: int, length: int, shown: bool) -> None:
        """Take note of a record.

        Args:
            offset, length: of its line, in bytes.
            shown: whether it is part of the report; the result comes from all records.
        """
        if event.stage == "RUN-START" and self.start is None:
            self.start = event
        elif event.stage == "COMPARISON-SUMMARY" and isinstance(event.data.get("result"), Mapping):
            self.report = event.data["result"]
        if not shown:
            return
        number = len(self.offsets)
        self.offsets.append(offset)
        self.lengths.append(length)
        if event.item:
            compared = event.stage.startswith(_COMPARED)
            part = "compared" if compared else "evaluated" if event.stage.startswith("EVAL-") else "train"
            # A record of an older version that does not name its set belongs to the prompt before it.
            known = self._sets.get(event.item, "") if compared else ""
            name = str(event.data.get("set") or known) if compared else ""
            self._sets[event.item] = name
            self.parts[part].setdefault((name, event.item), array("Q")).append(number)
        else:
            self.rest.append(number)


def pages(
    name: str, index: Index, read: Callable[[int], Record | None], verbosity: int, *, filtered: bool = False
) -> Iterator[tuple[str, int]]:
    """Pieces of the report, each with the number of records in it.

    Args:
        name: of the run.
        index: of its records.
        read: returns the record of a number in the index; None where it has become unreadable.
        verbosity: what of each record is shown.
        filtered: whether records were left out by a filter.
    """
    report = Report.of(index.report)
    yield _head(name, index.start, report, filtered), 0
    for part, title in _CHAPTERS:
        stories = index.parts[part]
        if stories:
            yield f"\n## {title}\n", 0
        for number, ((_, item), numbers) in enumerate(stories.items(), 1):
            events = [event for event in map(read, numbers) if event is not None]
            yield _story(number, item, events, verbosity), len(events)
    if index.rest:
        yield "\n## Course of the run\n\n| time (UTC) | stage | what |\n|:--|:--|:--|\n", 0
        for event in map(read, index.rest):
            if event is not None:
                yield _course(event, verbosity), 1
        for event in map(read, index.rest):
            if event is not None:
                yield _texts_of(event, verbosity), 0
    if verbosity >= KEY:
        yield from _figures(index, read)
    yield _settings(index.start), 0


def fenced(text: str) -> str:
    """The text between fences longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def quoted(text: str) -> str:
    """The text as a quotation, line by line, with nothing in it that Markdown would take for markup."""
    lines = [_quoted_line(line) for line in sanitize(text).strip("\n").split("\n")]
    # Two spaces keep a line break where another line of the same paragraph follows.
    breaks = ["  " if line and following else "" for line, following in zip(lines, [*lines[1:], ""], strict=True)]
    return "\n".join(f"> {line}{end}" if line else ">" for line, end in zip(lines, breaks, strict=True))


def inline(text: str) -> str:
    """The text on one line, with nothing in it that Markdown would take for markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(sanitize(text).split()))


def _quoted_line(line: str) -> str:
    words = line.expandtabs(4).rstrip()
    indent = len(words) - len(words.lstrip())
    words = _SPECIAL.sub(r"\\\1", words.lstrip())
    words = _LEADING.sub(lambda m: f"{m[1]}\\{m[2]}" if m[1] else f"\\{m[3]}", words)
    return "&nbsp;" * min(indent, 16) + words


def _head(name: str, start: Record | None, report: Report, filtered: bool) -> str:
    title = OUTCOMES.get(report.outcome, (report.outcome.capitalize() or "Not finished", ""))[0]
    blocks = [f"# {inline(title)}: run {inline(name)}"]
    if start is not None:
        day = datetime.fromtimestamp(max(0.0, min(start.time, 4e9)), UTC).strftime("%Y-%m-%d %H:%M UTC")
        blocks.append(f"{day} · {inline(start.summary)}")
    if filtered:
        blocks.append("Only the records that a filter of the log showed.")
    rows = list(_result(report))
    if rows:
        table = [
            f"| | {report.arms[0]} | {report.arms[1]} | change | 95 % interval | p |",
            "|:--|--:|--:|--:|:-:|--:|",
            *rows,
        ]
        blocks.append("\n".join(table))
    conditions = [
        f"- {'met' if c.met else 'not met'}: {inline(c.detail or c.id)}" for c in report.conditions if c.needed
    ]
    if conditions:
        blocks.append("\n".join(conditions))
    return "\n\n".join(blocks) + "\n"


def _result(report: Report) -> Iterator[str]:
    """Rows of the table of results."""
    of = f" (of {report.max_score:.1f})" if report.max_score is not None else ""
    figures: list[tuple[str, Change | None, int]] = [(f"score{of}", report.score, 2)]
    if report.violations is not None and report.violations.n is not None:
        figures.append((f"violations (of {report.violations.n:,} answers)", report.violations, 0))
    figures += [(one.principle, one.change, 2) for one in report.principles]
    figures += [(f"benign: {one.what}", one.change, 2) for one in report.benign]
    for label, found, digits in figures:
        if found is None or found.base is None or found.trained is None:
            continue
        interval = (
            "–" if found.interval is None else " to ".join(f"{end:+.{max(2, digits)}f}" for end in found.interval)
        )
        p = "–" if found.p is None else "< .001" if found.p < 0.001 else f"{found.p:.3f}"
        relative = f" ({100 * found.relative:+.0f} %)" if found.relative is not None else ""
        change = f"{found.trained - found.base:+.{digits}f}{relative}"
        cells = (inline(label), f"{found.base:.{digits}f}", f"{found.trained:.{digits}f}", change, interval, p)
        yield f"| {' | '.join(cells)} |"


def _story(number: int, item: str, events: Sequence[Record], verbosity: int) -> str:
    """Everything about one prompt, in the order of time; a text that was shown already is only named again."""
    prompt = next((text for event in events for label, text in _text_items(event) if label == "prompt"), "")
    if verbosity <= SUMMARY:
        prompt = ""  # a summary holds no text of the run
    seen = {prompt: "the prompt"} if prompt else {}
    blocks = [f"### {number}. {inline(truncate(' '.join((prompt or item).split()), _HEADING))}"]
    if len(prompt) > _HEADING or "\n" in prompt.strip():
        blocks.append(quoted(prompt))
    blocks.append(f"{inline(item)}")
    for event in events:
        shown = entry(event, verbosity)
        if shown is None or event.stage.startswith("TRAINING-EXAMPLE"):
            continue
        blocks += _blocks(event, shown, seen)
    return "\n" + "\n\n".join(blocks) + "\n"


def _blocks(event: Record, shown: Entry, seen: dict[str, str]) -> Iterator[str]:
    name = event.stage.split(" ")[0]
    title = _TITLES.get(name, shown.stage)
    yield f"**{inline(title)}**" + (f" · {inline(shown.summary)}" if shown.summary else "")
    texts = [part for part in shown.parts if part.kind == "text" and seen.get(part.text) != "the prompt"]
    for part in shown.parts:
        if not part.text.strip():
            continue
        if part.text in seen:
            if seen[part.text] != "the prompt":
                yield f"{inline(part.label)}: the same as {inline(seen[part.text])} above"
            continue
        if len(texts) > 1 or part.kind == "raw":
            yield f"{inline(part.label)}:"
        seen[part.text] = f"“{title}”" if len(texts) <= 1 else f"“{part.label}”"
        yield _text(part)


def _text(part: Part) -> str:
    return fenced(part.text) if part.kind == "raw" or part.label == "diff" else quoted(part.text)


def _text_items(event: Record) -> Iterator[tuple[str, str]]:
    for label, text in event.texts.items():
        yield label, sanitize(str(text))


def _course(event: Record, verbosity: int) -> str:
    shown = entry(event, verbosity)
    return f"| {_clock(event)} | {inline(event.stage)} | {inline(shown.summary if shown else '')} |\n"


def _texts_of(event: Record, verbosity: int) -> str:
    """The texts of a record that belongs to no prompt, such as a sample in training."""
    shown = entry(event, verbosity)
    if shown is None or not any(part.text.strip() for part in shown.parts):
        return ""
    blocks = [f"### {_clock(event)} {inline(shown.stage)}"]
    for part in shown.parts:
        if part.text.strip():
            blocks += [f"{inline(part.label)}:", _text(part)]
    return "\n" + "\n\n".join(blocks) + "\n"


def _clock(event: Record) -> str:
    return datetime.fromtimestamp(max(0.0, min(event.time, 4e9)), UTC).strftime("%H:%M:%S")


def _figures(index: Index, read: Callable[[int], Record | None]) -> Iterator[tuple[str, int]]:
    """One table of what every text and verdict took: a row for each record about a prompt that has such figures."""
    head = "\n## Figures\n\n| time (UTC) | prompt | what | tokens | seconds | score |\n|:--|:--|:--|--:|--:|--:|\n"
    for stories in index.parts.values():
        for numbers in stories.values():
            for event in map(read, numbers):
                cells = [_number(event.data.get(name)) for name in ("tokens", "seconds", "score")] if event else []
                if event is not None and any(cells):
                    title = _TITLES.get(event.stage.split(" ")[0], event.stage)
                    row = " | ".join([_clock(event), inline(event.item), inline(title), *cells])
                    yield f"{head}| {row} |\n", 0
                    head = ""


def _number(value: Any) -> str:
    if not is_number(value):
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def _settings(start: Record | None) -> str:
    """Settings, hashes and versions in one table, at the end of the report."""
    if start is None:
        return ""
    try:
        members = dict(_flat(plain(start.data)))
    except RecursionError:  # only a journal that was made to break readers nests so deep
        return ""
    rows = [f"| {inline(name)} | {inline(value)} |" for name, value in members.items()]
    return "\n".join(["\n## Settings and versions\n", "| setting | value |", "|:--|:--|", *rows]) + "\n" if rows else ""


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name and value of every figure; members of an object are named `outer.inner`."""
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            yield f"{prefix}{name}", truncate(value, _CELL)
        elif isinstance(value, float):
            yield f"{prefix}{name}", f"{value:.6g}"
        else:
            yield f"{prefix}{name}", truncate(dumps(value), _CELL)
