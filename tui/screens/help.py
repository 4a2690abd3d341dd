"""The help: first the pane that the user is in, then all other keys, and what the words and signs mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.keymap import APP, DIFF, INPUT, LIST, LOG, LOSS, PLACES, PROMPTS, RUN, Keymap, bindings, shown_key
from tui.screens.dialog import Dialog, box_width
from tui.views.wrap import cells, wrap
from tui.widgets.border import label

ABOUT: Mapping[str, str] = {
    LOG: (
        "Everything that happens in the run, as it happens. v shows more or less of it, of earlier records too. "
        "Moving up stops following the end, f follows it again. Enter shows only what belongs to the prompt of the "
        "marked record, S only some stages, R only records on one principle, / and h only records with your words; Esc "
        "shows all again. The line at the bottom is what the model writes now."
    ),
    PROMPTS: (
        "The prompts of the run: those that are trained on, then those that are kept apart for the comparison. Enter "
        "shows everything about one in the log: draft, verdict, critique, candidates, pair, or both answers."
    ),
    DIFF: (
        "The answers of the base and the trained model to a prompt that was never trained on, with the words that "
        "changed. [ and ] go to others, o changes their order, W lists the worst and the best."
    ),
    INPUT: (
        "Any text, judged by the judge of the run, during a run too. The bars are the probability that a principle is "
        "broken; w shows everything about the verdict."
    ),
    LOSS: (
        "The loss of the training and the newest sample answer: points are steps, the line is the mean of the steps "
        "around. ← and → show the values at a step. p in the list of runs (l) pins a run, so that its loss is drawn, "
        "too, dashed. The model is better only if the comparison says so: a falling loss alone proves nothing."
    ),
}
"""Place -> what its pane is for."""

_WORDS = (
    ("✗ ✓ ?", "a violation, none, no verdict (the judge could not decide; it counts as neither)"),
    ("· ✓ – ○", "a training prompt in work, with a pair that was kept, or dropped; a prompt held out"),
    ("↓ ↑ =", "a compared prompt: the score of the trained answer is lower (better), higher (worse), the same"),
    ("score", "the sum of the weights of the principles broken: 0.0 is clean"),
    ("draft, revision", "the model's first answer, and its own rewriting after a critique"),
    ("base, trained", "the model before and after"),
    ("held out, benign", "prompts that never train; prompts that no good answer refuses"),
    ("v0 to v3", "verbosity: off, summary, key stages with texts cut to 500 characters, everything uncut"),
    ("interval", "where the true value is in 95 of 100 such comparisons"),
    ("p", "how probable a change of this size would be if the two models were equally good"),
    ("McNemar", "the test of violations: prompts that became better against those that became worse"),
    ("Holm", "p values made larger because several principles are tested at once"),
    ("kappa", "agreement of two judges beyond chance: 0 is none, 1 is complete"),
)

_NAMES = 16


class Help(Dialog[None]):
    """Keys and words.

    Args:
        keymap: the keys.
        first: the place whose keys come first.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(LIST)

    def __init__(self, keymap: Keymap, first: str) -> None:
        super().__init__()
        self._keymap = keymap
        self._first = first
        self._body = Static("")

    def compose(self) -> ComposeResult:
        with Vertical(classes="box -wide") as box:
            label(box, "Help", "↑ ↓ PgDn · Esc")
            with VerticalScroll(id="help-text"):
                yield self._body

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()
        self.on_resize()

    def on_resize(self) -> None:
        self._body.update(Content("\n").join(self._lines(box_width(self.app.size.width))))

    def _lines(self, width: int) -> Iterator[Content]:
        for problem in self._keymap.problems:
            yield from (Content.styled(text, "$rd-warn") for text in hanging(problem, width, 0))
        if self._first in ABOUT:
            yield Content.styled("This pane", "bold $rd-accent")
            yield from map(Content, hanging(ABOUT[self._first], width, 0))
            yield Content("")
        places = [self._first, *(place for place in (RUN, APP, *PLACES) if place != self._first)]
        for place in dict.fromkeys(places):
            yield Content.styled(PLACES[place], "bold $rd-accent")
            for key in self._keymap.of(place):
                yield from _entry(" ".join(shown_key(name) for name in key.keys), key.help, width)
            yield Content("")
        yield Content.styled("Words and signs", "bold $rd-accent")
        for word, meaning in _WORDS:
            yield from _entry(word, meaning, width)


def _entry(name: str, text: str, width: int) -> Iterator[Content]:
    """A name and what it means, which stands in a column of its own."""
    column = 2 + _NAMES + 1
    lines = [text[start:end] for start, end in wrap(text, max(12, width - column))]
    room = " " * max(1, column - 2 - cells(name))
    yield Content.assemble((f"  {name}{room}", "bold"), lines[0])
    for line in lines[1:]:
        yield Content(" " * column + line)


def hanging(text: str, width: int, indent: int) -> list[str]:
    """The text on lines of at most `width` cells, all but the first `indent` cells in."""
    lines = [text[start:end] for start, end in wrap(text, max(12, width - indent))]
    return [line if not number else " " * indent + line for number, line in enumerate(lines)]
