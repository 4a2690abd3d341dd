"""What is being written at this moment: the prompt, the last words, the speed; one line below the log."""

from __future__ import annotations

from tui.views.pieces import Pieces, clip, width_of
from tui.views.wrap import cells, untab
from tui.widgets.lines import LineWidget


class NowLine(LineWidget):
    """One line that is there as long as a run works."""

    def __init__(self) -> None:
        super().__init__(id="now")
        self.prompt = self.words = ""
        self.rate = 0.0

    def show(self, active: bool, prompt: str, words: str, rate: float) -> None:
        """Show these last words of the answer to `prompt`.

        Args:
            active: whether a run works: only then the line takes room.
            words: the end of the text; "" while nothing is written.
            rate: tokens per second; 0 where it is not known.
        """
        self.prompt, self.words, self.rate = _one_line(prompt), _one_line(words), rate
        self.set_class(active, "-open")
        self.update()

    def lines(self, width: int) -> list[Pieces]:
        if not self.words:
            return [[]]
        rate = [(f"  {self.rate:,.0f} tokens/s", "dim")] if self.rate and width >= 48 else []
        prompt = clip(self.prompt, max(8, width // 3))
        head = [("✎ ", "accent"), (f"{prompt}  " if prompt else "", "dim")]
        room = max(4, width - width_of(head) - width_of(rate))
        words = _last(self.words, room)
        return [[*head, (words, "text"), (" " * max(0, room - cells(words)), "text"), *rate]]


def _one_line(text: str) -> str:
    return " ".join(untab(text).split())


def _last(text: str, width: int) -> str:
    """The end of the text in at most `width` cells, from a word on, with an ellipsis where it was cut."""
    if cells(text) <= width:
        return text
    end = text[-width:]
    while cells(end) > width - 2:
        end = end[1:]
    word = end.find(" ")
    return "… " + end[word + 1 :] if 0 <= word < len(end) // 2 else "…" + end
