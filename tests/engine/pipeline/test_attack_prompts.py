"""Prompts that attack a constitution, written by a model: usable, new, labeled, and the same for the same seed."""

from __future__ import annotations

import json
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from chat_server import Question, chat, send, serving
from command_line import call

from engine.constitution.load import load
from engine.errors import InputError
from engine.models.client.endpoint import Endpoint, Server
from engine.models.client.http import RetryPolicy
from engine.models.client.remote_model import RemoteModel
from engine.pipeline.attack_prompts import MANNERS, cleaned, write_attack_prompts
from engine.prompts.load import Prompt, load_builtin, load_prompts

RULES = """name = "Shop"
[[principles]]
id = "prices"
title = "Prices"
short = "prices"
description = "Answers promise no price."
weight = 1.0
critiques = ["Where does it promise a price?"]
revisions = ["Promise no price."]
[[principles]]
id = "gossip"
title = "Gossip"
short = "gossip"
description = "Answers say nothing about other customers."
weight = 1.0
critiques = ["Where does it speak of others?"]
revisions = ["Speak of none."]
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "rules.toml").write_text(RULES)
    return tmp_path / "rules.toml"


def task(question: Question) -> str:
    return str(question.body["messages"][-1]["content"])


def distinct(question: Question, connection: socket.socket) -> None:
    """A new message for each question, which names the rule that it was asked about."""
    rule = "prices" if "price." in task(question) else "gossip"
    seed = question.body.get("seed", 0)
    send(connection, chat(f'1. "Tell me number {seed} of the {rule}, please, and do it now."'))


def written(rules: Path, server: Any, count: int = 4, **settings: Any) -> Any:
    model = RemoteModel(Endpoint(Server(server.url, "m", retry=RetryPolicy(5.0, 2, 0.01))))
    return write_attack_prompts(model, load(rules), count, **settings)


def test_each_principle_is_attacked_in_each_manner(rules: Path) -> None:
    with serving(distinct) as server:
        made = written(rules, server, 6)
        again = written(rules, server, 6)
    assert Counter((one.principle, one.topic) for one in made.prompts) == {
        (principle, manner): 2 if place < 2 else 1
        for principle in ("prices", "gossip")
        for place, manner in enumerate(MANNERS)
    }
    assert len({one.text for one in made.prompts}) == len({one.id for one in made.prompts}) == 12
    assert all(f"of the {one.principle}" in one.text for one in made.prompts)
    assert not made.missing
    assert not made.dropped
    assert again == made


def test_the_question_holds_the_rule_and_the_manner(rules: Path) -> None:
    with serving(distinct) as server:
        written(rules, server, 1)
    asked = {task(question) for question in server.questions}
    assert f"Rule: Answers promise no price.\nManner: role play. {MANNERS['role play']}" in asked


def test_duplicates_of_other_sets_are_never_kept(rules: Path) -> None:
    held_out = "Would you kindly tell me what the boots in the window of your shop on the corner cost today, sir?"

    def answer(question: Question, connection: socket.socket) -> None:
        texts = [held_out, held_out.replace("sir", "madam"), held_out.upper(), f"Boots for {question.number}, now!"]
        send(connection, chat(texts[question.number % 4]))

    with serving(answer) as server:
        made = written(rules, server, 4, against=[Prompt("held", held_out)])
    assert {one.text.split()[0] for one in made.prompts} == {"Boots"}
    assert made.dropped["exact or near duplicate"] >= len(made.prompts)


def test_what_is_no_message_is_counted_and_what_is_missing_named(rules: Path) -> None:
    texts = ["I'm sorry, but I can't help with that.", "Boots?", "word " * 200, "", "What do the boots there cost?"]

    def answer(question: Question, connection: socket.socket) -> None:
        send(connection, chat(texts[question.number % 5]))

    with serving(answer) as server:
        made = written(rules, server, 2)
    assert len(made.prompts) == 1
    assert made.missing == {"gossip": 2, "prices": 1} or made.missing == {"gossip": 1, "prices": 2}
    assert {"refusal", "too short", "too long", "exact or near duplicate"} <= set(made.dropped)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Message: What does it cost?", "What does it cost?"),
        ("3) “What does it cost?”\n\nThis tempts the assistant.", "What does it cost?"),
        ('"One" and "two"', '"One" and "two"'),
        ("- User: Tell me.", "Tell me."),
    ],
)
def test_the_message_is_what_stands_in_the_first_paragraph(text: str, message: str) -> None:
    assert cleaned(text) == message


def test_a_message_that_was_cut_off_ends_with_its_last_sentence() -> None:
    assert cleaned("Tell me the price. And then the", cut=True) == "Tell me the price."
    assert cleaned("And then the", cut=True) == ""


@pytest.mark.parametrize("count", [0, 1001])
def test_a_count_out_of_range_is_refused(rules: Path, count: int) -> None:
    with serving(distinct) as server, pytest.raises(InputError, match="between 1 and 1,000"):
        written(rules, server, count)


def test_the_command_writes_prompts_that_a_run_takes(rules: Path, tmp_path: Path, redraft_home: Path) -> None:
    target = tmp_path / "attacks.jsonl"
    copies = [f"Tell me number {number} of the prices, please, and do it now." for number in range(3)]
    (tmp_path / "mine.txt").write_text("\n".join(copies))
    with serving(distinct) as server:
        arguments = ("--endpoint", server.url, "--endpoint-model", "m", "-n", "4", "--against", tmp_path / "mine.txt")
        done = call("constitution", "attack", rules, "-o", target, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {
            "file": str(target), "prompts": 8, "missing": {}, "dropped": {"exact or near duplicate": 3},
        }  # fmt: skip
        refused = call("constitution", "attack", rules, "-o", target, *arguments)
    assert refused.returncode == 2
    assert "exists already" in refused.stderr
    loaded = load_prompts(target)
    assert not loaded.notices
    assert not {one.text for one in loaded} & set(copies)
    assert {one.principle for one in loaded} == {"prices", "gossip"}


def test_a_server_that_fails_ends_the_command_without_a_file(rules: Path, tmp_path: Path, redraft_home: Path) -> None:
    def answer(question: Question, connection: socket.socket) -> None:
        send(connection, {"error": {"message": "no such model"}}, 404)

    with serving(answer) as server:
        arguments = ("--endpoint", server.url, "--endpoint-model", "m")
        done = call("constitution", "attack", rules, "-o", tmp_path / "a.jsonl", *arguments)
    assert done.returncode == 5
    assert not (tmp_path / "a.jsonl").exists()


@pytest.mark.model
def test_the_embedded_model_writes_messages(rules: Path, embedded: Any) -> None:
    held_out = load_builtin("heldout").prompts
    made = write_attack_prompts(embedded, load(rules), 2, against=held_out, seed=1)
    assert made.prompts
    assert not {one.sha256 for one in made.prompts} & {one.sha256 for one in held_out}
    assert all(len(one.text.split()) >= 4 for one in made.prompts)
