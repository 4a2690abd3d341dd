"""`redraft replay`: a finished run as it happened, for talks and screenshots."""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path
from typing import Annotated

import typer

from tui.commands import options
from tui.terminal import output


def replay(
    run: options.Run = "last",
    speed: Annotated[
        float, typer.Option("--speed", metavar="N", min=0.01, max=100_000, help="Replay at N times the run's own pace.")
    ] = 20.0,
    max_wait: Annotated[
        float, typer.Option("--max-wait", metavar="SECONDS", min=0, help="Shorten longer waits between two records.")
    ] = 3.0,
    plain: Annotated[bool, typer.Option("--plain", help="Print the stages instead of opening the app.")] = False,
    verbosity: options.Verbosity = 2,
) -> None:
    """Show a finished run as it happened: the app follows a copy of its journal that grows in the run's rhythm.

    p pauses, s stops the replay. Without a terminal, or with --plain, the stages are printed. The run itself is not
    changed.
    """
    from engine.runs.store import find_run

    folder = find_run(run)
    with tempfile.TemporaryDirectory(prefix="redraft-replay-") as place:
        target = Path(place) / folder.name
        if plain or not output.has_terminal():
            _print(folder, target, speed, max_wait, verbosity)
        else:
            _open(folder, target, speed, max_wait)


def _print(folder: Path, target: Path, speed: float, max_wait: float, verbosity: int) -> None:
    from engine.runs.replay import replay as copy
    from tui.commands.headless import perform
    from tui.commands.plain import PlainDisplay

    display = PlainDisplay(sys.stdout, sys.stderr, verbosity)
    perform(lambda control: copy(folder, target, speed, control, max_wait), target, display)


def _open(folder: Path, target: Path, speed: float, max_wait: float) -> None:
    from engine.control import Control
    from engine.errors import Stopped
    from engine.runs.journal_reader import JOURNAL
    from engine.runs.replay import replay as copy
    from tui.app import run as run_app

    control = Control()
    failure: list[Exception] = []

    def work() -> None:
        try:
            copy(folder, target, speed, control, max_wait)
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001 - raised on the main thread once the app has left the screen
            failure.append(error)

    target.mkdir(mode=0o700)
    (target / JOURNAL).touch(mode=0o600)
    thread = threading.Thread(target=work, name="redraft-replay", daemon=True)
    thread.start()
    try:
        code = run_app(folder=target, runs=target.parent)
    finally:
        control.stop()
        thread.join(5)
    if failure:
        raise failure[0]
    if code:
        raise typer.Exit(code)
    output.notice(f"Replayed {folder.name}.")
