"""Whatever is pressed, nothing fails: every key of the table once, then random ones and clicks, with a run loaded.

`make keys` presses 20,000 at each of three sizes; the suite presses each key of the table once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from random import Random

import pytest
from driving import RecordingHost
from recorded import run
from textual.errors import NoWidget
from textual.events import Key
from textual.keys import key_to_character

from tui.app import RedraftApp
from tui.keymap import KEYS
from tui.services import constitution_draft, run_plan

COUNT = int(os.environ.get("REDRAFT_KEYS", "0"))
LONG = COUNT > 0
SEED = int(os.environ.get("REDRAFT_KEYS_SEED", "1"))
SIZES = [(80, 24), (120, 40), (60, 20)] if LONG else [(80, 24)]
TYPED = [*"abcdefghijklmnopqrstuvwxyz0123456789", "space", "enter", "escape", "tab", "backspace", "up", "down", "left"]
_AT_ONCE = 8
"""Keys between two waits for the screen, and two clicks."""

pytestmark = [pytest.mark.usefixtures("own_home"), pytest.mark.timeout(0 if LONG else 120)]


def keys_for(size: tuple[int, int]) -> list[str]:
    """Every key of the table once, in random order, then random ones."""
    random = Random(f"{SEED}-{size}")
    bound = sorted({name for key in KEYS for name in key.keys})
    random.shuffle(bound)
    # What is typed into a field comes after a key that may have opened it; Esc finds the way back.
    pool = [*bound, *TYPED, *["escape"] * 12]
    return [*bound, *random.choices(pool, k=max(0, COUNT - len(bound)))]


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
async def test_no_sequence_of_keys_fails(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_tests(*_: object) -> list[constitution_draft.TestResult]:
        return []

    # Files outside of this test are not read, and no judge is started for tests of a constitution.
    monkeypatch.setattr(run_plan, "preview_of", lambda *_: ["a file"])
    monkeypatch.setattr(constitution_draft, "run_tests", no_tests)
    monkeypatch.setattr(constitution_draft, "default_text", lambda: 'name = "none"\n')
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    run(runs / "demo-2", train=6, heldout=9, steps=30)
    random, left = Random(SEED), keys_for(size)
    pressed: list[str] = []
    while left:
        folder = run(runs / f"demo-{len(pressed) + 3}", train=6, heldout=9, steps=30)
        app = RedraftApp(folder, host=RecordingHost(), runs=runs)
        try:
            async with app.run_test(size=size, notifications=True) as pilot:
                while left and app.return_code is None:
                    now = [left.pop() for _ in range(min(_AT_ONCE, len(left)))]
                    pressed += now
                    for key in now:
                        app.post_message(Key(key, key_to_character(key)))
                    # Not `pilot.pause`, which waits for threads, too: keys may come while they work.
                    await asyncio.sleep(0.02)
                    if app.return_code is None and LONG:
                        place = random.randrange(size[0]), random.randrange(size[1])
                        pressed.append(f"click at {place}")
                        # A window that was opened a moment ago has no widget there yet: the pilot looks for it.
                        with contextlib.suppress(NoWidget):
                            await pilot.click(offset=place)
                # A window that is opened while the app ends finds its panes gone; here it is given time to open.
                await pilot.pause(0.5)
        except Exception as error:
            raise AssertionError(f"seed {SEED}, after {len(pressed)}: {' '.join(pressed[-80:])}") from error
