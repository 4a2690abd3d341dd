"""Blind reading: a question and two answers, and one key for which is better; the result at the end.

Nothing here shows which model wrote an answer before the last pair is decided.
"""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.errors import RedraftError
from engine.runs.report import Report
from engine.runs.review import Choice, Review
from tui.keymap import REVIEW, Keymap, bindings
from tui.screens.dialog import Dialog
from tui.views.formatting import count
from tui.views.report import reading
from tui.widgets.border import label
from tui.widgets.status import KeyLine

_WORDS: dict[Choice, str] = {
    "left": "left",
    "right": "right",
    "fine": "both fine",
    "bad": "both bad",
    "skip": "skipped",
}
_BESIDE = 90
"""Columns from which on the answers stand side by side."""


class _Answer(VerticalScroll):
    """One answer."""

    can_focus = False

    def __init__(self, side: str) -> None:
        super().__init__(id=f"review-{side}", classes="pane")
        self._title = side.capitalize()
        self.text = Static()

    def compose(self) -> ComposeResult:
        yield self.text

    def show(self, text: str, preferred: bool) -> None:
        """Show an answer; `preferred` where it is the choice so far."""
        self.text.update(Content(text) if text.strip() else Content.styled("(no text)", "$rd-dim"))
        label(self, f"{self._title}{' · ✓ preferred' if preferred else ''}")
        self.scroll_home(animate=False)


class ReviewScreen(Dialog[None]):
    """A blind reading.

    Args:
        review: its pairs and choices.
        keymap: names the keys in the footer.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(REVIEW)

    def __init__(self, review: Review, keymap: Keymap) -> None:
        super().__init__(id="review")
        self._review = review
        self._keymap = keymap
        self._place: int | None = review.next_open()
        self._prompt = Static(id="review-prompt")
        self._sides = _Answer("left"), _Answer("right")
        self._keys = KeyLine()

    def compose(self) -> ComposeResult:
        with Vertical(id="review-box", classes="box"):
            with VerticalScroll(id="review-question", classes="pane", can_focus=False):
                yield self._prompt
            yield Container(*self._sides, id="review-answers")
            yield self._keys

    def on_mount(self) -> None:
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width < _BESIDE, "-stacked")

    @property
    def text(self) -> str:
        """What is read now, as plain text."""
        sides = "\n\n".join(str(side.text.content) for side in self._sides if self._place is not None)
        return f"{self._prompt.content}\n\n{sides}"

    def _show(self) -> None:
        review, place = self._review, self._place
        question = self.query_one("#review-question")
        self.query_one("#review-answers").display = place is not None
        self._keys.show(self._keymap.footer(REVIEW))
        if place is None:
            label(question, "Blind reading · result", f"{review.done} of {len(review.pairs)}")
            self._prompt.update(self._result())
            return
        pair, choice = review.pairs[place], review.choice(place)
        chosen = f" · {_WORDS[choice]}" if choice is not None else ""
        label(question, f"Blind reading · pair {place + 1} of {len(review.pairs)}{chosen}", f"{review.done} decided")
        self._prompt.update(Content(pair.prompt))
        for side, text, name in zip(self._sides, (pair.left, pair.right), ("left", "right"), strict=True):
            side.show(text, choice == name)

    def _result(self) -> Content:
        rows = reading(Report.of({"review": self._review.result().to_data()}).reading)
        styles = {"strong": "bold", "dim": "$rd-dim"}
        found = [Content.assemble(*((text, styles.get(role, "")) for text, role in row)) for row in rows]
        total = count(len(self._review.pairs), "pair")
        found.append(Content(""))
        found.append(Content.styled(f"All {total} read. The report shows this result. Backspace goes back.", "$rd-dim"))
        return Content("\n").join(found)

    def action_prefer(self, choice: Choice) -> None:
        if self._place is None:
            return
        try:
            self._review.choose(self._place, choice)
        except RedraftError as error:
            self.show_note(str(error))
            return
        self._place = self._review.next_open(self._place + 1)
        self._show()

    def action_previous(self) -> None:
        last = len(self._review.pairs)
        self._place = max(0, (last if self._place is None else self._place) - 1)
        self._show()

    def action_next(self) -> None:
        if self._place is not None:
            self._place = self._review.next_open((self._place + 1) % len(self._review.pairs))
            self._show()

    def action_line(self, lines: int) -> None:
        for side in self._sides:
            side.scroll_relative(y=lines, animate=False)

    def action_page(self, pages: int) -> None:
        for side in self._sides:
            side.scroll_relative(y=pages * max(1, side.size.height - 1), animate=False)
