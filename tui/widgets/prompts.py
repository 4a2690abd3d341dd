"""The prompts of the next or the shown run, with what became of each; the marked one is shown whole."""

from __future__ import annotations

import asyncio
from pathlib import PurePath
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from engine.errors import RedraftError
from engine.json_values import number_or_none
from engine.runs.state import RunState
from engine.settings import RunConfig
from engine.text import percent, sanitize, truncate
from tui.keymap import PROMPTS, bindings
from tui.services.prompt_lists import SETS, Listed, listed
from tui.services.workers import start_worker
from tui.views.formatting import count
from tui.views.pieces import Pieces, clip
from tui.widgets.border import label
from tui.widgets.rows import Rows

WHICH = ("", "train", "held out", "benign", "kept", "dropped")
"""What the list can be limited to; "" is everything."""

_WHOLE = 4_000


_PROGRESS_EVERY = 0.25
"""Seconds between two looks at how far a file is read."""


class _Superseded(Exception):
    """Other prompts are wanted by now."""


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
        self._state = RunState(resumable=False)
        self._all: list[Listed] = []
        self._shown: list[Listed] = []
        self._texts: dict[str, str] = {}
        self._sizes = dict.fromkeys(SETS, 0)
        self.words = ""
        self.which = ""
        self.rows = PromptRows(self._row, id="prompt-rows")
        self.field = FilterField(placeholder="Words of a prompt; Esc ends", id="prompt-filter")
        self.field.cursor_blink = False
        self._whole = Static("", id="prompt-whole")
        self._whole_of: object = None
        self.problem = ""
        self._doing = ("", 0.0)
        """What is being done with a file, and the share of it that is done; "" while nothing is read."""

    def compose(self) -> ComposeResult:
        yield self.field
        yield self.rows
        yield self._whole

    def on_mount(self) -> None:
        self.configure(self._config)

    def configure(self, config: RunConfig) -> None:
        """Show the prompts of these settings as soon as they are read; until then, those of the settings before."""
        self._config = config
        start_worker(self, self._read, config, group="prompts", exclusive=True)

    async def _read(self, config: RunConfig) -> None:
        """Read them in a thread, which ends early where other settings came meanwhile."""

        def watch(what: str, share: float) -> None:
            if self._config is not config:
                raise _Superseded
            self._doing = (what, share)

        label_progress = self.set_interval(_PROGRESS_EVERY, self._label)
        try:
            found, problem = await asyncio.to_thread(listed, config, watch), ""
        except (RedraftError, TypeError) as error:
            found, problem = [], str(error)
        except _Superseded:
            return
        finally:
            label_progress.stop()
        self._doing, self.problem, self._all = ("", 0.0), problem, found
        self._sizes = {name: sum(one.set == name for one in found) for name in SETS}
        self._texts = {one.item: one.text for one in reversed(found)}
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
        found = [one for one in self._all if self._is_listed(one)] if self.which else self._all
        self._shown = [one for one in found if wanted in one.folded] if wanted else found
        self.rows.show(len(self._shown))
        self._label()
        self._show_whole()

    def _is_listed(self, one: Listed) -> bool:
        if self.which in ("kept", "dropped"):
            known = self._state.items.get(one.item)
            return known is not None and known.kept is (self.which == "kept") and one.set == "train"
        return self.which == one.set

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
        what, share = self._doing
        if what:
            doing, _, path = what.partition(" ")
            done = f" {percent(share)}" if share else ""
            label(self, f"Prompts · {doing}{done}", PurePath(path).name)
            return
        state, sizes = self._state, self._sizes
        limits = [part for part in (self.which, f"“{self.words}”" if self.words else "") if part]
        if limits:
            title = f"Prompts · {len(self._shown)} of {len(self._all)} · {' · '.join(limits)}"
        else:
            title = f"Prompts · train {sizes['train']}"
        made = state.pairs_kept + state.pairs_dropped
        pairs = f"{count(state.pairs_kept, 'pair')} · {state.pairs_dropped} dropped"
        parts = [f"{name} {sizes[name]}" for name in SETS[1:] if sizes[name]]
        rest = " · ".join(parts)
        if 0 < self.size.width < len(rest) + 6:
            rest = "".join(parts[:1])
        label(self, title, pairs if made else rest)

    def on_resize(self) -> None:
        self._label()

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
        before, after = (number_or_none(verdict.get("score")) for verdict in (compared.base, compared.trained))
        if before is None or after is None:
            return ("? ", "warn")
        return ("↓ ", "good") if after < before else ("↑ ", "bad") if after > before else ("= ", "dim")
