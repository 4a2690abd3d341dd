"""Draws the app with a run that is there into an SVG file, without a terminal: for the README and for bug reports.

python -m tui.screenshot RUN FILE.svg [COLUMNSxLINES] [KEY ...]
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.errors import InputError
from engine.files import write_atomically
from engine.runs.store import find_run
from engine.worker import Command, WorkerState
from tui.app import RedraftApp


class NullHost:
    """A host that performs nothing: a picture needs no models."""

    state = WorkerState()

    def start(self) -> None: ...

    def send(self, command: Command) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def stop(self) -> None: ...

    def decide(self, choice: str) -> None: ...

    def shutdown(self, timeout: float = 10.0) -> bool:  # noqa: ARG002 - the protocol's own name
        return True


async def draw(folder: Path, size: tuple[int, int] = (120, 40), keys: Sequence[str] = ()) -> str:
    """The app showing this run after these keys, as SVG."""
    app = RedraftApp(folder, host=NullHost())
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.5)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.2)
        await pilot.pause(0.5)
        return app.export_screenshot(title="redraft")


def main(arguments: Sequence[str]) -> None:
    """Write the file that the arguments name.

    Raises:
        RedraftError: the run is not there, or the file cannot be written.
    """
    if len(arguments) < 2:
        raise InputError("a run and a file are needed.", next_step="python -m tui.screenshot RUN FILE.svg")
    run, file, *rest = arguments
    columns, lines = map(int, rest[0].split("x")) if rest else (120, 40)
    svg = asyncio.run(draw(find_run(run), (columns, lines), rest[1:]))
    write_atomically(Path(file), svg.encode(), mode=0o644)


if __name__ == "__main__":
    main(sys.argv[1:])
