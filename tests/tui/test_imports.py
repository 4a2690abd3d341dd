from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("own_home")

HEAVY = ("torch", "transformers", "numpy", "accelerate", "peft", "safetensors")


@pytest.mark.parametrize("module", ["tui", "tui.app", "tui.screens.setup", "tui.screens.report", "tui.screens.runs"])
def test_the_screen_loads_no_models(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def test_a_first_frame_needs_no_models() -> None:
    code = (
        "import asyncio, sys\n"
        "from tui.app import RedraftApp\n"
        "async def main():\n"
        "    app = RedraftApp()\n"
        "    async with app.run_test(size=(120, 40)) as pilot:\n"
        "        await pilot.pause(0.2)\n"
        f"        found.extend(name for name in {HEAVY!r} if name in sys.modules)\n"
        "found = []\n"
        "asyncio.run(main())\n"
        "print(found)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
