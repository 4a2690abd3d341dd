"""The commands that the command palette offers: every key's, and exports that have no key."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from typing import Protocol

from textual.app import SystemCommand

from tui.keymap import APP, RUN, Key, Keymap, shown_key


class PaletteTarget(Protocol):
    """Performs what the palette offers."""

    def press(self, key: Key) -> Awaitable[object]: ...

    def why_not(self, action: str) -> str: ...

    def write_picture(self) -> None: ...

    def toggle_notify(self) -> None: ...

    def compare_models(self) -> None: ...

    def export(self, formats: tuple[str, ...], verbosity: int) -> None: ...


def commands(keymap: Keymap, target: PaletteTarget) -> Iterator[SystemCommand]:
    """All of them, in the order in which they are shown."""
    for key in keymap.of(RUN, APP):
        if key.action not in ("command_palette", "suspend_process"):
            name = shown_key(key.keys[0]) if key.keys else ""
            reason = target.why_not(key.action)
            about = f"Not now: {reason}. {key.help}" if reason else key.help
            yield SystemCommand(f"{key.label}  {name}", about, lambda k=key: target.press(k))
    yield SystemCommand(
        "Compare two models",
        "Compare any two models, runs or checkpoints: the same prompts, judge and report; nothing is trained.",
        target.compare_models,
    )
    yield SystemCommand("Picture", "Write a picture of the screen (SVG) into the run's folder.", target.write_picture)
    yield SystemCommand(
        "Notifications", "Turn bell, window title and notification at the end of a run on or off.", target.toggle_notify
    )
    for file_format in ("json", "jsonl", "md"):
        yield SystemCommand(
            f"Export as {file_format}",
            "Write everything in full into the run's folder.",
            lambda f=file_format: target.export((f,), 3),
        )
