"""Which two models to compare: two fields, each checked when Enter takes them."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Label, Static

from engine.errors import RedraftError
from engine.settings import RunConfig
from tui.keymap import SETUP, bindings
from tui.screens.dialog import Dialog
from tui.services.workers import start_worker
from tui.widgets.border import label

_HINT = "a catalog name, hub id, folder, GGUF file, run, or RUN@base, RUN@step-40"
_ABOUT = "Both answer the held-out and benign prompts of the next run, under its judge. Nothing is trained.\n"


class CompareModels(Dialog[RunConfig]):
    """Closes with the settings of the comparison.

    Args:
        config: prompts, judge and sampling of the comparison.
        first, second: what the fields hold at first.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(SETUP)

    def __init__(self, config: RunConfig, first: str = "", second: str = "") -> None:
        super().__init__()
        self._config = config
        self._inputs = [
            Input(text, placeholder=_HINT, id=f"compare-{arm}", compact=True)
            for arm, text in (("a", first), ("b", second))
        ]

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            label(box, "Compare two models", "Tab next · Enter start · Esc")
            yield Static(Content(_ABOUT))
            for name, field in zip("AB", self._inputs, strict=True):
                with Horizontal(classes="row"):
                    yield Label(name)
                    yield field

    def on_mount(self) -> None:
        self._inputs[1 if self._inputs[0].value else 0].focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_accept()

    def action_accept(self) -> None:
        """Take both fields."""
        empty = next((field for field in self._inputs if not field.value.strip()), None)
        if empty is not None:
            empty.focus()
        else:
            start_worker(self, self._check, exclusive=True)

    async def _check(self) -> None:
        from engine.pipeline.compared_models import comparison

        first, second = (field.value.strip() for field in self._inputs)
        try:
            made = await asyncio.to_thread(comparison, self._config, first, second)
        except RedraftError as error:
            self.show_note(str(error))
        else:
            self.dismiss(made)
