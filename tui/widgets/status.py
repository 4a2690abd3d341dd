"""The lines around the panes: status above, tabs and the running stage in small windows, keys below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from engine.runs.state import RunState
from engine.text import sanitize
from tui.keymap import Key, shown_key
from tui.views.formatting import duration, score_words
from tui.views.pieces import Pieces, clip, spread, width_of
from tui.widgets.lines import LineWidget

_STAGE_WIDTH = 17  # of the longest stage's name, "candidate verdict"
_SPARKS = "▁▂▃▄▅▆▇█"

STATUS_WORDS: Mapping[str, tuple[str, str]] = {
    "loading": ("Loading the model …", "accent"),
    "paused": ("Paused", "warn"),
    "stopping": ("Stopping …", "warn"),
    "done": ("Done", "good"),
    "stopped": ("Stopped", "warn"),
    "failed": ("Failed", "bad"),
}


@dataclass(frozen=True)
class Shown:
    """What the status line tells.

    Args:
        name: of the run; "" before there is one.
        doing: "loading", "running", "paused", "stopping", "done", "stopped", "failed" or "" for nothing.
        state: the run's.
        verbosity: 0 to 3.
    """

    name: str
    doing: str
    state: RunState
    verbosity: int


class StatusLine(LineWidget):
    """Model, stage, progress with time left, verbosity and run state, in one line."""

    def __init__(self) -> None:
        super().__init__(id="status")
        self.shown = Shown("", "", RunState(), 2)

    def show(self, shown: Shown) -> None:
        """Tell this."""
        self.shown = shown
        self.update()

    def lines(self, width: int) -> list[Pieces]:
        shown = self.shown
        right = [*progress(shown, width), *verbosity_pieces(shown.verbosity), (" ", "text")]
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


def progress(shown: Shown, width: int) -> list[tuple[str, str]]:
    """The running stage's bar, count and time left; each part keeps its width while the stage runs."""
    word = STATUS_WORDS.get(shown.doing)
    now = shown.state.progress
    if not now.name or shown.doing in ("", "loading", "done", "stopped", "failed"):
        return [(word[0] + "   ", word[1])] if word else []
    pieces: list[tuple[str, str]] = []
    if word:
        pieces.append((word[0] + "  ", word[1]))
    pieces.append((_plain(now.name).ljust(_STAGE_WIDTH) + " ", "text"))
    if now.total:
        size = 20 if width >= 110 else 10 if width >= 70 else 0
        pieces += bar(now.done, now.total, size)
        total = f"{now.total:,}"
        pieces.append((f"{now.done:,}".rjust(len(total)) + f"/{total}", "strong"))
        left = now.left
        words = f" · {duration(left):>5} left" if left is not None else " " * len(" · 00:00 left")
        pieces.append(((words if width >= 70 else words[: -len(" left")]) + "   ", "dim"))
    return pieces


def bar(done: int, total: int, size: int) -> list[tuple[str, str]]:
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
        """Tell of this run."""
        self.state = state
        self.update()

    def lines(self, width: int) -> list[Pieces]:
        state = self.state
        loss: list[tuple[str, str]] = [(" loss   ", "dim")]
        if state.loss.latest is None:
            loss.append(("not trained yet", "dim"))
        else:
            step = f"  step {state.loss.latest_step:,.0f}" + (f" of {state.steps:,}" if state.steps else "")
            loss.append((f"{state.loss.latest:6.3f}  ", "strong"))
            loss.append((sparkline(state.loss.recent(max(8, min(40, width - 45)))), "accent"))
            loss.append((step, "dim"))
        score: list[tuple[str, str]] = [(" score  ", "dim")]
        if state.last_score is None:
            score.append(("no pair and no comparison yet", "dim"))
        else:
            kind, before, after = state.last_score
            names = ("draft", "revision") if kind == "pair" else ("base", "trained")
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


class TabLine(LineWidget):
    """In small windows: the panes there are, each with its key."""

    def __init__(self) -> None:
        super().__init__(id="tabs")
        self.tabs: list[tuple[str, str, str]] = []
        self.current = ""

    def show(self, tabs: list[tuple[str, str, str]], current: str) -> None:
        """Tell of these panes: id, key and label; `current` is the id of the one in sight."""
        self.tabs, self.current = tabs, current
        self.update()

    def lines(self, width: int) -> list[Pieces]:
        pieces: list[tuple[str, str]] = [(" ", "text")]
        for name, key, label in self.tabs:
            pieces.append((f" {key} {label} ", "current" if name == self.current else "dim"))
            pieces.append((" ", "text"))
        return [spread(pieces, [], width)]


class KeyLine(LineWidget):
    """The keys that matter now, most important first, as many as fit."""

    def __init__(self) -> None:
        super().__init__(id="keys")
        self.keys: list[tuple[str, str]] = []

    def show(self, keys: Sequence[Key], labels: Mapping[str, str] | None = None) -> None:
        """Show these keys; `labels` renames actions for the moment (Pause to Continue)."""
        labels = labels or {}
        self.keys = [(shown_key(key.keys[0]), labels.get(key.action, key.label)) for key in keys if key.keys]
        self.update()

    def lines(self, width: int) -> list[Pieces]:
        pieces: list[tuple[str, str]] = [(" ", "text")]
        # Help and quit are the last in the list and stay in sight: who is lost looks for them.
        kept = self.keys[-2:] if len(self.keys) > 2 else []
        others = self.keys[: len(self.keys) - len(kept)]
        tail: list[tuple[str, str]] = []
        for key, label in kept:
            tail += [(key, "key"), (f" {label}  ", "dim")]
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
