"""`redraft watch`: follow and control a run of another process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tui.commands import options
from tui.terminal import output

if TYPE_CHECKING:
    from engine.events.base import Record
    from engine.runs.journal_reader import JournalReader
    from tui.commands.plain import PlainDisplay


def watch(
    run: options.Run = "last",
    pause: Annotated[bool, typer.Option("--pause", help="Pause the run and exit.")] = False,
    continue_: Annotated[bool, typer.Option("--continue", help="Continue a paused run and exit.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the run and exit.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Detach the run from its terminal and exit.")] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="After an alarm of training, return to the last healthy checkpoint.")
    ] = False,
    keep_training: Annotated[
        bool, typer.Option("--keep-training", help="After an alarm of training, continue it.")
    ] = False,
    verbosity: options.Verbosity = 2,
    as_json: options.Json = False,
) -> None:
    """Follow a run from its beginning to its end. Ctrl-C or q stops watching, not the run.

    On a terminal p pauses and continues the run, s stops it, d detaches it from its own terminal; after an alarm of
    training r returns to the last healthy checkpoint and k keeps training. Any watcher may. --pause, --continue,
    --stop, --detach, --restore and --keep-training do the same without watching. With --json each event is one object
    per line, as `redraft export --format jsonl` writes it.
    """
    from engine.runs.control_file import CONTINUE, DETACH, KEEP_TRAINING, PAUSE, RESTORE, STOP
    from engine.runs.store import find_run, inspect
    from tui.commands.plain import PlainDisplay

    folder = find_run(run)
    options_given = (
        (PAUSE, pause),
        (CONTINUE, continue_),
        (STOP, stop),
        (DETACH, detach),
        (RESTORE, restore),
        (KEEP_TRAINING, keep_training),
    )
    commands = [command for command, given in options_given if given]
    if commands:
        _send(folder, commands, as_json)
        return
    display = PlainDisplay(sys.stdout, sys.stderr, verbosity)
    try:
        _follow(folder, display, _Shown(display, verbosity, as_json))
    finally:
        display.close()
    output.notice(f"{folder.name} is {inspect(folder).state}.")


def _follow(folder: Path, display: PlainDisplay, shown: _Shown) -> None:
    """Show what comes until the run ends or q is pressed; obey the other keys."""
    from engine.runs.control_file import CONTINUE, DETACH, KEEP_TRAINING, PAUSE, RESTORE, STOP
    from engine.runs.journal_writer import is_written
    from tui.commands.headless import follow
    from tui.terminal.watch_keys import KEYS, keys

    with keys() as pressed:
        if pressed.known and is_written(folder):
            display.notice(KEYS)

        def wait(seconds: float) -> bool:
            key = pressed.wait(seconds)
            command = {"p": CONTINUE if shown.paused else PAUSE, "s": STOP, "d": DETACH}.get(key)
            if shown.alarm:
                command = {"r": RESTORE, "k": KEEP_TRAINING}.get(key, command)
            if command is not None:
                _send_from_key(folder, command, display)
            return key != "q"

        follow(folder, shown.take, lambda: is_written(folder), wait)


class _Shown:
    """What was shown of the run so far, and whether it is paused."""

    def __init__(self, display: PlainDisplay, verbosity: int, as_json: bool) -> None:
        self._display, self._verbosity, self._as_json = display, verbosity, as_json
        self._damaged = 0
        self.paused = False
        self.alarm = False

    def take(self, reader: JournalReader) -> None:
        """Show what is new."""
        from engine.runs.export import row
        from tui.terminal.watch_keys import ALARM_KEYS

        while events := reader.poll(limit=200):
            alarmed = self.alarm
            for event in events:
                if event.stage.startswith("RUN-"):
                    self.paused = event.stage == "RUN-PAUSED"
                self._follow_alarm(event)
                entry = row(event, self._verbosity) if self._as_json else None
                if entry is not None:
                    output.emit(entry)
            if not self._as_json:
                self._display.show(events)
            if self.alarm and not alarmed and not self._as_json:
                self._display.notice(ALARM_KEYS)
        for damage in reader.damage[self._damaged :]:
            self._display.notice(f"redraft: {damage.length} bytes of the journal at {damage.offset} cannot be read")
        self._damaged = len(reader.damage)

    def _follow_alarm(self, event: Record) -> None:
        """Whether an alarm of training waits for an answer."""
        if event.stage in ("HEALTH-ALARM", "HEALTH-DECISION", "TRAIN-COMPLETE"):
            self.alarm = event.stage == "HEALTH-ALARM" and event.data.get("action") == "ask"


def _send_from_key(folder: Path, command: str, display: PlainDisplay) -> None:
    from engine.errors import RedraftError
    from engine.runs.control_file import send

    try:
        send(folder, command)
        display.notice(f"{command} requested …")
    except RedraftError as error:
        display.notice(f"redraft: {error}")


def _send(folder: Path, commands: list[str], as_json: bool) -> None:
    from engine.errors import InputError
    from engine.runs.control_file import send

    if len(commands) > 1:
        raise InputError(
            "only one of these options at a time.", where="redraft watch", next_step=f"Remove --{commands[1]}."
        )
    send(folder, commands[0])
    if as_json:
        output.emit({"run": folder.name, "asked": commands[0]})
    output.notice(f"{folder.name}: {commands[0]} requested. `redraft watch` shows it.")
