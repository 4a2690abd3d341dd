"""Where a text is typed or pasted to be judged, and the verdict on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import TextArea

from engine.runs.state import RunState
from engine.text import sanitize
from tui.keymap import INPUT, Keymap, bindings
from tui.messages import LabelVerdict, ShowJudges, ShowVerdict
from tui.services.log_store import LogStore
from tui.views import verdict
from tui.views.pieces import Pieces
from tui.widgets.border import label
from tui.widgets.lines import LineWidget

if TYPE_CHECKING:
    from engine.events.verdicts import VerdictData

_MOST_BARS = 6
_REST = 8
"""Lines of the text, or of the reasons, in the pane."""

LONG = 4000
"""Characters of a paste that goes into the field; longer ones are held outside it: a field of a megabyte is slow."""


class EvaluateField(TextArea):
    """The field. Enter judges; a long paste is held as it is."""

    BINDINGS = bindings(INPUT)

    class Entered(Message):
        """A text is to be judged."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Held(Message):
        """A long paste is held, or was let go."""

    def __init__(self, keymap: Keymap) -> None:
        super().__init__(
            id="evaluate-field",
            soft_wrap=True,
            tab_behavior="focus",
            placeholder="Type or paste a text; Enter judges it.",
            highlight_cursor_line=False,
        )
        self.cursor_blink = False
        self.held = ""
        self._keymap = keymap

    async def on_key(self, event: events.Key) -> None:
        # Done here and at once: a binding would run before letters that were typed earlier have arrived, or after
        # later ones.
        for key in self._keymap.of(INPUT):
            if event.key in key.keys:
                event.stop()
                event.prevent_default()
                await self.run_action(key.action)
                return
        if self.held and (event.is_printable or event.key in ("backspace", "delete")):
            # The held text is not in the field: what is typed goes to its end.
            event.stop()
            event.prevent_default()
            self.held = self.held + (event.character or "") if event.is_printable else self.held[:-1]
            self.post_message(self.Held())

    async def on_paste(self, event: events.Paste) -> None:
        # Textual calls this handler and then TextArea's own, which inserts the text.
        if not self.held and len(event.text) + len(self.text) <= LONG:
            return
        event.stop()
        event.prevent_default()
        self.held += self.text + event.text
        self.text = ""
        self.post_message(self.Held())

    def action_evaluate(self) -> None:
        text = self.held or self.text
        self.post_message(self.Entered(text))

    def action_newline(self) -> None:
        if self.held:
            self.held += "\n"
        else:
            self.insert("\n")

    def action_verdict(self) -> None:
        self.post_message(ShowVerdict())

    def action_judges(self) -> None:
        self.post_message(ShowJudges())

    def action_agree(self) -> None:
        self.post_message(LabelVerdict(True))

    def action_disagree(self) -> None:
        self.post_message(LabelVerdict(False))

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


@dataclass(frozen=True)
class Shown:
    """A verdict with what it is about.

    Args:
        verdict: what was found.
        text: what was judged; "" where it is not kept.
        words: the event's texts: reasoning, note.
    """

    verdict: VerdictData
    text: str = ""
    words: Mapping[str, Any] = field(default_factory=dict)


class VerdictView(LineWidget):
    """The newest verdict: each principle with its probability as a bar, what decided, and the text around the first
    words that rules matched. The window that shows it whole is a key away."""

    def __init__(self) -> None:
        super().__init__(id="verdict")
        self._shown: Shown | None = None
        self._note = ""

    def show(self, shown: Shown | None, note: str = "") -> None:
        """Show a verdict, or a note where there is none."""
        self._shown, self._note = shown, note
        self._fit()
        self.update()

    @property
    def has_verdict(self) -> bool:
        return self._shown is not None

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        # Before the first layout the width is not known; a narrow pane's is taken, so that the text has room.
        self.styles.height = max(1, len(self.lines(self.size.width or 24))) if self._shown or self._note else 0

    def lines(self, width: int) -> list[Pieces]:
        shown = self._shown
        if shown is None:
            return verdict.paragraph(" ".join(sanitize(self._note).split()), "dim", width)[:_REST]
        data = shown.verdict
        found = [*verdict.head(data, width), *verdict.bars(data, width)[:_MOST_BARS]]
        note = str(shown.words.get("note") or "")
        if data.flagged is None and note:
            return [*found, *verdict.paragraph(" ".join(sanitize(note).split()), "warn", width)[:_REST]]
        found += verdict.method(replace(data, judge=""), width)[:1]
        if shown.text and data.spans:
            first = verdict.first_marked(data, shown.text, width)
            return [*found, *verdict.marked(data, shown.text, width, start=first)[:_REST]]
        reasoning = " ".join(sanitize(str(shown.words.get("reasoning") or "")).split())
        return [*found, *verdict.paragraph(reasoning, "dim", width)[:_REST]]


def shown(state: RunState, store: LogStore) -> Shown | None:
    """The newest verdict with its texts; None before there is one."""
    if state.decision < 0:
        return None
    words = store.event(state.decision).texts
    about = store.event(state.decision_input).texts if state.decision_input >= 0 else {}
    return Shown(verdict.read(state.decision_data), str(about.get("text") or ""), words)


class EvaluateBox(Vertical):
    """The field, and the verdict under it."""

    def __init__(self, keymap: Keymap) -> None:
        super().__init__(id="evaluate", classes="pane")
        self._keymap = keymap
        self.field = EvaluateField(keymap)
        self.verdict = VerdictView()
        self._waiting: tuple[int, int] | None = None
        self._not_judged = ""
        self._key: object = None

    def compose(self) -> ComposeResult:
        yield self.field
        yield self.verdict

    def on_mount(self) -> None:
        self._label()

    def wait_for(self, state: RunState) -> None:
        """A text was sent to be judged: the next verdict in this run's journal is on it."""
        self._waiting, self._not_judged = (state.decision, state.notice), ""

    def show(self, state: RunState, store: LogStore, error: str) -> None:
        """Show the newest verdict; while one is waited for, or there can be none, say so.

        Args:
            state: of the run or the evaluations that are shown.
            store: holds the texts that the verdict is about.
            error: what the worker failed with; "" where it did not.
        """
        waiting = self._waiting
        if waiting is not None and state.decision > waiting[0]:
            self._waiting, self._not_judged = None, ""
        elif waiting is not None and (state.notice > waiting[1] or error):
            # A notice, or the worker itself, reports what cannot be judged.
            self._waiting, self._not_judged = None, error or state.notice_words
        note = (state.loading or "Judging …") if self._waiting is not None else self._not_judged
        key = (id(state), state.decision, note)
        if key != self._key:
            self._key = key
            self.verdict.show(None if note else shown(state, store), note)
            self._label()

    def on_evaluate_field_held(self) -> None:
        self._label()

    def _label(self) -> None:
        held = len(self.field.held)
        if held:
            label(self, f"Evaluate · {held:,} characters pasted", "Enter judges · Esc drops")
            self.field.placeholder = f"{held:,} characters are held here. Enter judges them, Esc drops them."
        else:
            keys = f"{self._keymap.shown('verdict', INPUT)} all · {self._keymap.shown('judges', INPUT)} judge"
            label(self, "Evaluate a text", keys if self.verdict.has_verdict else "")
            self.field.placeholder = "Type or paste a text; Enter judges it."
