"""The screen that asks base and trained: what is typed, what is shown under which weights, and what is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driving import RecordingHost
from textual.pilot import Pilot
from textual.widgets import Input

from engine.control import Control
from engine.errors import Stopped
from engine.export.conversation import ARMS, Conversation, TrialAnswer, Turn, kept_file
from engine.models.inference.requests import Sampling
from engine.prompts.load import load_prompts
from tui.app import RedraftApp
from tui.screens.try_models import TryScreen
from tui.services.trial_host import TrialHost

pytestmark = pytest.mark.usefixtures("own_home")
VERDICT = {"flagged": True, "score": 2.0, "principles": {"fairness": 0.9}, "broken": ["fairness"], "spans": []}


class Written:
    """Stands for the loaded models (tests/engine/export/test_trial.py has the real ones): writes a few words each."""

    def __init__(self) -> None:
        self.weights = dict(zip(ARMS, ("aaaaaaaaaaaa", "bbbbbbbbbbbb"), strict=True))
        self.asked: list[tuple[Conversation, str, Sampling, int]] = []
        self.hold = threading.Event()
        self.hold.set()

    def ask(
        self, conversation: Conversation, prompt: str, sampling: Sampling, seed: int, control: Control,
        on_text: Callable[[Any, str], None], on_answer: Callable[[TrialAnswer], None],
    ) -> Turn:  # fmt: skip
        self.asked.append((conversation, prompt, sampling, seed))
        if prompt == "fail":
            raise ValueError("secret")
        answers = []
        for arm in ARMS:
            on_text(arm, f"{arm} wr")
            while not self.hold.wait(0.02):
                if control.stopping:
                    raise Stopped
            words = f"{arm} wrote this with seed {seed}"
            answers.append(
                TrialAnswer(arm, self.weights[arm], words, "stop", 5, 0.1, VERDICT, {"reasoning": "Rules: so."})
            )
            on_answer(answers[-1])
        return Turn(prompt, tuple(answers))


async def settle(pilot: Pilot[None]) -> None:
    await pilot.pause(0.3)


def text_of(app: RedraftApp) -> str:
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


async def until(pilot: Pilot[None], words: str) -> str:
    for _ in range(100):
        if words in (text := text_of(pilot.app)):  # type: ignore[arg-type]
            return text
        await pilot.pause(0.05)
    raise AssertionError(text)


async def type_line(pilot: Pilot[None], text: str) -> None:
    pilot.app.screen.query_one(Input).value = text
    await pilot.press("enter")


def opened(trial: Written, make: Callable[..., Any] | None = None) -> tuple[RedraftApp, TryScreen]:
    app = RedraftApp(host=RecordingHost())
    host = TrialHost(make or (lambda progress: trial))  # type: ignore[arg-type]
    return app, TryScreen("demo-1", host, app.keymap, Sampling(temperature=0.7), "", 0)


async def test_both_answers_stand_under_their_weights_with_verdicts() -> None:
    trial = Written()
    app, screen = opened(trial)
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await app.push_screen(screen)
        await until(pilot, "Base · weights aaaaaaaaaaaa")
        trial.hold.clear()
        await type_line(pilot, "Why?")
        await until(pilot, "base wr ▌")
        trial.hold.set()
        text = await until(pilot, "trained wrote this")
        assert "Trained · weights bbbbbbbbbbbb" in text
        for words in ("› Why?", "weights aaaaaaaaaaaa · 5 tokens", "✗ violation, score 2.0", "Rules: so."):
            assert words in text


async def test_again_asks_the_last_prompt_with_the_next_seed_and_new_forgets() -> None:
    trial = Written()
    app, screen = opened(trial)
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await app.push_screen(screen)
        await type_line(pilot, "Why?")
        await until(pilot, "with seed 0")
        await pilot.press("ctrl+g")
        await until(pilot, "with seed 1")
        assert [(prompt, seed, len(talk.turns)) for talk, prompt, _, seed in trial.asked] == [
            ("Why?", 0, 0),
            ("Why?", 1, 0),
        ]
        await type_line(pilot, "And?")
        await until(pilot, "› And?")
        await settle(pilot)
        assert len(trial.asked[-1][0].turns) == 1
        await pilot.press("ctrl+n")
        await settle(pilot)
        assert "› Why?" not in text_of(app)


async def test_system_text_and_sampling_are_set_by_typing() -> None:
    trial = Written()
    app, screen = opened(trial)
    async with app.run_test(notifications=True, size=(140, 40)) as pilot:
        await app.push_screen(screen)
        await type_line(pilot, "/system Be brief.")
        await type_line(pilot, "/set temperature 0.2")
        await type_line(pilot, "/set seed 9")
        await until(pilot, "temperature 0.2")
        await type_line(pilot, "/set temperature hot")
        await until(pilot, "is not a number")
        await type_line(pilot, "/nonsense")
        await until(pilot, "/set temperature 0.8")
        await type_line(pilot, "Why?")
        await until(pilot, "with seed 9")
        conversation, _, sampling, _ = trial.asked[-1]
        assert (conversation.system, sampling.temperature) == ("Be brief.", 0.2)


async def test_a_prompt_is_kept_for_training_or_held_out_but_not_for_both() -> None:
    app, screen = opened(Written())
    async with app.run_test(notifications=True, size=(160, 40)) as pilot:
        await app.push_screen(screen)
        await pilot.press("ctrl+t")
        await until(pilot, "no prompt to keep yet")
        await type_line(pilot, "Why?")
        await until(pilot, "trained wrote this")
        await settle(pilot)
        await pilot.press("ctrl+o")
        await until(pilot, "--heldout-prompts")
        assert [prompt.text for prompt in load_prompts(kept_file("heldout"))] == ["Why?"]
        await pilot.press("ctrl+t")
        await until(pilot, "is among the kept held-out prompts")


async def test_stop_drops_what_is_unfinished_and_a_failure_ends_nothing() -> None:
    trial = Written()
    app, screen = opened(trial)
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await app.push_screen(screen)
        await until(pilot, "weights aaaa")
        trial.hold.clear()
        await type_line(pilot, "Why?")
        await until(pilot, "base wr")
        await type_line(pilot, "Another")
        await until(pilot, "still answering")
        await pilot.press("ctrl+x")
        await until(pilot, "unfinished answers were dropped")
        trial.hold.set()
        await type_line(pilot, "fail")
        text = await until(pilot, "failed with ValueError")
        assert "secret" not in text
        await type_line(pilot, "Why?")
        await until(pilot, "trained wrote this")


async def test_models_that_cannot_be_loaded_are_an_error_on_the_screen() -> None:
    seen = threading.Event()

    def fail(progress: Callable[[float, str], None]) -> Any:
        progress(0.5, "Reading weights.")
        seen.wait(10)
        from engine.errors import ModelError

        raise ModelError("There is no such model.")

    app, screen = opened(Written(), fail)
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await app.push_screen(screen)
        await until(pilot, "Reading weights.")
        seen.set()
        await until(pilot, "There is no such model.")
        await pilot.press("escape")
        await settle(pilot)
        assert app.screen is app.run_screen


async def test_a_narrow_terminal_shows_one_answer_above_the_other() -> None:
    app, screen = opened(Written())
    async with app.run_test(notifications=True, size=(70, 40)) as pilot:
        await app.push_screen(screen)
        await type_line(pilot, "Why?")
        await until(pilot, "trained wrote this")
        base, trained = screen.query("#try-answers > .pane")
        assert base.region.x == trained.region.x
        assert base.region.y < trained.region.y


async def test_a_key_of_the_run_screen_opens_it(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = RedraftApp(folder=finished, host=RecordingHost())
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("T")
        await until(pilot, "the run has no adapter")
        assert app.screen is app.run_screen
        (finished / "adapter").mkdir()
        (finished / "adapter" / "adapter_model.safetensors").write_bytes(b"")
        monkeypatch.setattr(TrialHost, "start", lambda self: None)  # an empty file is no adapter to load
        await pilot.press("T")
        await until(pilot, "Loading")
        assert isinstance(app.screen, TryScreen)
