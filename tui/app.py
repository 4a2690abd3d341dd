"""The full-screen app: owns the session, the worker and what is remembered; the run screen shows them.

Importing this imports no torch, transformers or numpy; the worker's thread does, when it has something to run.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.command import CommandPalette
from textual.filter import LineFilter
from textual.screen import Screen
from textual.widgets import Input

from engine import paths
from engine.errors import RedraftError
from engine.runs.journal_writer import is_written
from engine.runs.store import read_report
from engine.settings import RunConfig, preset
from engine.text import sanitize, truncate
from engine.worker import Configure, Doing, Evaluate, ResumeRun, StartRun, Worker
from tui import keymap, themes
from tui.screens.dialog import Answer, ClosesOnce, Dialog
from tui.screens.dialogs import Choice, ThemeChoice, TooSmall, is_too_small
from tui.screens.run import RunScreen
from tui.services import command_palette, export_actions, preferences, remote_runs
from tui.services.run_host import BUSY, Host
from tui.services.session import Session
from tui.terminal.detach import can_detach
from tui.terminal.driver import ScreenDriver, own_terminal
from tui.terminal.frames import Frames
from tui.terminal.sanitize_filter import Guard
from tui.terminal.shutdown import Ending, finish, listen
from tui.widgets.evaluate import EvaluateField

_TOAST_EVERY = 5.0
"""Seconds between two notices of the same thing: a long paste arrives in many parts."""

LONGEST = 2_000_000
"""Characters of a text to judge; a longer one is a mistake, and would hold up the run."""


class Palette(ClosesOnce, CommandPalette):
    """Textual's list of commands, closing once."""


class RedraftApp(App[None]):
    """The app.

    Args:
        folder: of a run to open.
        config: settings of the run that the run key starts.
        host: performs runs; a worker of this process by default.
        runs: the folder of runs; the user's by default.
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
    ) -> None:
        # Textual asks for colours before it is made.
        self._palettes, self._theme_problems = themes.load_all(paths.config_dir() / "themes")
        super().__init__(driver_class=ScreenDriver)
        self.config = config or preset("demo")
        self.runs = runs
        self.host: Host = host if host is not None else Worker(runs, self.config)
        self.session = Session()
        self.ending = Ending.QUIT
        self.keymap = keymap.load(paths.config_dir() / "keys.toml")
        self.opened_before: Path | None = None
        """The worker's folder when an earlier run was opened: its news must not take the screen back."""
        self.offered: Path | None = None
        """An interrupted run that the resume key goes on with while no run is shown."""
        self._prefs_file = paths.data_dir() / "app.json"
        self.prefs = preferences.load(self._prefs_file)
        self._frames = Frames(self)
        self._leaving = False
        self._paste_ignored = -_TOAST_EVERY
        self._guard = Guard()
        self._alive: tuple[float, Path | None, bool] = (0.0, None, False)
        if folder is not None:
            self.session.open(folder)
        if "SSH_CONNECTION" in os.environ:
            self.animation_level = "none"

    # Start and end

    def get_default_screen(self) -> Screen[Any]:
        self._use_themes()
        self.run_screen = RunScreen(self.session, self.config, self.prefs.verbosity)
        return self.run_screen

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), self._guard]

    def _use_themes(self) -> None:
        for palette in self._palettes.values():
            self.register_theme(palette.theme())
        wanted = self.prefs.theme if self.prefs.theme in self._palettes else themes.DEFAULT
        self.theme = wanted

    def get_theme_variable_defaults(self) -> dict[str, str]:
        # Textual's own themes know nothing of the names that the style sheet uses.
        default = self._palettes[themes.DEFAULT].colors
        return {f"rd-{name}": color for name, color in default.items()}

    def on_mount(self) -> None:
        self.set_keymap(keymap.overrides(self.keymap))
        self.host.start()
        # Textual publishes this when a shell has brought the app back, and draws nothing by itself then.
        self.app_resume_signal.subscribe(self, lambda _: self.action_redraw())
        listen(self.leave)
        self.set_class(self.colorless, "-no-color")
        for problem in [*self.keymap.problems, *self._theme_problems]:
            self.notify(problem, severity="warning", timeout=10, markup=False)
        self.run_worker(remote_runs.offer(self), group="offer")
        # What is alive now lives as long as the app: the collector need not look at it again.
        self.call_after_refresh(gc.freeze)

    @property
    def colorless(self) -> bool:
        """Whether colours cannot carry any meaning here."""
        return "NO_COLOR" in os.environ or self.console.color_system in (None, "standard")

    def forget_picture(self) -> None:
        """The terminal may show anything now; the next frames are sent whole."""
        self._frames.forget()

    def action_redraw(self) -> None:
        self.forget_picture()
        self.screen.refresh(layout=True)

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        # Frames that Textual would not send are left to it, since what is not sent must not be taken for shown.
        sends = self._running and not self._closed and not self.is_headless and not self._batch_count
        if sends and self._driver is not None:
            renderable = self._frames.reduced(renderable)
        if renderable is not None:
            super()._display(screen, renderable)

    def leave(self, ending: Ending) -> None:
        """Leave the screen; what becomes of the run is decided after it (`tui.terminal.shutdown.finish`)."""
        self.ending = ending
        self._leaving = True
        self.exit()

    async def on_event(self, event: events.Event) -> None:
        """Handle an event; once the app leaves, what was typed before that is dropped, so that leaving overtakes it."""
        if not (self._leaving and isinstance(event, events.InputEvent | events.Paste)):
            await super().on_event(event)

    def on_paste(self) -> None:
        """A text was pasted, and no field took it."""
        if isinstance(self.screen, RunScreen) and not isinstance(self.focused, EvaluateField | Input):
            now = time.monotonic()
            if now - self._paste_ignored < _TOAST_EVERY:
                return
            self._paste_ignored = now
            key = self.keymap.shown("evaluate_text")
            self.notify(f"The pasted text was ignored. Press {key} to judge a text, then paste.", markup=False)

    def terminal_lost(self) -> None:
        """The terminal is gone."""
        self.leave(Ending.HUNG_UP)

    def on_unmount(self) -> None:
        self.session.close()

    def on_resize(self, event: events.Resize) -> None:
        small = is_too_small(event.size)
        if small and not any(isinstance(screen, TooSmall) for screen in self.screen_stack):
            self.push_screen(TooSmall("the run goes on" if self.busy else ""))
        elif not small and isinstance(self.screen, TooSmall):
            self.screen.dismiss(None)

    def open_dialog(self, dialog: Screen[Answer], closed: Callable[[Answer | None], None] | None = None) -> None:
        """Open a window above the run screen. Does nothing where another one is open: the key for it came twice."""
        if self.screen is self.run_screen:
            self.push_screen(dialog, closed)

    def action_command_palette(self) -> None:
        self.open_dialog(Palette(id="--command-palette"))

    async def action_quit(self) -> None:
        if not self.busy:
            self.exit()
            return
        if isinstance(self.screen, Choice):
            return
        answers = [
            (False, "Stay"),
            (True, "Stop the run and quit; what is finished is kept, and the run can be resumed"),
        ]
        self.push_screen(Choice("Quit", "A run goes on.", answers), self._quit_if)

    def _quit_if(self, answer: bool | None) -> None:
        if answer:
            self.exit()

    def notify(self, message: str, **options: Any) -> None:
        """Show a notice; where a window is open, in its border, since the notice waits until the window is closed."""
        super().notify(message, **options)
        if isinstance(self.screen, Dialog):
            self.screen.show_note(message)

    # What is remembered

    def remember(self, **changes: Any) -> None:
        """Keep a choice for the next start."""
        self.prefs = dataclasses.replace(self.prefs, **changes)
        preferences.save(self._prefs_file, **changes)

    # Runs

    @property
    def busy(self) -> bool:
        """Whether the worker does anything."""
        return self.host.state.doing in BUSY

    def is_alive(self, folder: Path | None) -> bool:
        """Whether a living process writes this run; asked of the system once a second at most."""
        now = asyncio.get_running_loop().time()
        checked, known, alive = self._alive
        if known != folder or now - checked > 1.0:
            alive = folder is not None and is_written(folder)
            self._alive = (now, folder, alive)
        return alive

    def start_run(self) -> None:
        """Begin a run with the chosen settings."""
        if self.busy:
            self.notify("A run goes on already; s stops it.", markup=False)
            return
        self.opened_before = self.host.state.folder
        self.host.send(StartRun(self.config))
        self.run_screen.present()

    def resume_run(self, folder: Path | None) -> None:
        """Go on with a run that was stopped: the one that is shown, or the one that was offered on start."""
        folder = folder or (self.offered if self.session.folder is None else None)
        if folder is None:
            self.notify("The run that is shown was not stopped.", markup=False)
        elif self.busy:
            self.notify("A run goes on already; s stops it.", markup=False)
        else:
            self.opened_before = self.offered = None
            self.host.send(ResumeRun(folder))
            self.run_screen.present()

    def ask_to_go_on(self, folder: Path, why: str) -> None:
        """What a run was made from has changed: go on with what is there now, or leave it."""

        def decide(answer: bool | None) -> None:
            if answer and not self.busy:
                self.host.send(ResumeRun(folder, force=True))

        answers = [(False, "Leave it as it is"), (True, "Go on with what is there now, mixing both in one run")]
        self.open_dialog(Choice("Go on all the same?", why.partition(" Restore them;")[0], answers), decide)

    def pause_run(self) -> None:
        """Pause the run, or let it go on."""
        doing = self.host.state.doing
        if doing is Doing.PAUSED:
            self.host.resume()
        elif doing is Doing.RUNNING:
            self.host.pause()
        else:
            remote_runs.toggle_pause(self)
        self.run_screen.present()

    def ask_to_stop(self) -> None:
        """Stop the run, after a question."""
        if not self.busy and remote_runs.performed(self) is None:
            self.notify("No run goes on in this app.", markup=False)
            return
        answers = [(True, "Stop; what is finished is kept, and the run can be resumed"), (False, "Let it go on")]
        self.open_dialog(Choice("Stop the run?", "", answers), self._stop_if)

    def _stop_if(self, answer: bool | None) -> None:
        if answer and self.busy:
            self.host.stop()
        elif answer:
            remote_runs.stop(self)

    def detach(self) -> None:
        """Leave the screen; the run goes on without it. Of another process's run: ask that process to."""
        if not self.busy and remote_runs.performed(self) is not None:
            remote_runs.detach(self)
        elif not self.busy:
            self.notify("No run goes on in this app; ^q quits.", markup=False)
        elif not can_detach():
            self.notify("This process cannot leave its terminal; start it as `redraft`.", markup=False)
        else:
            self.leave(Ending.DETACHED)

    def evaluate(self, text: str) -> bool:
        """Judge a text; False where it cannot be judged, and a person was told why."""
        text = sanitize(text)
        if not text.strip():
            self.notify("There is no text to judge. Type or paste one first.", severity="warning", markup=False)
            return False
        if len(text) > LONGEST:
            message = f"The text has {len(text):,} characters; at most {LONGEST:,} can be judged."
            self.notify(message, severity="warning", markup=False)
            return False
        if self.host.state.folder == self.opened_before:
            self.opened_before = None
        self.host.send(Evaluate(text))
        return True

    def ask_setup(self) -> None:
        """Choose what the next run does."""
        from tui.screens.setup import Setup

        self.open_dialog(Setup(self.config), self._set_up)

    def _set_up(self, config: RunConfig | None) -> None:
        if config is not None:
            self.config = config
            self.host.send(Configure(config))
            self.run_screen.prompts.configure(config)
            self.run_screen.present()

    def ask_runs(self) -> None:
        """Choose an earlier run."""
        from tui.screens.runs import Runs

        self.open_dialog(Runs(self.runs), self._open_run)

    def _open_run(self, folder: Path | None) -> None:
        if folder is None:
            return
        state = self.host.state
        self.opened_before = state.folder if state.folder != folder else None
        self.run_screen.open(folder)

    def show_report(self) -> None:
        """The figures of the run that is shown."""
        from tui.screens.report import ReportScreen

        folder, result = self.session.folder, self.session.state.result
        note = ""
        try:
            report: Any = read_report(folder) if folder is not None else {}
        except RedraftError as error:
            report, note = dict(result), str(error)
        if not report:
            self.notify("There are no figures before base and trained were compared.", markup=False)
            return
        self.open_dialog(ReportScreen(folder.name if folder else "", report, note))

    def action_export(self) -> None:
        words = self.run_screen.log_box.view.filtered_by
        export_actions.export(self, ("md", "json"), max(1, self.run_screen.verbosity), words)

    # Colours, help, commands

    def action_theme(self) -> None:
        known = [(palette.name, palette.title) for palette in self._palettes.values()]
        self.open_dialog(ThemeChoice(known, self.theme), self._take_theme)

    def _take_theme(self, name: str | None) -> None:
        if name is not None:
            self.remember(theme=name)

    def action_help(self) -> None:
        from tui.screens.help import Help

        self.open_dialog(Help(self.keymap, keymap.RUN))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:  # noqa: ARG002 - Textual's
        return command_palette.commands(self)


def run(*, preset: str = "demo", config: RunConfig | None = None, folder: Path | None = None) -> int:
    """Open the app on this terminal and wait until it ends; gives the exit code.

    Args:
        preset: which settings the run key starts with, where no `config` is given.
        folder: of a run to open.

    Raises:
        InputError: there is no such preset.
    """
    from engine.settings import preset as settings_of

    app = RedraftApp(folder, config or settings_of(preset))
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
            _say("The run goes on without a screen; `redraft` or `redraft watch` shows it.")
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
