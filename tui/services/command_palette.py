"""The commands that the list of commands offers: every key's, and exports that have no key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from textual.app import SystemCommand

from tui import keymap
from tui.services import export_actions

if TYPE_CHECKING:
    from tui.app import RedraftApp


def commands(app: RedraftApp) -> Iterator[SystemCommand]:
    """All of them, in the order in which they are shown."""
    for key in app.keymap.of(keymap.RUN, keymap.APP):
        if key.action in ("command_palette", "suspend_process"):
            continue
        name = keymap.shown_key(key.keys[0]) if key.keys else ""
        owner = app if key.place == keymap.APP else app.run_screen
        action = key.action if "(" in key.action else f"{key.action}()"
        yield SystemCommand(
            f"{key.label}  {name}", key.help, lambda a=action, o=owner: app.run_action(a, default_namespace=o)
        )
    yield SystemCommand(
        "Picture", "Writes a picture of the screen (SVG) into the run's folder.", lambda: export_actions.picture(app)
    )
    for file_format in ("json", "jsonl", "md"):
        yield SystemCommand(
            f"Export as {file_format}",
            "Writes everything, uncut, into the run's folder.",
            lambda f=file_format: export_actions.export(app, (f,), 3),
        )
