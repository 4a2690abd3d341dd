"""The full-screen app: owns the session, the worker and what is remembered; the run screen shows them.

Importing this imports no torch, transformers or numpy; the worker's thread does, when it has something to run.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import sys
import time
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.app import SystemCommand
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import Input

from engine import paths
from engine.settings import RunConfig, preset
from engine.text import truncate
from engine.worker import Worker
from tui import keymap, themes
from tui.messages import CopyText, LabelVerdict, Remember, RunEnded, Titled
from tui.screens.dialog import Dialog
from tui.screens.dialogs import Choice, Palette, ThemeChoice, TooSmall, is_too_small
from tui.screens.run import RunScreen
from tui.services import command_palette, config_file
from tui.services.preferences import Preferences
from tui.services.run_control import RunControl
from tui.services.run_host import Host
from tui.services.session import Session
from tui.services.workers import start_worker
from tui.terminal import notify
from tui.terminal.base_app import TerminalApp
from tui.terminal.detach import can_detach
from tui.terminal.driver import own_terminal
from tui.terminal.shutdown import Ending, finish
from tui.widgets.evaluate import EvaluateField

_THEMES_EVERY = 2.0
"""Seconds between two looks at the user's theme files."""

_NOTICE_EVERY = 5.0
"""Seconds between two notices of the same thing: a long paste arrives in many parts."""


class RedraftApp(TerminalApp):
    """The app.

    Args:
        folder: of a run to open.
        config: settings of the run that the run key starts.
        host: performs runs; a worker of this process by default.
        runs: the folder of runs; the user's by default.
        reading: number of pairs and seed of a blind reading to begin with.
        trying: options of `tui.screens.try_models.make_screen`, to begin with asking base and trained.
    """

    TITLE = "redraft"
    CSS = files("themes").joinpath("app.tcss").read_text(encoding="utf-8")
    BINDINGS: ClassVar[list[BindingType]] = keymap.bindings(keymap.APP)
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    PAUSE_GC_ON_SCROLL = True

    def __init__(
        self,
        folder: Path | None = None,
        config: RunConfig | None = None,
        host: Host | None = None,
        runs: Path | None = None,
        reading: tuple[int, int | None] | None = None,
        trying: Mapping[str, Any] | None = None,
    ) -> None:
        # Textual asks for colors before it is made.
        self._themes_folder = paths.config_dir() / "themes"
        self._theme_files = themes.files_in(self._themes_folder)
        self._palettes, self._theme_problems = themes.load_all(self._themes_folder)
        super().__init__()
        settings = config_file.load(paths.config_dir())
        config = config or settings.run or preset("demo")
        own_keys = keymap.load(paths.config_dir() / "keys.toml")
        self.keymap = keymap.with_keys(settings.keys, str(settings.path), own_keys)
        self.preferences = Preferences(paths.data_dir() / "app.json", settings.look)
        self._settings_problems = [*settings.problems]
        theme = settings.look.get("theme")
        if theme is not None and theme not in self._palettes:
            known = ", ".join(self._palettes)
            self._settings_problems.append(f"{settings.path}: there is no theme {theme!r}; there are {known}.")
        self._register_themes()
        self.session = Session()
        self.host: Host = host if host is not None else Worker(runs, config)
        self.control = RunControl(self.host, self.session, config, runs, self.keymap.shown)
        self._paste_ignored = -_NOTICE_EVERY
        self._reading = reading
        self._trying = trying
        self._title_shown = ""
        if folder is not None:
            self.session.open(folder)
        if "SSH_CONNECTION" in os.environ:
            self.animation_level = "none"

    # Start and end

    def on_load(self) -> None:
        self.begin_with_theme(self._wanted_theme)

    def get_default_screen(self) -> Screen[Any]:
        self.run_screen = RunScreen(self.control, self.keymap, self.preferences)
        return self.run_screen

    def _register_themes(self) -> None:
        for palette in self._palettes.values():
            self.register_theme((palette.in_16_colors() if self._has_16_colors else palette).theme())

    @property
    def _wanted_theme(self) -> str:
        wanted = self.preferences.current.theme
        return wanted if wanted in self._palettes else themes.DEFAULT

    @property
    def _has_16_colors(self) -> bool:
        return self.console.color_system in ("standard", "windows")

    def _reload_themes(self) -> None:
        """Take the user's themes again where one of their files changed."""
        found = themes.files_in(self._themes_folder)
        if found == self._theme_files:
            return
        self._theme_files = found
        gone = set(self._palettes)
        self._palettes, problems = themes.load_all(self._themes_folder)
        shown = self.theme
        with self.batch_update():
            # The style sheet is read again where the theme's name changes only.
            self.theme = next(name for name in self.available_themes if name != shown)
            for name in gone - set(self._palettes):
                self.unregister_theme(name)
            self._register_themes()
            self.theme = self._wanted_theme
            if shown in self._palettes:
                self.theme = shown
        for problem in problems:
            self.notify(problem, severity="warning", timeout=10, markup=False)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        # Textual's own themes know nothing of the names that the style sheet uses.
        default = self._palettes[themes.DEFAULT].colors
        return {f"rd-{name}": color for name, color in default.items()}

    def on_mount(self) -> None:
        self.set_keymap(keymap.overrides(self.keymap))
        self.host.start()
        self.set_class(self.colorless, "-no-color")
        for problem in [*self._settings_problems, *self.keymap.problems, *self._theme_problems]:
            self.notify(problem, severity="warning", timeout=10, markup=False)
        self.set_interval(_THEMES_EVERY, self._reload_themes)
        start_worker(self, self._offer_run, group="offer")
        if self._reading is not None:
            count, seed = self._reading
            self.call_after_refresh(self.run_screen.commands.read_blind, seed, count)
        if self._trying is not None:
            self.call_after_refresh(self.run_screen.commands.try_models, **self._trying)
        self.call_after_refresh(_collect_from_now)

    async def _offer_run(self) -> None:
        found = await asyncio.to_thread(self.control.find_offer)
        if found is None:
            from tui.services import run_plan

            profile, why = await asyncio.to_thread(run_plan.proposal, self.control.runs)
            self.run_screen.propose(profile, why)
        # Loaded by the first record else, which would hold up the keys.
        await asyncio.to_thread(importlib.import_module, "engine.events.registry")
        if found is None or self.session.folder is not None or self.busy:
            return
        sentence = self.control.offer(found)
        living = found.state == "running"
        if living:
            self.run_screen.show_opened()
        title = found.id if living else "An interrupted run"
        self.notify(sentence, title=title, timeout=10 if living else 15, markup=False)

    @property
    def colorless(self) -> bool:
        """Whether colors cannot carry any meaning here."""
        return "NO_COLOR" in os.environ or self.console.color_system in (None, "standard")

    @property
    def busy(self) -> bool:
        """Whether the worker does anything."""
        return self.control.busy

    def on_unmount(self) -> None:
        self.session.close()

    def on_resize(self, event: events.Resize) -> None:
        small = is_too_small(event.size)
        if small and not any(isinstance(screen, TooSmall) for screen in self.screen_stack):
            self.push_screen(TooSmall("the run continues" if self.busy else ""))
        elif not small and isinstance(self.screen, TooSmall):
            self.screen.dismiss(None)

    async def action_quit(self) -> None:
        if not self.busy:
            self.exit()
        elif not isinstance(self.screen, Choice):
            answers = [
                ("stay", "Stay here"),
                ("stop", "Stop the run and quit; what is finished is kept, and the run can be resumed"),
            ]
            if can_detach():
                answers.insert(0, ("leave", "Leave it running: close the screen; `redraft` shows the run again"))
            self.push_screen(Choice("Quit", "A run is still in progress.", answers), self._quit_if)

    def _quit_if(self, answer: str | None) -> None:
        if answer == "stop":
            self.exit()
        elif answer == "leave" and can_detach() and self.busy:
            self.leave(Ending.DETACHED)
        elif answer == "leave":
            self.exit()  # the run ended meanwhile

    def on_detach(self) -> None:
        """Leave the screen; the run continues without it."""
        if not self.busy:
            self.notify(f"No active run; {self.keymap.shown('quit', keymap.APP)} quits.", markup=False)
        elif not can_detach():
            self.notify("Cannot detach: not started with `redraft`.", markup=False)
        else:
            self.leave(Ending.DETACHED)

    # Notices

    def notify(self, message: str, **options: Any) -> None:
        """Show a notice; where a window is open, in its border, since the notice waits until the window is closed."""
        super().notify(message, **options)
        if isinstance(self.screen, Dialog):
            self.screen.show_note(message)

    def on_paste(self) -> None:
        """A text was pasted, and no field took it."""
        if isinstance(self.screen, RunScreen) and not isinstance(self.focused, EvaluateField | Input):
            now = time.monotonic()
            if now - self._paste_ignored < _NOTICE_EVERY:
                return
            self._paste_ignored = now
            key = self.keymap.shown("evaluate_text")
            self.notify(f"The pasted text was ignored. Press {key} to judge a text, then paste.", markup=False)

    def _show_title(self, text: str) -> None:
        """Set the window's title, unless the user turned that off."""
        if self.preferences.current.notify and text != self._title_shown:
            self._title_shown = text
            self.write_to_terminal(notify.title(text))

    def on_titled(self, message: Titled) -> None:
        self._show_title(message.text)

    def on_run_ended(self, message: RunEnded) -> None:
        """Ring the bell and notify the desktop, unless the user turned that off."""
        self._show_title(f"redraft · {message.name} · {message.outcome}")
        if self.preferences.current.notify:
            self.bell()
            self.write_to_terminal(notify.notification(message.name, message.outcome, os.environ))

    def toggle_notify(self) -> None:
        """Turn bell, title and notification off, or on again."""
        on = not self.preferences.current.notify
        self.preferences.remember(notify=on)
        words = "on: bell, window title and desktop notification at the end of a run" if on else "off"
        self.notify(f"Notifications are {words}.", markup=False)

    # What widgets and windows ask

    def on_show_verdict(self) -> None:
        self.run_screen.commands.show_verdict()

    def on_show_judges(self) -> None:
        self.run_screen.commands.show_judges()

    def on_label_verdict(self, message: LabelVerdict) -> None:
        self.run_screen.commands.label_newest(message.agrees)

    def on_read_blind(self) -> None:
        self.run_screen.commands.read_blind()

    def on_show_answers(self) -> None:
        self.run_screen.action_answers()

    def on_export_run(self) -> None:
        self.run_screen.action_export()

    def on_write_page(self) -> None:
        self.run_screen.commands.write_page()

    def on_remember(self, message: Remember) -> None:
        self.preferences.remember(**message.changes)

    def on_copy_text(self, message: CopyText) -> None:
        self.run_screen.commands.copy(message.text, self.put_on_clipboard)

    # Colors, help, commands

    def action_theme(self) -> None:
        known = [(palette.name, palette.title) for palette in self._palettes.values()]
        self.run_screen.commands.open(ThemeChoice(known, self.theme), self._take_theme)

    def _take_theme(self, name: str | None) -> None:
        if name is not None:
            self.preferences.remember(theme=name)

    def action_help(self) -> None:
        from tui.screens.help import Help

        self.run_screen.commands.open(Help(self.keymap, self.run_screen.place))

    def action_jump_mode(self) -> None:
        from tui.screens.jump import Jump, targets

        below = self.screen
        found = targets(below)
        if found and not isinstance(below, Jump | TooSmall):
            self.push_screen(Jump(below, found), lambda widget: below.set_focus(widget) if widget else None)

    def action_command_palette(self) -> None:
        self.run_screen.commands.open(Palette(id="--command-palette"))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:  # noqa: ARG002 - Textual's
        return command_palette.commands(self.keymap, self)

    async def press(self, key: keymap.Key) -> None:
        """Do what a key does."""
        owner = self if key.place == keymap.APP else self.run_screen
        await self.run_action(key.action if "(" in key.action else f"{key.action}()", default_namespace=owner)

    def why_not(self, action: str) -> str:
        """Why an action has no effect now; "" where it has one."""
        return self.run_screen.why_not(action)

    def compare_models(self) -> None:
        """Ask for two models and compare them."""
        self.run_screen.commands.compare_models()

    def write_picture(self) -> None:
        """Write a picture of the screen."""
        self.run_screen.commands.write_picture()

    def export(self, formats: tuple[str, ...], verbosity: int) -> None:
        """Write all records of the run."""
        self.run_screen.commands.export(formats, verbosity)


def _collect_from_now() -> None:
    """What is alive when the first picture is there lives as long as the app: the collector, which is off until then,
    need not look at it again."""
    gc.freeze()
    gc.enable()


def run(
    *,
    config: RunConfig | None = None,
    folder: Path | None = None,
    reading: tuple[int, int | None] | None = None,
    trying: Mapping[str, Any] | None = None,
    runs: Path | None = None,
) -> int:
    """Open the app on this terminal and wait until it ends; gives the exit code.

    Args:
        config: settings of the run that the run key starts; those of `config.toml` by default, else the demo's.
        folder: of a run to open.
        reading: number of pairs and seed of a blind reading to begin with.
        trying: options of `tui.screens.try_models.make_screen`, to begin with asking base and trained.
        runs: the folder of runs; the user's by default.
    """
    gc.disable()  # until the first picture is drawn: nothing of what is made for it can be freed
    app = RedraftApp(folder, config, runs=runs, reading=reading, trying=trying)
    log = paths.cache_dir() / "app.log"
    # A thread that runs models holds the interpreter's lock for this long at a time while a key waits; ten times
    # shorter than Python's default brought the slowest keys from 50 to 34 ms.
    sys.setswitchinterval(0.0005)
    with own_terminal(log):
        app.run()
        failed = app.return_code not in (0, None)
        if app.busy and app.ending is Ending.QUIT:
            _say("Stopping the run …")
        elif app.ending is Ending.DETACHED:
            _say("The run continues without a screen; `redraft` or `redraft watch` shows it.")
        code, ended = finish(app.ending, lambda: app.busy, app.host.shutdown)
    if failed:
        print(f"The app failed; the details are at the end of {log}.", file=sys.stderr)  # noqa: T201
        code = 1
    if not ended:
        # The thread is inside something that cannot be interrupted (torch being imported, a model being read);
        # taking the interpreter apart around it would crash. The journal holds whole records only.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _say(text: str) -> None:
    from tui.terminal.driver import say

    say(truncate(text) + "\n")
