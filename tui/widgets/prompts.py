"""The prompts of the next or the shown run, with what became of each."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical

from engine.errors import RedraftError
from engine.prompts import PromptSet, load_builtin, load_prompts
from engine.runs.state import RunState
from engine.settings import RunConfig
from tui.keymap import PROMPTS, bindings
from tui.views.formatting import count
from tui.views.pieces import Pieces, clip
from tui.widgets.border import label
from tui.widgets.rows import Rows


class PromptRows(Rows):
    """The training prompts."""

    BINDINGS = bindings(PROMPTS)


class PromptList(Vertical):
    """The training prompts, one a line, with a sign for what became of the pair."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__(id="prompts", classes="pane")
        self._config = config
        self._state = RunState()
        self._prompts: list[tuple[str, str]] = []
        self.rows = PromptRows(self._row, id="prompt-rows")
        self.problem = ""

    def compose(self) -> ComposeResult:
        yield self.rows

    def on_mount(self) -> None:
        self.configure(self._config)

    def configure(self, config: RunConfig) -> None:
        """Show the prompts of these settings."""
        self._config = config
        try:
            training = training_prompts(config)
            self.problem = ""
            self._prompts = [(prompt.id, prompt.text.replace("\n", " ")) for prompt in training]
        except (RedraftError, TypeError) as error:
            # A journal from elsewhere may hold any value as a setting.
            self.problem = str(error)
            self._prompts = []
        self.rows.show(len(self._prompts))
        self._label()

    def show(self, state: RunState) -> None:
        """Mark what became of the prompts in this run."""
        self._state = state
        self._label()
        self.rows.refresh()

    def item(self, index: int) -> str:
        """The id of a row's prompt."""
        return self._prompts[index][0]

    def _label(self) -> None:
        if self.problem:
            label(self, "Prompts · cannot be read", "c chooses others")
            return
        config, state = self._config, self._state
        made = state.pairs_kept + state.pairs_dropped
        pairs = f"{count(state.pairs_kept, 'pair')} · {state.pairs_dropped} dropped"
        label(self, f"Prompts · train {len(self._prompts)}", pairs if made else f"held out {config.n_heldout}")

    def _row(self, index: int, width: int) -> Pieces:
        name, text = self._prompts[index]
        item = self._state.items.get(name)
        sign: tuple[str, str] = ("  ", "text")
        if item is not None:
            sign = ("· ", "dim") if item.kept is None else ("✓ ", "good") if item.kept else ("– ", "dim")
        return [sign, (clip(text, max(4, width - 2)), "text")]


def training_prompts(config: RunConfig) -> PromptSet:
    """The training prompts of these settings.

    Raises:
        RedraftError: their file cannot be used.
    """
    source = load_prompts(config.train_prompts).distinct() if config.train_prompts else load_builtin("train")
    return source.first(config.n_train)
