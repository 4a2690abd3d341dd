"""The lines around the panes: status above, tabs and the running stage in small windows, keys below."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from engine.runs.state import Progress, RunState
from engine.text import percent, sanitize
from tui.keymap import Key, shown_key
from tui.views.formatting import duration, score_words, signed_share
from tui.views.pieces import Pieces, clip, spread, width_of
from tui.widgets.lines import LineWidget

_STAGE_WIDTH = 17  # of the longest stage's name, "candidate verdict"
_SPARKS = "▁▂▃▄▅▆▇█"

STATUS_WORDS: Mapping[str, tuple[str, str]] = {
    "reading": ("Reading …", "dim"),
    "paused": ("Paused", "warn"),
    "stopping": ("Stopping …", "warn"),
    "done": ("Done", "good"),
    "stopped": ("Stopped", "warn"),
    "failed": ("Failed", "bad"),
}

_PERCENT = re.compile(r"[.\s]*\d{1,3}\s?%$")


@dataclass(frozen=True)
class Shown:
    """What the status line shows.

    Args:
        name: of the run; "" before there is one.
        doing: "reading" (the end of a journal), "loading", "running", "paused", "stopping", "done", "stopped",
            "failed" or "" for nothing.
        state: the run's.
        verbosity: 0 to 3.
    """

    name: str
    doing: str
    state: RunState
    verbosity: int


class StatusLine(LineWidget):
    """Model, stage, progress with time left, verbosity and run state, in one line; never silent while a run works."""

    def __init__(self) -> None:
        super().__init__(id="status")
        self.shown = Shown("", "", RunState(), 2)
        self._doing: object = None
        self._since = 0.0

    def show(self, shown: Shown) -> None:
        """Show this; counts the seconds since the stage, or what comes before the first one, began."""
        doing = shown.doing, shown.state.progress.name, bool(shown.state.loading), shown.name
        if doing != self._doing:
            self._doing, self._since = doing, time.monotonic()
        self.shown = shown
        self.update()

    def lines(self, width: int) -> list[Pieces]:
        shown = self.shown
        waited = time.monotonic() - self._since
        right = [*progress(shown, width, waited), *verbosity_pieces(shown.verbosity), (" ", "text")]
        left: list[tuple[str, str]] = [(" redraft", "key" if width >= 60 or not shown.name else "dim")]
        if width < 60 and (shown.name or shown.doing):
            left = []
        if shown.name:
            left.append(("  " + shown.name, "strong"))
        alarm = shown.state.health.line
        if alarm:
            left.append((f" · {alarm}", "warn"))
        room = width - width_of(left) - width_of(right) - 2
        for detail in (_plain(shown.state.model), _constitution(shown.state)):
            # What does not fit is left out whole: the rest of a name tells nothing.
            if detail and width_of([(detail, "")]) + 3 <= room:
                left.append((f" · {detail}", "dim"))
                room -= width_of(left[-1:])
        return [spread(left, [("  ", "text"), *right], width)]


def progress(shown: Shown, width: int, waited: float = 0.0) -> list[tuple[str, str]]:
    """What the run does now, with bar, count, speed and time left; each part keeps its width while the stage runs.

    Args:
        width: cells of the line.
        waited: seconds since the stage began; shown where the time left is not known.
    """
    word = STATUS_WORDS.get(shown.doing)
    state, now = shown.state, shown.state.progress
    if shown.doing in ("", "reading", "done", "stopped", "failed"):
        return [(_ended(shown, width) + "   ", word[1])] if word else []
    pieces: list[tuple[str, str]] = [(word[0] + "  ", word[1])] if word else []
    size = 20 if width >= 110 else 10 if width >= 70 else 0
    if shown.doing == "loading" or state.loading:
        sentence = _PERCENT.sub("", _plain(state.loading)).rstrip(" .…") or "Loading the model"
        return [*pieces, *_loading(clip(sentence, max(12, width // 3)), state.loading_share, size, waited)]
    if not now.name:
        return [*pieces, *_loading("Preparing", 0.0, size, waited)]
    pieces.append((_plain(now.name).ljust(_STAGE_WIDTH) + " ", "text"))
    if now.total:
        pieces += bar(now.share, 1, size)
        total = f"{now.total:,}"
        pieces.append((f"{now.done:,}".rjust(len(total)) + f"/{total}", "strong"))
    if now.rate and width >= 100:
        pieces.append((f" · {now.rate:,.0f} tokens/s", "dim"))
    pieces.append((_time(now, waited, width) + "   ", "dim"))
    return pieces


def _time(now: Progress, waited: float, width: int) -> str:
    """Time left; before it is known, the time spent so far. Both take the same cells."""
    left = now.left
    if left is not None and now.done < now.total:
        return f" · {duration(left):>5}" + (" left  " if width >= 70 else "")
    if waited < 1:
        return " " * (15 if width >= 70 else 8)
    return f" · {duration(waited):>5}" + (" so far" if width >= 70 else "")


def _loading(sentence: str, share: float, size: int, waited: float) -> list[tuple[str, str]]:
    """What comes before the first stage: percent where they are known, seconds where not."""
    pieces = [(f"{sentence} ", "accent")]
    if share > 0:
        return [*pieces, *bar(share, 1, size), (f"{percent(share):>5}   ", "strong")]
    return [*pieces, (f"… {duration(waited):>5}   ", "dim")]


def _ended(shown: Shown, width: int) -> str:
    word = STATUS_WORDS[shown.doing][0]
    outcome = shown.state.outcome if shown.doing == "done" and width >= 70 else ""
    return f"{word} · {_plain(outcome)}" if outcome else word


def bar(done: float, total: float, size: int) -> list[tuple[str, str]]:
    """A bar of `size` cells, with a space after it; nothing for size 0."""
    if size <= 0:
        return []
    halves = max(0, min(2 * size, round(2 * size * done / total)))
    full = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    return [(full, "accent"), ("─" * (size - len(full)) + " ", "border")]


def verbosity_pieces(verbosity: int) -> list[tuple[str, str]]:
    """Three blocks and the number."""
    return [("▮" * verbosity + "▯" * (3 - verbosity), "accent"), (f" v{verbosity}", "dim")]


def sparkline(values: Sequence[float]) -> str:
    """The values as one row of blocks."""
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(_SPARKS) - 1) / (high - low) if high > low else 0
    return "".join(_SPARKS[round((value - low) * scale)] for value in values)


class StageLines(LineWidget):
    """In small windows: the last losses and scores, since their panes are not in sight."""

    def __init__(self) -> None:
        super().__init__(id="stage-lines")
        self.state = RunState()

    def show(self, state: RunState) -> None:
        """Show this run."""
        self.state = state
        self.update()

    def lines(self, width: int) -> list[Pieces]:
        state = self.state
        loss: list[tuple[str, str]] = [(" loss   ", "dim")]
        if state.loss.latest is None:
            loss.append(("not trained yet", "dim"))
        else:
            step = f"  step {state.loss.latest_step:,.0f}" + (f" of {state.steps:,}" if state.steps else "")
            loss.append((f"{state.loss.latest:6.2f}  ", "strong"))
            loss.append((sparkline(state.loss.recent(max(8, min(40, width - 45)))), "accent"))
            loss.append((step, "dim"))
        score: list[tuple[str, str]] = [(" score  ", "dim")]
        if state.result:
            score += _result(state)
        elif state.last_score is None:
            score.append(("no pair and no comparison yet", "dim"))
        else:
            kind, before, after = state.last_score
            names = ("draft", "revision") if kind == "pair" else state.arms
            better = isinstance(before, int | float) and isinstance(after, int | float) and after < before
            worse = isinstance(before, int | float) and isinstance(after, int | float) and after > before
            word, role = ("better", "good") if better else ("worse", "bad") if worse else ("same", "dim")
            score += [
                (f"{names[0]} ", "dim"),
                (score_words(before), "strong"),
                (f" → {names[1]} ", "dim"),
                (score_words(after), "strong"),
                (f"  {'✓ ' if better else '✗ ' if worse else ''}{word}", role),
            ]
        return [spread(loss, [], width), spread(score, [], width)]


def _result(state: RunState) -> Pieces:
    """The scores of the whole comparison, and what they say."""
    from engine.runs.report import OUTCOMES, Change  # most runs that are watched have no result yet

    found = state.result.get("score")
    score = Change.of(found) if isinstance(found, Mapping) else None
    pieces: list[tuple[str, str]] = []
    if score is not None and score.base is not None and score.trained is not None:
        size = f"  {signed_share(score.relative)}" if score.relative is not None else ""
        pieces = [
            (f"{state.arms[0]} ", "dim"),
            (f"{score.base:.2f}", "strong"),
            (f" → {state.arms[1]} ", "dim"),
            (f"{score.trained:.2f}", "strong"),
            (f"{size}  ", "text"),
        ]
    outcome = str(state.result.get("outcome") or "")
    return [*pieces, (_plain(outcome), OUTCOMES.get(outcome, ("", "text"))[1])]


class TabLine(LineWidget):
    """In small windows: the panes there are, each with its key."""

    def __init__(self) -> None:
        super().__init__(id="tabs")
        self.tabs: list[tuple[str, str, str]] = []
        self.current = ""

    def show(self, tabs: list[tuple[str, str, str]], current: str) -> None:
        """Show these panes: id, key and label; `current` is the id of the one in sight."""
        self.tabs, self.current = tabs, current
        self.update()

    def lines(self, width: int) -> list[Pieces]:
        pieces: list[tuple[str, str]] = [(" ", "text")]
        for name, key, label in self.tabs:
            pieces.append((f" {key} {label} ", "current" if name == self.current else "dim"))
            pieces.append((" ", "text"))
        return [spread(pieces, [], width)]


_STAY = ("help", "quit", "close", "leave")


class KeyLine(LineWidget):
    """The keys that matter now, most important first, as many as fit."""

    def __init__(self) -> None:
        super().__init__(id="keys")
        self.keys: list[tuple[str, str]] = []
        self._kept = 0

    def show(self, keys: Sequence[Key], labels: Mapping[str, str] | None = None) -> None:
        """Show these keys; `labels` renames actions for the moment (Pause to Continue)."""
        labels = labels or {}
        shown = [key for key in keys if key.keys]
        self.keys = [(shown_key(key.keys[0]), labels.get(key.action, key.label)) for key in shown]
        self._kept = sum(key.action in _STAY for key in shown[-2:]) if len(shown) > 2 else 0
        self.update()

    def lines(self, width: int) -> list[Pieces]:
        pieces: list[tuple[str, str]] = [(" ", "text")]
        # The last in the list stay in sight: who is lost looks for help, and for the way out.
        others = self.keys[: len(self.keys) - self._kept]
        kept = self.keys[len(others) :]
        tail: list[tuple[str, str]] = []
        for key, label in kept:
            tail += [("  " * bool(tail), "dim"), (key, "key"), (f" {label}", "dim")]
        room = width - 1 - width_of(tail)
        for key, label in others:
            piece = [(key, "key"), (f" {label}  ", "dim")]
            size = width_of(piece)
            if size > room:
                break
            pieces += piece
            room -= size
        pieces += tail
        return [spread(pieces, [], width)]


def _constitution(state: RunState) -> str:
    if not state.config:
        return ""
    path = str(state.config.get("constitution") or "")
    return clip(_plain(PurePath(path).stem), 30) if path else "default constitution"


def _plain(text: str) -> str:
    return sanitize(str(text)).replace("\n", " ")
