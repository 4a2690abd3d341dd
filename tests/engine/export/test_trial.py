"""Base and trained model answer under the hash of their own weights, streamed, judged, each with its own history."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.control import Control
from engine.errors import InputError, Stopped
from engine.export.conversation import ARMS, Conversation, TrialAnswer, Turn, keep_prompt, kept_file
from engine.export.trial import Trial
from engine.models.inference.requests import Message, Sampling
from engine.models.local import load_model
from engine.prompts.load import load_prompts

GREEDY = Sampling(max_tokens=12)


@pytest.fixture
def run(tiny: Callable[..., Path], trained_run: Callable[[Path], Path]) -> Path:
    folder = trained_run(tiny("llama", max_position_embeddings=1024))
    record = json.loads((folder / "run.json").read_text())
    record["config"] |= {"judge": "rules", "dtype": "float32"}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_each_answer_has_the_hash_of_the_weights_that_wrote_it(run: Path) -> None:
    trial = Trial(run)
    turn = trial.ask(Conversation(), "why is it so?", GREEDY, 0, Control())
    base, trained = turn.answers
    generator = json.loads((run / "run.json").read_text())["config"]["generator"]
    assert base.weights == load_model(generator).sha256[:12] == trial.weights["base"]
    assert trained.weights == trial.weights["trained"] != base.weights
    assert (base.arm, trained.arm) == ARMS
    assert base.text != trained.text


def test_the_base_answers_as_it_does_without_any_run(run: Path) -> None:
    from engine.models.inference.requests import Request

    turn = Trial(run).ask(Conversation("Be brief."), "why is it so?", GREEDY, 0, Control())
    model = load_model(json.loads((run / "run.json").read_text())["config"]["generator"], dtype="float32")
    chat = model.render([Message("system", "Be brief."), Message("user", "why is it so?")])
    (alone,) = model.generate([Request("a", chat, GREEDY)], Control())
    assert turn.answers[0].text == alone.text


def test_texts_are_reported_while_they_are_written_and_then_judged(run: Path) -> None:
    partial: dict[str, list[str]] = {arm: [] for arm in ARMS}
    whole: list[TrialAnswer] = []
    turn = Trial(run).ask(
        Conversation(), "what?", GREEDY, 0, Control(), lambda arm, text: partial[arm].append(text), whole.append
    )
    for answer in turn.answers:
        assert len(partial[answer.arm]) == answer.tokens
        assert partial[answer.arm][-1].strip() == answer.text.strip()
    assert [bool(answer.verdict) for answer in whole] == [False, False, True, True]
    assert {"flagged", "score", "principles"} <= turn.answers[0].verdict.keys()


def test_each_model_sees_its_own_earlier_answers_only() -> None:
    def answer(arm: str) -> TrialAnswer:
        return TrialAnswer(arm, "0", f"I am {arm}.", "stop", 3, 0.1)  # type: ignore[arg-type]

    conversation = Conversation("Be kind.", (Turn("Who?", (answer("base"), answer("trained"))),))
    assert conversation.messages("trained", "Really?") == [
        Message("system", "Be kind."),
        Message("user", "Who?"),
        Message("assistant", "I am trained."),
        Message("user", "Really?"),
    ]
    assert conversation.without_last().messages("base", "Who?")[1:] == [Message("user", "Who?")]


def test_another_seed_gives_another_answer_and_the_same_one_the_same(run: Path) -> None:
    trial, sampling = Trial(run), Sampling(max_tokens=12, temperature=1.0)
    texts = [trial.ask(Conversation(), "why?", sampling, seed, Control()).answers[1].text for seed in (1, 2, 1)]
    assert texts[0] == texts[2] != texts[1]


def test_a_stop_ends_the_answer(run: Path) -> None:
    control = Control()
    control.stop()
    with pytest.raises(Stopped):
        Trial(run).ask(Conversation(), "why?", GREEDY, 0, control)


def test_an_empty_prompt_is_refused(run: Path) -> None:
    with pytest.raises(InputError, match="the prompt is empty"):
        Trial(run).ask(Conversation(), " \n\t ", GREEDY, 0, Control())


def test_a_kept_prompt_is_read_by_a_run_and_never_in_both_sets(redraft_home: Path) -> None:
    path = keep_prompt("Why is it so?", "Be brief.", "train")
    assert path == kept_file("train")
    (kept,) = load_prompts(path)
    assert (kept.text, kept.messages) == ("Why is it so?", (Message("system", "Be brief."),))
    with pytest.raises(InputError, match="kept training prompts already"):
        keep_prompt("why is it  so?", "", "heldout")
    keep_prompt("And now?", "", "heldout")
    assert len(load_prompts(kept_file("heldout"))) == 1
