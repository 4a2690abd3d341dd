"""How a run ended, in a line above the panes, with the keys that show more."""

from __future__ import annotations

from engine.runs.state import RunState
from tui.keymap import Keymap
from tui.views.formatting import change, count, duration
from tui.views.pieces import Pieces, clip, width_of
from tui.widgets.lines import LineWidget

_SIGNS = {"good": "✓", "bad": "✗"}


class Banner(LineWidget):
    """Shown when a run ends, until Esc or the next run."""

    def __init__(self, keymap: Keymap) -> None:
        super().__init__(id="banner")
        self._keymap = keymap
        self._sentence: Pieces = []
        self._keys: list[tuple[str, str]] = []

    @property
    def visible_now(self) -> bool:
        return self.has_class("-open")

    def show(self, status: str, state: RunState) -> None:
        """Show how the run ended.

        Args:
            status: "done", "stopped" or "failed".
        """
        self._sentence = sentence(status, state)
        wanted = {"done": ("report", "answers", "export"), "stopped": ("resume",), "failed": ("resume",)}[status]
        if not state.comparisons:
            wanted = tuple(action for action in wanted if action != "answers")
        labels = {"report": "report", "answers": "best and worst", "export": "export", "resume": "resume"}
        self._keys = [(self._keymap.shown(action), labels[action]) for action in wanted]
        self._keys.append((self._keymap.shown("back"), "closes this"))
        self.add_class("-open")
        self.update()

    def hide(self) -> None:
        """Take it away."""
        self.remove_class("-open")

    @property
    def text(self) -> str:
        """How the run ended, without the keys."""
        return "".join(text for text, _ in self._sentence)

    def lines(self, width: int) -> list[Pieces]:
        keys: list[tuple[str, str]] = []
        for key, word in self._keys:
            piece = [(f"  {key}", "key"), (f" {word}", "dim")]
            if width_of(keys) + width_of(piece) <= width // 2:
                keys += piece
        room = width - 2 - width_of(keys)
        pieces: list[tuple[str, str]] = [(" ", "text")]
        for number, (text, role) in enumerate(self._sentence):
            size = width_of([(text, role)])
            if size > room and number:
                break  # what does not fit is left out whole
            pieces.append((clip(text, room), role))
            room -= min(size, room)
        return [[*pieces, (" " * max(0, room), "text"), *keys, (" ", "text")]]


def sentence(status: str, state: RunState) -> list[tuple[str, str]]:
    """How a run ended, as pieces: the outcome, the score, pairs and time."""
    if status == "stopped":
        return [("‖ Stopped", "warn"), (" · what is finished is kept, and the run can be resumed", "dim")]
    if status == "failed":
        return [("✗ Failed", "bad"), (f" · {state.problem}" if state.problem else "", "text")]
    from tui.views.report import outcome_words  # most runs that are watched have no report yet

    words, role = outcome_words(state.outcome)
    pieces = [(f"{_SIGNS.get(role, '–')} {words or 'Done'}", role)]
    score = state.result.get("score")
    base, trained = (score.get(name) for name in ("base", "trained")) if isinstance(score, dict) else (None, None)
    if isinstance(base, int | float) and isinstance(trained, int | float):
        pieces.append((f" · score {change(f'{base:.2f}', f'{trained:.2f}')}", "text"))
    if state.pairs_kept:
        pieces.append((f" · {count(state.pairs_kept, 'pair')}", "dim"))
    if state.seconds > 0:
        pieces.append((f" · {duration(min(state.seconds, 1e9))}", "dim"))
    return pieces
