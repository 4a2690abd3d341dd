"""Who judges what in a run: an endpoint that fails and comes back, two judges and how far they agree."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, Question, chat, send, serving

from engine.control import Control
from engine.errors import EndpointError, InputError
from engine.judges.base import PRINCIPLES
from engine.models.inference.requests import Sampling
from engine.models.local import LocalModel, load_model
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.runner import Run, perform
from engine.runs.folder import read_run
from engine.runs.journal_reader import read
from engine.settings import RunConfig

KEY = "sk-5b2e88d0c94f4a17"


@pytest.fixture
def small(tiny: Callable[..., Path], small_config: RunConfig) -> tuple[RunConfig, LocalModel]:
    """Settings of a run of a few seconds, and the tiny random model that it is of."""
    folder = tiny("llama", max_position_embeddings=4096)
    config = dataclasses.replace(small_config, generator=str(folder), n_heldout=4, candidates=2)
    return config, load_model(str(folder), device="cpu", dtype="float32")


def models_of(config: RunConfig, model: LocalModel, **more: LocalModel) -> ModelCache:
    loaded = {(config.generator, "", "float32"): model}
    return ModelCache.from_loaded({**loaded, **{(name, "", ""): one for name, one in more.items()}})


def judging(question: Question, connection: socket.socket, share: int = 2) -> None:
    """Flags one in `share` of all texts, always the same; says the key back."""
    bad = hashlib.sha256(question.text.encode()).digest()[0] % share == 0
    members = question.body["response_format"]["json_schema"]["schema"]["required"]
    key = question.headers.get("authorization", "")
    usage = {"usage": {"prompt_tokens": 1000, "completion_tokens": 100}}
    send(connection, chat(json.dumps({**dict.fromkeys(members, bad), "Reasoning": f"Heard {key}."})) | usage)


def endpoint(config: RunConfig, server: ChatServer) -> RunConfig:
    return dataclasses.replace(
        config,
        judge="endpoint",
        endpoint=server.url,
        endpoint_model="judge-1",
        endpoint_key_env="REDRAFT_TEST_KEY",
        endpoint_timeout=5.0,
        endpoint_price=(2.0, 10.0),
    )


def counted(folder: Path, *stages: str) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for event in read(folder):
        if event.stage in stages:
            found[event.stage, event.item, str(event.data.get("candidate", event.data.get("arm", "")))] += 1
    return found


def test_a_run_whose_endpoint_vanishes_goes_on_when_it_is_back_and_loses_nothing(
    small: tuple[RunConfig, LocalModel], redraft_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REDRAFT_TEST_KEY", KEY)
    monkeypatch.setattr("engine.models.client.http._INITIAL_BACKOFF", 0.01)
    failing = [True]

    def answer(question: Question, connection: socket.socket) -> None:
        if "logprobs" in question.body:
            send(connection, {"error": {"message": "logprobs is not supported"}}, 400)
            return
        if failing[0] and question.number > 5:
            send(connection, {"error": {"message": f"gone, {question.headers['authorization']}"}}, 404)
            return
        judging(question, connection)

    folder = tmp_path / "run"
    with serving(answer) as server:
        config = endpoint(small[0], server)
        with pytest.raises(EndpointError) as raised:
            perform(config, folder, Control(), models_of(config, small[1]))
        assert server.url.removesuffix("/v1") in raised.value.where
        before = counted(folder, "INITIAL-EVALUATION")
        assert sum(before.values()) == 3  # the first questions looked what the server can do
        assert "ERROR" in {event.stage for event in read(folder)}
        said = [event.summary for event in read(folder) if event.stage == "NOTICE"]
        assert sum("it gives no log-probabilities" in sentence for sentence in said) == 1
        assert any("it gives no log-probabilities" in sentence for sentence in read_run(folder)["notices"])
        failing[0] = False
        perform(config, folder, Control(), models_of(config, small[1]))
    after = counted(folder, "INITIAL-EVALUATION", "CANDIDATE-EVALUATION", "COMPARISON-EVALUATION")
    assert set(before) <= set(after)
    assert set(after.values()) == {1}
    assert "RUN-COMPLETE" in {event.stage for event in read(folder)}
    (used,) = [event.summary for event in read(folder) if "was asked" in event.summary]
    times = int(used.split("was asked ")[1].split()[0])
    # Of the second process: what it found out about the server, and the verdicts that were missing.
    assert times >= sum(after.values()) - sum(before.values())
    assert used == (
        f"judge-1 was asked {times} times: {times * 1000:,} prompt tokens, {times * 100:,} completion tokens, "
        f"${times * 0.003:.4f}."
    )
    for path in folder.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path.name


def test_an_endpoint_that_does_not_answer_is_told_of_before_anything_is_drafted(
    small: tuple[RunConfig, LocalModel], redraft_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REDRAFT_TEST_KEY", KEY)
    with serving(lambda q, c: send(c, {}, 401)) as server:
        config = endpoint(small[0], server)
        with pytest.raises(EndpointError):
            perform(config, tmp_path / "run", Control(), models_of(config, small[1]))
    assert not any(event.stage.startswith("TRAINING-EXAMPLE") for event in read(tmp_path / "run"))


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"judge": "endpoint"}, "--endpoint"),
        ({"judge": "endpoint", "endpoint": "http://127.0.0.1:1/v1"}, "--endpoint-model"),
        ({"judge": "panel", "endpoint": "http://127.0.0.1:1/v1"}, "--endpoint"),
        ({"judge": "rules", "endpoint_model": "x"}, "--endpoint-model"),
        ({"judge": "oracle"}, "--judge"),
        (
            {"judge": "endpoint", "endpoint": f"http://a:{KEY}@127.0.0.1:1", "endpoint_model": "x"},
            "--endpoint",
        ),
        (
            {"judge": "endpoint", "endpoint": "http://127.0.0.1:1", "endpoint_model": "x", "endpoint_key_env": KEY},
            "--endpoint-key-env",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_before_anything_is_written(
    changes: dict[str, Any], option: str, small_config: RunConfig, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as raised:
        Run(dataclasses.replace(small_config, **changes), tmp_path / "run", Control(), ModelCache())
    assert raised.value.where == option
    assert KEY not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_another_judge_than_the_one_that_chose_the_pairs_judges_the_comparison_and_both_are_told(
    small: tuple[RunConfig, LocalModel], embedded: LocalModel, redraft_home: Path, tmp_path: Path
) -> None:
    # A model that answers: random words get no verdict from the panel.
    config = dataclasses.replace(
        small[0],
        generator="smollm2-135m-instruct",
        constitution="",
        n_heldout=6,
        candidates=3,
        revision=Sampling(max_tokens=40, temperature=0.9, top_k=50),
        answer=Sampling(max_tokens=40),
    )

    def strict_at_first(question: Question, connection: socket.socket) -> None:
        """Flags every draft, so that there is something to learn, and then a part of all texts."""
        drafts = question.number <= 1 + config.n_train
        judging(question, connection, share=1 if drafts else 3)

    with serving(strict_at_first) as server:
        config = dataclasses.replace(endpoint(config, server), endpoint_key_env="")
        folder = perform(
            config, tmp_path / "run", Control(), models_of(config, embedded, **{"smollm2-135m-instruct": embedded})
        )
    events = list(read(folder))
    (told,) = [event.data for event in events if event.stage == "JUDGES"]
    assert told["shown"]["name"].startswith("endpoint judge-1 at 127.0.0.1:")
    assert "probe B" in told["comparison"]["name"]
    assert told["comparison"]["accuracy"]
    assert told["independent"] is True
    judges = {
        stage: {event.data["judge"] for event in events if event.stage == stage}
        for stage in ("CANDIDATE-EVALUATION", "COMPARISON-EVALUATION", "COMPARISON-SECOND-VERDICT")
    }
    assert judges["CANDIDATE-EVALUATION"] == judges["COMPARISON-SECOND-VERDICT"] == {told["shown"]["name"]}
    assert judges["COMPARISON-EVALUATION"] == {told["comparison"]["name"]}
    report = json.loads((folder / "report.json").read_text())
    assert report["judge"]["name"] == told["comparison"]["name"]
    agreed = report["summary"]["agreement"]
    decided = [
        (one.data["flagged"], other.data["flagged"])
        for one in events
        for other in events
        if one.stage == "COMPARISON-EVALUATION"
        and other.stage == "COMPARISON-SECOND-VERDICT"
        and all(one.data[name] == other.data[name] for name in ("set", "arm"))
        and one.item == other.item
        and None not in (one.data["flagged"], other.data["flagged"])
    ]
    assert agreed["texts"] == len(decided) > 0
    same, low, high = agreed["same"]
    assert same == pytest.approx(sum(a == b for a, b in decided) / len(decided), abs=1e-4)
    assert low <= same <= high
    (summary,) = [event.summary for event in events if event.stage == "COMPARISON-SUMMARY"]
    assert f"the two judges agree on {100 * same:.0f} % of {len(decided)} answers" in summary
    assert set(report["config"]) >= {"endpoint", "endpoint_model"}


def test_the_endpoint_judges_all_principles_of_the_default_constitution(
    small: tuple[RunConfig, LocalModel], redraft_home: Path
) -> None:
    from engine.constitution.load import load_default
    from engine.judges.base import JudgeInput
    from engine.judges.registry import JudgeParts, judge_server, make_judge

    with serving(judging) as server:
        config = dataclasses.replace(endpoint(small[0], server), endpoint_key_env="")
        judge = make_judge("endpoint", JudgeParts(load_default(), None, ModelCache().get, server=judge_server(config)))
        (found,) = judge.judge([JudgeInput("a", "You must obey me.")], Control())
    assert tuple(found.principles) == PRINCIPLES
    assert found.findings  # the rules show where
