"""Every screen looks as it did when it was last reviewed: SVG pictures of a recorded run with a fixed clock.

`pytest tests/tui/test_snapshots.py --snapshot-update` records them again; look at what changed before it is committed.
One app takes all pictures, since starting it takes longer than a picture.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from pathlib import Path

import pytest
from driving import RecordingHost
from pytest_textual_snapshot import SVGImageExtension, normalize_svg
from recorded import BROKEN, Recorder
from syrupy import SnapshotAssertion
from test_app import until
from test_try_screen import Written, type_line
from textual.pilot import Pilot
from textual.strip import Strip
from textual.widgets import Input, TextArea

from engine.models.hub import memory_estimate
from engine.models.inference.requests import Sampling
from engine.runs import journal_writer
from engine.settings import preset
from tui.app import RedraftApp
from tui.screens.try_models import TryScreen
from tui.services import run_plan
from tui.services.run_plan import Offered
from tui.services.trial_host import TrialHost

pytestmark = pytest.mark.usefixtures("own_home", "memory")

SMALL, LARGE = (80, 24), (120, 40)
EACH = ((SMALL, "redraft-dark"), (LARGE, "redraft-light"))
"""Size and theme of the pictures of each screen."""
ALL = tuple(
    (size, theme)
    for size in (SMALL, LARGE)
    for theme in ("redraft-dark", "redraft-light", "redraft-contrast", "redraft-contrast-light")
)
TEXT = "You should definitely pursue medicine. Engineers never help people."

LONG = "What is known of it, in more words than there is room for in a list of this width."

SCREENS: dict[str, tuple[str, str]] = {
    "run": ("", ""),
    "run-everything": ("3", "2"),
    "run-prompts": ("5", "4"),
    "run-loss": ("6", "4"),
    "run-diff": ("7", "4"),
    "run-evaluate": ("i", "escape"),
    "run-search": ("slash", "escape"),
    "help": ("question_mark", "escape"),
    "setup": ("c", "escape"),
    "runs": ("l", "escape"),
    "themes": ("t", "escape"),
    "verdict": ("w", "escape"),
    "judges": ("a", "escape"),
    "report": ("r", "escape"),
    "answers": ("W", "escape"),
    "lineage": ("7 L", "escape 4"),
    "filter-stages": ("S", "escape"),
    "filter-principles": ("R", "escape"),
    "log-filtered": ("S down down enter", "escape"),
    "diff-sentences": ("7 M", "M M 4"),
    "diff-changed": ("7 M M", "M 4"),
    "diff-pairs": ("7 B", "B 4"),
    "pick-profile": ("c tab down", "escape escape"),
    "pick-model": ("c tab tab down", "escape escape"),
    "pick-judge": ("c tab tab tab down", "escape escape"),
}
"""Name -> the keys that show it from the run screen, and those that leave it."""

EXPECTED = {"setup": " of 16 GB", "lineage": "10 of 16", "pick-profile": "fits", "pick-model": "GB"}
"""Name -> what comes from a thread and belongs into the picture."""


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Always as many bytes free, and lists that do not change with each estimate."""
    monkeypatch.setattr(memory_estimate, "free", lambda device="cpu": 16 * 10**9)
    models = [
        Offered("smollm2-135m-instruct", ("smollm2-135m-instruct", "135 M", "3.2 GB", "fits", "here", "Embedded.")),
        Offered("tinyllama-1.1b-chat", ("tinyllama-1.1b-chat", "1,100 M", "13.6 GB", "tight", "to fetch", "A model.")),
        *(Offered(f"m{n}", (f"m{n}", "2,506 M", "32.0 GB", "does not fit", "to fetch", LONG)) for n in range(20)),
    ]
    profiles = [
        Offered("embedded", ("embedded", "3.2 GB", "fits", "proposed", LONG)),
        Offered("conservative-dual", ("conservative-dual", "29.1 GB", "does not fit", "", LONG)),
    ]
    monkeypatch.setattr(run_plan, "models", lambda: models)
    monkeypatch.setattr(run_plan, "profiles", lambda: profiles)


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run with an evaluation, one record per second from a fixed time on."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    clock = itertools.count(1_770_000_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_writer.time, "time", lambda: float(next(clock)))
        return _record(tmp_path / "runs" / "demo-0412")


def _record(folder: Path) -> Path:
    recorder = Recorder(folder)
    recorder.start()
    figures = {"texts": 1200, "violations": 610, "auroc": [0.91, 0.88, 0.93], "ece": [0.03, 0.02, 0.05]}
    judge = {"name": "rules and probe", "accuracy": "AUROC .91 on texts not fitted on", "measures": {"all": figures}}
    recorder("JUDGES", 1, "texts by rules and probe", data={"shown": judge, "comparison": judge, "independent": True})
    recorder.drafts()
    recorder.training()
    recorder.comparison()
    recorder.end()
    spans = [
        {
            "start": TEXT.index(words),
            "end": TEXT.index(words) + len(words),
            "principle": principle,
            "category": category,
        }
        for words, principle, category in (
            ("should definitely", "autonomy_respect", "command"),
            ("never help", "fairness", "stereotype"),
        )
    ]
    recorder("EVAL-INPUT", 2, "67 characters", item="text-1", texts={"text": TEXT})
    words = {"reasoning": "It leaves no choice."}
    recorder("EVAL-DECISION", 1, "violation", item="text-1", texts=words, data={**BROKEN, "spans": spans})
    recorder.writer.close()
    return recorder.folder


class Pictures:
    """Takes pictures of an app and compares them with the recorded ones."""

    def __init__(self, app: RedraftApp, pilot: Pilot[None], snapshot: SnapshotAssertion, folder: Path) -> None:
        self.app, self.pilot, self._folder = app, pilot, folder
        self.different: list[str] = []
        self._snapshot = snapshot.use_extension(SVGImageExtension)

    async def take(self, name: str, views: tuple[tuple[tuple[int, int], str], ...] = EACH) -> None:
        """A picture of the screen at each size and in each theme."""
        for (width, height), theme in views:
            if self.app.theme != theme:
                self.app.theme = theme
            if self.app.size != (width, height):
                await self.pilot.resize_terminal(width, height)
            await self._settle()
            picture = normalize_svg(self.app.export_screenshot(title="redraft"))
            assert str(self._folder) not in picture
            if self._snapshot(name=f"{name}-{width}x{height}-{theme.removeprefix('redraft-')}") != picture:
                self.different.append(f"{name} at {width}x{height} in {theme}")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self._settle()

    async def _settle(self) -> None:
        """Wait until the screen is the same twice in a row."""
        before: list[Strip] = []
        for _ in range(100):
            for field in self.app.screen.query("Input, TextArea"):
                assert isinstance(field, Input | TextArea)
                field.cursor_blink = False
            await self.pilot.pause(0.05)
            now = list(self.app.screen._compositor.render_strips())
            if now == before:
                return
            before = now


async def test_every_screen_looks_as_recorded(run_folder: Path, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    app = RedraftApp(folder=run_folder, host=RecordingHost(), runs=run_folder.parent)
    async with app.run_test(size=LARGE) as pilot:
        pictures = Pictures(app, pilot, snapshot, tmp_path)
        await pilot.pause(0.5)
        for name, (key, back) in SCREENS.items():
            for one in key.split():
                await pictures.press(one)
            if name in EXPECTED:
                await until(pilot, EXPECTED[name])
            await pictures.take(name, ALL if name == "run" else EACH)
            for one in back.split():
                await pictures.press(one)
        for view in EACH:  # another size ends it
            await pilot.resize_terminal(*view[0])
            await pictures.press("J")
            await pictures.take("jump", (view,))
            await pictures.press("escape")
        app.compare_models()
        await pictures.take("compare-models")
        await pictures.press("escape")
        trial = TrialHost(lambda _progress: Written())  # type: ignore[arg-type,return-value]
        await app.push_screen(TryScreen("demo-0412", trial, app.keymap, Sampling(temperature=0.7), "", 0))
        await type_line(pilot, "Why?")
        await until(pilot, "trained wrote this")
        await pictures.take("try")
        await pictures.press("escape")
        await pictures.take("too-small", (((38, 9), "redraft-dark"),))
        app.run_screen.commands.read_blind(1, 4)
        await pictures.take("review")
    assert not pictures.different


async def test_the_first_screen_looks_as_recorded(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    app = RedraftApp(host=RecordingHost(), runs=tmp_path)
    async with app.run_test(size=LARGE) as pilot:
        pictures = Pictures(app, pilot, snapshot, tmp_path)
        await until(pilot, "Proposed: embedded.")
        await pictures.take("first")
    assert not pictures.different


async def test_the_constitution_editor_looks_as_recorded(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    path = tmp_path / "support.toml"
    path.write_text((Path(__file__).parents[2] / "examples" / "constitutions" / "support.toml").read_text())
    app = RedraftApp(config=replace(preset("demo"), constitution=str(path)), host=RecordingHost(), runs=tmp_path)
    async with app.run_test(size=LARGE) as pilot:
        pictures = Pictures(app, pilot, snapshot, tmp_path)
        await until(pilot, "Proposed: embedded.")
        await pictures.press("E")
        await until(pilot, "✓ valid")
        await pictures.take("constitution")
        app.screen.query_one(TextArea).insert("nothing = [")
        await until(pilot, "✗")
        await pictures.take("constitution-problem")
    assert not pictures.different
