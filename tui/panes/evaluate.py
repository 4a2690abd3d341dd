"""Where a text is typed or pasted to be judged, and the verdict on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import TextArea

from engine.text import clean
from tui.keymap import INPUT, bindings
from tui.panes.border import label
from tui.panes.lines import LineWidget, Pieces, clip
from tui.state import RunState
from tui.words import Mark, mark_of, score_words, short_name

if TYPE_CHECKING:
    from tui.app import RedraftApp

LONG = 4000
"""Characters of a paste that goes into the field; longer ones are held beside it: a field of a megabyte is slow."""


class EvaluateField(TextArea):
    """The field. Enter judges; a long paste is held as it is."""

    app: RedraftApp

    BINDINGS = bindings(INPUT)

    class Entered(Message):
        """A text is to be judged."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Held(Message):
        """A long paste is held, or was let go."""

    def __init__(self) -> None:
        super().__init__(
            id="evaluate-field",
            soft_wrap=True,
            tab_behavior="focus",
            placeholder="Type or paste a text; Enter judges it.",
            highlight_cursor_line=False,
        )
        self.cursor_blink = False
        self.held = ""

    async def _on_key(self, event: events.Key) -> None:
        # Done here and at once: a binding would run before letters that were typed earlier have arrived, or after
        # later ones.
        for key in self.app.keymap.of(INPUT):
            if event.key in key.keys:
                event.stop()
                event.prevent_default()
                await self.run_action(key.action)
                return
        await super()._on_key(event)

    async def _on_paste(self, event: events.Paste) -> None:
        if len(event.text) + len(self.text) <= LONG:
            await super()._on_paste(event)
            return
        event.stop()
        event.prevent_default()
        self.held = self.text + event.text
        self.text = ""
        self.post_message(self.Held())

    def action_evaluate(self) -> None:
        text = self.held or self.text
        self.post_message(self.Entered(text))

    def action_newline(self) -> None:
        self.insert("\n")

    def action_leave(self) -> None:
        if self.held:
            self.held = ""
            self.post_message(self.Held())
        else:
            self.screen.set_focus(None)

    def clear_text(self) -> None:
        """Empty the field after its text was taken."""
        self.text = ""
        self.held = ""
        self.post_message(self.Held())


class VerdictView(LineWidget):
    """The newest verdict: each principle with its probability as a bar, then what decided and why."""

    def __init__(self) -> None:
        super().__init__(id="verdict")
        self._verdict: Mapping[str, Any] | None = None
        self._note = ""

    def show(self, verdict: Mapping[str, Any] | None, note: str = "") -> None:
        """Show a verdict, or a note where there is none."""
        self._verdict, self._note = verdict, note
        self.styles.height = len(self.lines(30))
        self.update()

    def lines(self, width: int) -> list[Pieces]:
        verdict = self._verdict
        if verdict is None:
            return [[(clip(self._note, width), "dim")]] if self._note else []
        mark = mark_of(verdict.get("flagged"))
        role = {"bad": "bad", "good": "good"}.get(mark.role, "warn")
        head = f"{mark.sign} {mark.word}"
        score = verdict.get("score")
        right = f"score {score_words(score)}" if score is not None else ""
        lines: list[Pieces] = [[(head.ljust(max(0, width - len(right))), role), (right, "dim")]]
        principles = verdict.get("principles")
        broken = verdict.get("broken") or ()
        if isinstance(principles, Mapping):
            for name, probability in list(principles.items())[:6]:
                lines.append(_principle(str(name), probability, name in broken, width))
        method = clean(str(verdict.get("method") or "")).replace("\n", " ")
        category = clean(str(verdict.get("category") or "")).replace("\n", " ")
        why = " · ".join(part for part in (f"by {method}" if method else "", category) if part)
        lines.append([(clip(why, width), "dim")])
        return lines


def _principle(name: str, probability: Any, broken: bool, width: int) -> Pieces:
    mark = Mark.BROKEN if broken else Mark.CLEAN
    known = isinstance(probability, int | float) and not isinstance(probability, bool)
    size = max(0, min(10, width - 20))
    full = round(size * min(1.0, max(0.0, float(probability)))) if known else 0
    number = f"{probability:.2f}".lstrip("0").rjust(5) if known else "    –"
    return [
        (f"{mark.sign} ", mark.role),
        (clip(short_name(name), 12).ljust(13), "text"),
        ("━" * full, mark.role),
        ("─" * (size - full), "border"),
        (number, "strong"),
    ]


class EvaluateBox(Vertical):
    """The field, and the verdict under it."""

    def __init__(self) -> None:
        super().__init__(id="evaluate", classes="pane")
        self.field = EvaluateField()
        self.verdict = VerdictView()
        self._waiting: tuple[int, int] | None = None
        self._not_judged = ""
        self._shown: object = None

    def compose(self) -> ComposeResult:
        yield self.field
        yield self.verdict

    def on_mount(self) -> None:
        self._label()

    def wait_for(self, state: RunState) -> None:
        """A text was sent to be judged: the next verdict in this run's journal is on it."""
        self._waiting, self._not_judged = (state.decision, state.notice), ""

    def show(self, state: RunState, error: str) -> None:
        """Show the newest verdict; while one is waited for, or there can be none, say so.

        Args:
            state: of the run or the evaluations that are shown.
            error: what the worker failed with; "" where it did not.
        """
        waiting = self._waiting
        if waiting is not None and state.decision > waiting[0]:
            self._waiting, self._not_judged = None, ""
        elif waiting is not None and (state.notice > waiting[1] or error):
            # What cannot be judged is told of by a notice, or by the worker itself.
            self._waiting, self._not_judged = None, error or state.notice_words
        note = "Judging …" if self._waiting is not None else self._not_judged
        verdict = state.decision_data if state.decision >= 0 and not note else None
        key = (id(state), state.decision, note)
        if key != self._shown:
            self._shown = key
            self.verdict.show(verdict, note)

    def on_evaluate_field_held(self) -> None:
        self._label()

    def _label(self) -> None:
        held = len(self.field.held)
        if held:
            label(self, f"Evaluate · {held:,} characters pasted", "Enter judges · Esc drops")
            self.field.placeholder = f"{held:,} characters are held here. Enter judges them, Esc drops them."
        else:
            label(self, "Evaluate a text", "")
            self.field.placeholder = "Type or paste a text; Enter judges it."
