"""The lines of the records that were drawn lately, and which records are folded to their headline."""

from __future__ import annotations

from collections import OrderedDict

from engine.events.verbosity import entry
from tui.services.log_store import LogStore
from tui.views.log_layout import Line, Piece, lay_out

_KEPT = 1000


class Layouts:
    """Lays records out once, until something that their lines depend on changes (then call `forget`)."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, list[Line]] = OrderedDict()
        self._folded: set[int] = set()  # records that are not as `_all_folded` says
        self._all_folded = False
        self.colors = False
        """Whether words of a diff are marked by colors alone."""

    def forget(self) -> None:
        """Width, verbosity or the journal has changed."""
        self._known.clear()

    def lines(self, store: LogStore, number: int, verbosity: int, width: int) -> list[Line]:
        """The lines of the record of this number, none wider than `width` cells; at least one."""
        lines = self._known.get(number)
        if lines is not None:
            self._known.move_to_end(number)
            return lines
        event = store.event(number)
        shown = entry(event, verbosity)
        folded = (number in self._folded) != self._all_folded
        lines = [(Piece("", "text"),)] if shown is None else lay_out(event, shown, width, folded, self.colors)
        self._known[number] = lines
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return lines

    def fold(self, number: int) -> None:
        """Fold this record, or unfold it."""
        self._folded ^= {number}
        self._known.pop(number, None)

    def fold_all(self) -> None:
        """Fold all records, those to come too, or unfold them."""
        self._all_folded = not self._all_folded
        self.reset_folds()

    def reset_folds(self) -> None:
        """No record is folded, or unfolded, by itself any more."""
        self._folded.clear()
        self._known.clear()
