"""`redraft endpoint check`, and texts that a server writes."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from chat_server import Question, chat, send, serving
from typer.testing import CliRunner

from engine.control import Control
from engine.errors import EndpointError
from engine.models.client.check import check_endpoint
from engine.models.client.endpoint import Endpoint, Server
from engine.models.client.http import RetryPolicy
from engine.models.client.remote_model import RemoteModel
from engine.models.inference.requests import Message, Request, Sampling
from tui.cli import app


def capable(question: Question, connection: socket.socket) -> None:
    """Lists two models; refuses log-probabilities."""
    if question.path.endswith("/models"):
        send(connection, {"data": [{"id": "small"}, {"id": "large"}]})
    elif "logprobs" in question.body:
        send(connection, {"error": {"message": "logprobs are not supported"}}, 400)
    else:
        send(connection, chat('{"sky_is_blue": true}'))


def test_a_check_lists_models_and_what_the_server_does_without() -> None:
    with serving(capable) as server:
        done = CliRunner().invoke(app, ["endpoint", "check", server.url, "--json"])
    found = json.loads(done.stdout)
    assert found["models"] == ["small", "large"]
    assert (found["model"], found["logprobs"], found["capabilities"]["schema"]) == ("small", False, "json_schema")
    assert found["options"] == f"--endpoint {server.url} --endpoint-model small"
    assert any("log-probabilities" in notice for notice in found["notices"])


def test_a_check_finds_the_interface_below_v1() -> None:
    def answer(question: Question, connection: socket.socket) -> None:
        if question.path.startswith("/v1/"):
            capable(question, connection)
        else:
            send(connection, {"error": "not found"}, 404)

    with serving(answer) as server:
        report = check_endpoint(server.url.removesuffix("/v1"), Control(), model="large")
    assert report.url == server.url
    assert report.model == "large"


def test_a_check_of_a_web_page_says_what_to_check() -> None:
    def page(_: Question, connection: socket.socket) -> None:
        send(connection, b"<!doctype html><html></html>")

    with serving(page) as server, pytest.raises(EndpointError, match="web page"):
        check_endpoint(server.url, Control())


def remote(url: str) -> RemoteModel:
    return RemoteModel(Endpoint(Server(url, "small", retry=RetryPolicy(timeout=5.0, max_attempts=1))))


def test_texts_of_a_server_come_with_its_counts_and_without_thoughts() -> None:
    def writer(question: Question, connection: socket.socket) -> None:
        words = {"a": "fine", "b": "<think>hm</think>\nfine too", "c": "<think>still thinking"}
        said: dict[str, Any] = chat(words.get(question.body["messages"][-1]["content"], "hello"))
        send(connection, {**said, "usage": {"prompt_tokens": 3, "completion_tokens": 7}})

    with serving(writer) as server:
        model = remote(server.url)
        sampling = Sampling(max_tokens=9, temperature=0.5, top_p=0.9, stop=("###",))
        asked = [Request(key, model.render([Message("user", key)]), sampling, seed=5) for key in "abc"]
        found = {c.key: c for c in model.generate(asked, Control())}
    assert (found["a"].text, found["a"].tokens, found["a"].prompt_tokens) == ("fine", 7, 3)
    assert (found["b"].text, found["b"].raw) == ("fine too", "<think>hm</think>\nfine too")
    assert "thinking" in found["c"].error
    body = server.questions[-1].body
    assert (body["max_tokens"], body["temperature"], body["top_p"], body["stop"], body["seed"]) == (
        9,
        0.5,
        0.9,
        ["###"],
        5,
    )
    assert not {"response_format", "logprobs"} & set(body)
