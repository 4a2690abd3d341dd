"""The help: every key, from the keymap, and what the words and signs mean."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.keymap import LIST, PLACES, Keymap, bindings, shown_key
from tui.screens.dialog import Dialog
from tui.widgets.border import label

_WORDS = (
    ("✗ ✓ ?", "a violation, none, no verdict (the judge could not decide; it counts as neither)"),
    ("score", "the sum of the weights of the principles broken: 0.0 is clean"),
    ("draft, revision", "the model's first answer, and its own rewriting after a critique"),
    ("base, trained", "the model before and after"),
    ("held out, benign", "prompts that never train; prompts that no good answer refuses"),
    ("v0 to v3", "verbosity: off, summary, key stages with texts cut to 500 characters, everything uncut"),
)


class Help(Dialog[None]):
    """All keys."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(LIST)

    def __init__(self, keymap: Keymap, first: str) -> None:
        super().__init__()
        self._keymap = keymap
        self._first = first

    def compose(self) -> ComposeResult:
        with Vertical(classes="box -wide") as box:
            label(box, "Keys", "↑ ↓ PgDn · Esc")
            with VerticalScroll(id="help-text"):
                yield Static(self._text())

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def _text(self) -> Content:
        parts: list[Content] = []
        if self._keymap.problems:
            parts += [Content.styled(problem, "$rd-warn") for problem in self._keymap.problems]
            parts.append(Content(""))
        places = list(PLACES)
        if self._first in places:
            places.remove(self._first)
            places.insert(0, self._first)
        for place in places:
            parts.append(Content.styled(PLACES[place], "bold $rd-accent"))
            for key in self._keymap.of(place):
                names = " ".join(shown_key(name) for name in key.keys)
                parts.append(Content.assemble((f"  {names:<16}", "bold"), (key.help, "")))
            parts.append(Content(""))
        parts.append(Content.styled("Words and signs", "bold $rd-accent"))
        parts += [Content.assemble((f"  {word:<18}", "bold"), (meaning, "")) for word, meaning in _WORDS]
        return Content("\n").join(parts)
