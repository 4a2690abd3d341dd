"""The prompts of the next or the shown run, with what became of each; the marked one is shown whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from engine.errors import RedraftError
from engine.prompts import PromptSet, load_builtin, load_prompts
from engine.prompts.pairs import load_pairs
from engine.prompts.preview import parse_columns
from engine.runs.state import RunState
from engine.settings import RunConfig
from engine.text import sanitize, truncate
from tui.keymap import PROMPTS, bindings
from tui.views.formatting import count
from tui.views.pieces import Pieces, clip
from tui.widgets.border import label
from tui.widgets.rows import Rows

WHICH = ("", "train", "held out", "benign", "kept", "dropped")
"""What the list can be limited to; "" is everything."""

_WHOLE = 4_000


@dataclass(frozen=True)
class Listed:
    """A prompt of the list; `set` is "train", "held out" or "benign"."""

    item: str
    text: str
    set: str


class PromptRows(Rows):
    """The prompts."""

    BINDINGS = bindings(PROMPTS)

    class Asked(Message):
        """The list is to be limited: by words, or by what became of the prompts."""

        def __init__(self, by: str) -> None:
            super().__init__()
            self.by = by

    def action_filter(self) -> None:
        self.post_message(self.Asked("words"))

    def action_which(self) -> None:
        self.post_message(self.Asked("which"))


class FilterField(Input):
    """Where the words are typed that a prompt has to hold."""

    BINDINGS: ClassVar = [("escape", "leave", "Close")]

    class Left(Message):
        """The field was left; the list is whole again."""

    def action_leave(self) -> None:
        self.post_message(self.Left())


class PromptList(Vertical):
    """The prompts, one a line, with a sign for what became of each."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__(id="prompts", classes="pane")
        self._config = config
        self._state = RunState()
        self._all: list[Listed] = []
        self._shown: list[Listed] = []
        self._texts: dict[str, str] = {}
        self.words = ""
        self.which = ""
        self.rows = PromptRows(self._row, id="prompt-rows")
        self.field = FilterField(placeholder="Words of a prompt; Esc ends", id="prompt-filter")
        self.field.cursor_blink = False
        self._whole = Static("", id="prompt-whole")
        self._whole_of: object = None
        self.problem = ""

    def compose(self) -> ComposeResult:
        yield self.field
        yield self.rows
        yield self._whole

    def on_mount(self) -> None:
        self.configure(self._config)

    def configure(self, config: RunConfig) -> None:
        """Show the prompts of these settings."""
        self._config = config
        try:
            sets = {
                "train": training_prompts(config),
                "held out": _prompts(config, config.heldout_prompts, "heldout", config.n_heldout),
                "benign": _prompts(config, config.benign_prompts, "benign", config.n_benign),
            }
            self.problem = ""
            self._all = [Listed(one.id, one.text, name) for name, prompts in sets.items() for one in prompts]
        except (RedraftError, TypeError) as error:
            # A journal from elsewhere may hold any value as a setting.
            self.problem = str(error)
            self._all = []
        self._texts = {one.item: one.text for one in reversed(self._all)}
        self._limit()

    def show(self, state: RunState) -> None:
        """Mark what became of the prompts in this run."""
        self._state = state
        if self.which in ("kept", "dropped"):
            self._limit()
        self._label()
        self.rows.refresh()

    def item(self, index: int) -> str:
        """The id of a row's prompt."""
        return self._shown[index].item

    def text_of(self, item: str) -> str:
        """The text of the prompt with this id; "" where it is not known."""
        return self._texts.get(item, "")

    # What is listed

    def limit(self, words: str = "", which: str = "") -> None:
        """List only prompts that hold these words, and of which `which` is true."""
        self.words, self.which = words, which
        self._limit()

    def _limit(self) -> None:
        wanted = self.words.casefold()
        self._shown = [one for one in self._all if self._is_listed(one) and wanted in one.text.casefold()]
        self.rows.show(len(self._shown))
        self._label()
        self._show_whole()

    def _is_listed(self, one: Listed) -> bool:
        if self.which in ("kept", "dropped"):
            known = self._state.items.get(one.item)
            return known is not None and known.kept is (self.which == "kept") and one.set == "train"
        return self.which in ("", one.set)

    def on_prompt_rows_asked(self, event: PromptRows.Asked) -> None:
        event.stop()
        if event.by == "words":
            self.field.add_class("-open")
            self.field.focus()
        else:
            self.limit(self.words, WHICH[(WHICH.index(self.which) + 1) % len(WHICH)])

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.limit(event.value.strip(), self.which)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._close_field()

    def on_filter_field_left(self, event: FilterField.Left) -> None:
        event.stop()
        self.field.value = ""
        self.limit("", self.which)
        self._close_field()

    def _close_field(self) -> None:
        self.field.set_class(bool(self.field.value.strip()), "-open")
        self.rows.focus()

    # How it is drawn

    def on_rows_marked(self, event: Rows.Marked) -> None:
        event.stop()
        self._show_whole()

    def on_descendant_focus(self) -> None:
        self._show_whole()

    def _show_whole(self) -> None:
        """The marked prompt in full, below the list, while the pane has the focus."""
        one = self._shown[self.rows.cursor] if self._shown else None
        if one is self._whole_of:
            return
        self._whole_of = one
        about = f" · {one.set}" if one is not None else ""
        text = truncate(sanitize(one.text), _WHOLE) if one is not None else ""
        self._whole.update(Content.assemble(text, (about, "$rd-dim")))

    def _label(self) -> None:
        if self.problem:
            label(self, "Prompts · cannot be read", "c chooses others")
            return
        state = self._state
        sizes = [(name, sum(one.set == name for one in self._all)) for name in ("train", "held out", "benign")]
        limits = [part for part in (self.which, f"“{self.words}”" if self.words else "") if part]
        if limits:
            title = f"Prompts · {len(self._shown)} of {len(self._all)} · {' · '.join(limits)}"
        else:
            title = f"Prompts · train {sizes[0][1]}"
        made = state.pairs_kept + state.pairs_dropped
        pairs = f"{count(state.pairs_kept, 'pair')} · {state.pairs_dropped} dropped"
        rest = " · ".join(f"{name} {size}" for name, size in sizes[1:] if size)
        label(self, title, pairs if made else rest)

    def _row(self, index: int, width: int) -> Pieces:
        one = self._shown[index]
        sign = self._sign(one)
        text = clip(" ".join(one.text.split()), max(4, width - 2))
        return [sign, (text, "text" if one.set == "train" else "dim")]

    def _sign(self, one: Listed) -> tuple[str, str]:
        """What became of a prompt: in work, kept, dropped; or how its answer changed. A circle is held out."""
        if one.set == "train":
            known = self._state.items.get(one.item)
            if known is None:
                return ("  ", "text")
            return ("· ", "dim") if known.kept is None else ("✓ ", "good") if known.kept else ("– ", "dim")
        compared = self._state.compared(one.item)
        if compared is None:
            return ("○ ", "dim")
        before, after = (_score(verdict.get("score")) for verdict in (compared.base, compared.trained))
        if before is None or after is None:
            return ("? ", "warn")
        return ("↓ ", "good") if after < before else ("↑ ", "bad") if after > before else ("= ", "dim")


def _score(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def training_prompts(config: RunConfig) -> PromptSet:
    """The training prompts of these settings.

    Raises:
        RedraftError: their file cannot be used.
    """
    if config.pairs:
        return load_pairs(config.pairs, columns=parse_columns(config.column_map)).prompts.first(config.n_train)
    return _prompts(config, config.train_prompts, "train", config.n_train)


def _prompts(config: RunConfig, path: str, builtin: str, size: int) -> PromptSet:
    if not path:
        return load_builtin(builtin).first(size)
    loaded = load_prompts(path, columns=parse_columns(config.column_map))
    return loaded.distinct(keep=not config.deduplicate).first(size)
