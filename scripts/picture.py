"""Makes the README's picture: the app itself, opened on a finished run, as SVG.

.venv/bin/python scripts/picture.py RUN docs/app.svg
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from engine.journal.runs import find_run
from tui.app import RedraftApp


async def picture(folder: Path, target: Path) -> None:
    app = RedraftApp(folder=folder)
    async with app.run_test(size=(132, 43)) as pilot:
        await pilot.pause(2.0)
        await pilot.press("slash", *"pair-created", "enter", "escape")
        await pilot.pause(1.0)
        target.write_text(app.export_screenshot(title="redraft"), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(picture(find_run(sys.argv[1]), Path(sys.argv[2])))
