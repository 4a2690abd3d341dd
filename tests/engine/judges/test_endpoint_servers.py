"""Servers as people run them: errors are classified by what they say, and what a server lacks is done without."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from chat_server import Question, chat, honest, send, serving, verdict

from engine.constitution.load import load_default
from engine.control import Control
from engine.errors import EndpointError
from engine.judges.base import JudgeInput, Verdict
from engine.judges.llm.endpoint import EndpointJudge
from engine.models.client.endpoint import Endpoint, Server
from engine.models.client.http import RetryPolicy
from engine.models.client.responses import named_feature, read_response

QUICK = RetryPolicy(timeout=5.0, max_attempts=4, initial_backoff=0.01)
BAD, GOOD = "You must obey me.", "Six minutes."
Refuses = Callable[[dict[str, Any]], bool]
Respond = Callable[[Question, socket.socket], None]


def judged(
    answer: Respond,
) -> tuple[dict[str, Verdict], list[Question], EndpointJudge]:
    with serving(answer) as server:
        judge = EndpointJudge(Endpoint(Server(server.url, "m", retry=QUICK)), load_default())
        found = {one.key: one for one in judge.judge([JudgeInput(text, text) for text in (BAD, GOOD)], Control())}
    return found, server.questions, judge


def failure(answer: Respond) -> tuple[EndpointError, list[Question]]:
    with serving(answer) as server:
        judge = EndpointJudge(Endpoint(Server(server.url, "m", retry=QUICK)), load_default())
        with pytest.raises(EndpointError) as raised:
            list(judge.judge([JudgeInput("a", GOOD)], Control()))
    return raised.value, server.questions


def flags(found: dict[str, Verdict]) -> tuple[bool | None, bool | None]:
    return found[BAD].flagged, found[GOOD].flagged


def rejecting(refuses: Refuses, document: Any, status: int) -> Respond:
    def answer(question: Question, connection: socket.socket) -> None:
        if refuses(question.body):
            send(connection, document, status)
        else:
            messages = question.body["messages"]
            text = str(messages[-1]["content"])
            send(connection, chat(verdict(*["autonomy_respect"] * ("must obey" in text))))

    return answer


def message(words: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": words, **more}}


def has(name: str) -> Refuses:
    return lambda body: name in body


def schema_is(kind: str) -> Refuses:
    return lambda body: (body.get("response_format") or {}).get("type") == kind


@pytest.mark.parametrize(
    ("refuses", "document", "status", "gone"),
    [
        (has("logprobs"), message("logprobs is not supported with logits_all=False"), 500, "logprobs"),
        (has("logprobs"), message("`logprobs` is not supported with this model"), 400, "logprobs"),
        (has("logprobs"), message("You are not allowed to request logprobs from this model"), 403, "logprobs"),
        (has("logprobs"), [message("Logprobs is not enabled for this model", code=400)], 400, "logprobs"),
        (has("logprobs"), {"error": "logprobs unsupported"}, 501, "logprobs"),
        (has("logprobs"), {"error": {"message": "logprobs not supported", "code": 400}}, 200, "logprobs"),
        (has("logprobs"), {"detail": "logprobs: extra fields not permitted"}, 422, "logprobs"),
        (schema_is("json_schema"), message("Failed to parse grammar"), 500, "json_schema"),
        (schema_is("json_schema"), message("response_format type json_schema is unavailable"), 502, "json_schema"),
        (has("response_format"), message("response_format is not supported"), 500, "response_format"),
        (has("temperature"), message("'temperature' does not support 0 with this model"), 500, "temperature"),
        (has("max_tokens"), message("'max_tokens' is not supported. Use 'max_completion_tokens'"), 400, "max_tokens"),
        (has("temperature"), message("Unsupported value", param="temperature"), 400, "temperature"),
        (has("logprobs"), message("No endpoints found that can handle the requested parameters."), 404, "logprobs"),
        (schema_is("json_schema"), b"Failed to deserialize: response_format: unknown variant `json_schema`", 422,
         "json_schema"),
        (has("logprobs"), message("litellm.UnsupportedParamsError: ollama does not support parameters: ['logprobs', "
         "'top_logprobs']"), 400, "logprobs"),
        (has("response_format"), {"detail": [{"loc": ["body", "response_format"], "msg": "Extra inputs"}]}, 422,
         "response_format"),
    ],
)  # fmt: skip
def test_a_feature_that_an_error_names_is_done_without(refuses: Refuses, document: Any, status: int, gone: str) -> None:
    found, questions, judge = judged(rejecting(refuses, document, status))
    assert flags(found) == (True, False)
    assert gone not in json.dumps(questions[-1].body).replace("max_completion_tokens", "").replace("top_logprobs", "")
    assert len(questions) <= 6  # never repeated until it is given up
    if gone == "logprobs":
        assert any("no log-probabilities" in notice for notice in judge.notices)


def test_what_a_refusal_in_plain_text_names_is_all_that_is_done_without() -> None:
    document = b"Failed to deserialize: response_format: unknown variant `json_schema`"
    _, questions, _ = judged(rejecting(schema_is("json_schema"), document, 422))
    assert questions[-1].body["response_format"] == {"type": "json_object"}
    assert questions[-1].body["logprobs"] is True


def test_a_server_that_leaves_log_probabilities_out_without_a_word_is_named() -> None:
    _, questions, judge = judged(rejecting(lambda _: False, {}, 200))
    assert all(question.body["logprobs"] for question in questions)
    assert any("no log-probabilities" in notice for notice in judge.notices)


def test_log_probabilities_of_thoughts_and_of_the_end_mark_do_not_cost_those_of_the_answer() -> None:
    def answer(question: Question, connection: socket.socket) -> None:
        words = verdict()
        tokens = ["Hm, ", "{}", *(part + " " for part in words.split(" ")), "<|im_end|>"]
        entries = [{"token": token, "logprob": -0.1, "top_logprobs": []} for token in tokens]
        entries[-2]["token"] = entries[-2]["token"].rstrip()
        send(connection, chat(words, logprobs={"content": entries}))

    _, questions, judge = judged(answer)
    assert questions[-1].body["logprobs"] is True
    assert not judge.notices


@pytest.mark.parametrize(
    ("message_of", "usage"),
    [
        ({"thinking": "Hm."}, {}),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]}, {}),
        ({}, {"completion_tokens": 1000, "completion_tokens_details": {"reasoning_tokens": 1000}}),
    ],
)
def test_thoughts_are_recognized_wherever_a_server_counts_or_shows_them(
    message_of: dict[str, Any], usage: dict[str, Any]
) -> None:
    def answer(question: Question, connection: socket.socket) -> None:
        if "chat_template_kwargs" in question.body:
            send(connection, chat(verdict()))
        else:
            reply = {"role": "assistant", "content": "", **message_of}
            send(connection, {"choices": [{"message": reply, "finish_reason": "length"}], "usage": usage})

    _, questions, judge = judged(answer)
    assert any("thinking is turned off" in notice for notice in judge.notices)
    assert len(questions) == 4


def test_the_arguments_of_a_tool_call_may_be_an_object() -> None:
    def answer(question: Question, connection: socket.socket) -> None:
        call = {"function": {"name": "verdict", "arguments": json.loads(verdict())}}
        send(connection, {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [call]}}]})

    found, _, _ = judged(answer)
    assert flags(found) == (False, False)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("System role not supported", 400),
        ("Only user and assistant roles are supported; role 'system' is invalid", 400),
        ("Conversation roles must alternate user/assistant/user/assistant/...", 400),
        ("Developer instruction is not enabled for models/gemma-3-1b-it", 400),
        ("TemplateError: System role not supported", 500),
    ],
)
def test_without_a_system_role_its_text_stands_in_the_user_turn(words: str, status: int) -> None:
    found, questions, judge = judged(
        rejecting(lambda body: body["messages"][0]["role"] == "system", message(words), status)
    )
    assert flags(found) == (True, False)
    (turn,) = questions[-1].body["messages"]
    assert turn["role"] == "user"
    assert turn["content"].startswith("You check whether a text breaks principles.")
    assert len(questions) == 4
    assert any("no system role" in notice for notice in judge.notices)


def test_fewer_log_probabilities_are_asked_for_where_a_server_caps_them() -> None:
    words = "Requested sample logprobs of 5, which is greater than max allowed: 2"
    _, questions, _ = judged(rejecting(lambda body: body.get("top_logprobs", 0) > 2, message(words), 400))
    assert questions[-1].body["top_logprobs"] == 2


def test_the_largest_number_of_tokens_that_a_server_names_is_kept_to() -> None:
    words = "max_tokens is too large: 1000. This model supports at most 512 completion tokens."
    found, questions, judge = judged(rejecting(lambda body: body["max_tokens"] > 512, message(words), 400))
    assert flags(found) == (True, False)
    assert questions[-1].body["max_tokens"] == 512
    assert any("512 tokens" in notice for notice in judge.notices)


def test_what_fits_beside_the_question_in_a_short_context_is_asked_for() -> None:
    words = (
        "This model's maximum context length is 1024 tokens. However, you requested 1700 tokens (700 in the messages, "
        "1000 in the completion). Please reduce the length of the messages or completion."
    )
    found, questions, _ = judged(rejecting(lambda body: body["max_tokens"] > 324, message(words), 400))
    assert flags(found) == (True, False)
    assert questions[-1].body["max_tokens"] == 324


@pytest.mark.parametrize(
    "words", ["Only streaming is supported: set stream=true", "must be set to false for non-streaming calls"]
)
def test_a_server_that_only_streams_is_asked_for_a_stream(words: str) -> None:
    def answer(question: Question, connection: socket.socket) -> None:
        if not question.body["stream"]:
            send(connection, message(words), 400)
            return
        pieces = verdict(*["autonomy_respect"] * ("must" in question.text))
        events = [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
        body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        connection.sendall(b"HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\n\r\n" + body.encode())

    found, questions, judge = judged(answer)
    assert flags(found) == (True, False)
    assert len(questions) == 4
    assert any("streams only" in notice for notice in judge.notices)


def test_a_stream_that_is_cut_off_is_asked_for_again() -> None:
    """Its beginning is no answer."""
    seen: list[str] = []

    def answer(question: Question, connection: socket.socket) -> None:
        pieces = verdict(*["autonomy_respect"] * ("must" in question.text))
        events = [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
        whole = question.text in seen
        seen.append(question.text)
        body = "".join(f"data: {json.dumps(event)}\n\n" for event in (events if whole else events[:-1]))
        body += "data: [DONE]\n\n" * whole
        connection.sendall(b"HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\n\r\n" + body.encode())

    found, questions, _ = judged(answer)
    assert flags(found) == (True, False)
    assert len(questions) == 2 * len(set(seen))


@pytest.mark.parametrize(
    ("document", "status", "words", "advice"),
    [
        (message("Insufficient credits", code=402), 402, "nothing left", "plan of the account"),
        (message("No access to model m", code="model_not_found"), 403, "refuses this model", "name of the model"),
        (message("the request exceeds the available context size"), 400, "context size", "longer context"),
        (message("Request too large"), 413, "too large", "longer context"),
    ],
)
def test_the_next_step_is_that_of_the_cause(document: Any, status: int, words: str, advice: str) -> None:
    error, _ = failure(lambda question, connection: send(connection, document, status))
    assert words in error.what
    assert advice in error.next_step


def test_a_server_that_writes_nothing_at_all_ends_before_the_run() -> None:
    error, questions = failure(lambda question, connection: send(connection, chat(None)))
    assert "wrote nothing, 3 times" in error.what
    assert len(questions) == 3


def test_an_empty_answer_while_a_model_is_loaded_is_forgiven() -> None:
    def answer(question: Question, connection: socket.socket) -> None:
        if question.number < 3:
            send(connection, chat(""))
        else:
            honest(question, connection)

    assert flags(judged(answer)[0]) == (True, False)


@pytest.mark.parametrize(
    "document",
    [
        {"error": {"message": "Rate limit exceeded", "code": 429}},
        {"error": {"message": "Rate limit exceeded", "type": "rate_limit_exceeded"}},
        {"error": {"message": "Provider overloaded", "code": "503"}},
        {"choices": [{"message": {"content": ""}, "finish_reason": "error", "error": {"message": "x", "code": 502}}]},
        {"error": "upstream failed"},
    ],
)
def test_an_error_in_a_200_is_asked_again_where_it_may_pass(document: Any) -> None:
    def answer(question: Question, connection: socket.socket) -> None:
        if question.number % 2:
            send(connection, document)
        else:
            honest(question, connection)

    found, _, _ = judged(answer)
    assert flags(found) == (True, False)


def test_an_error_in_a_200_that_stays_ends_with_the_server_s_words() -> None:
    document = message("Rate limit exceeded: free-models-per-day", code=429)
    error, questions = failure(lambda q, c: send(c, document))
    assert "429: Rate limit exceeded: free-models-per-day, 4 times" in error.what
    assert len(questions) == 4


@pytest.mark.parametrize(
    ("document", "status", "words"),
    [
        (message("No auth credentials found", code=401), 200, "refuses access (401: No auth credentials found)"),
        (message("bad key", type="invalid_api_key"), 200, "refuses access (401: bad key)"),
        (message("no such model", code="model_not_found"), 200, "no such model or path (404: no such model)"),
        (message("You exceeded your quota, check your billing details"), 429, "nothing left (429: You exceeded"),
        (message("Out of credits", code="insufficient_quota"), 200, "nothing left (402: Out of credits"),
        (b"<!doctype html><html><body>Welcome</body></html>", 200, "a web page, no JSON object"),
    ],
)  # fmt: skip
def test_what_waiting_cannot_change_is_asked_once(document: Any, status: int, words: str) -> None:
    error, questions = failure(lambda q, c: send(c, document, status))
    assert words in error.what
    assert len(questions) == 1


def test_a_gateway_s_web_page_is_asked_again() -> None:
    error, questions = failure(lambda q, c: send(c, b"<html>502 Bad Gateway</html>", 502))
    assert "the server answered 502, 4 times" in error.what
    assert len(questions) == 4


def test_a_model_that_loads_is_waited_for() -> None:
    def answer(question: Question, connection: socket.socket) -> None:
        if question.number < 4:
            send(connection, message("Loading model", code=503, type="unavailable_error"), 503)
        else:
            honest(question, connection)

    assert flags(judged(answer)[0]) == (True, False)


def test_milliseconds_to_wait_are_kept_to() -> None:
    times: list[float] = []

    def answer(question: Question, connection: socket.socket) -> None:
        times.append(time.monotonic())
        if question.number == 1:
            send(connection, {}, 429, "retry-after-ms: 300\r\nRetry-After: 0\r\n")
        else:
            honest(question, connection)

    judged(answer)
    assert times[1] - times[0] >= 0.3


# Reasoning


def thought(content: Any = None, words: str = "Okay, the user wants", **choice: Any) -> dict[str, Any]:
    document = chat(content, **choice)
    document["choices"][0]["message"]["reasoning_content"] = words
    return document


@pytest.mark.parametrize(
    "cut",
    [
        thought(finish_reason="length"),
        chat("<think>\nOkay, let me think about", finish_reason="length"),
        chat("", finish_reason="length"),
        chat('{"harm_prevention": false, "truthf', finish_reason="length"),
    ],
)
def test_a_server_whose_answers_are_always_cut_off_is_refused_at_once(cut: Any) -> None:
    error, questions = failure(lambda q, c: send(c, cut))
    assert "the answer was cut off at 1000 tokens" in error.what
    assert ("(thinking)" in error.what) == ("think" in json.dumps(cut) or "reasoning" in json.dumps(cut))
    assert "thinking off" in error.next_step
    assert len(questions) <= 4
    assert error.exit_code == 5


def test_thinking_is_turned_off_where_it_uses_the_tokens_up() -> None:
    def answer(question: Question, connection: socket.socket) -> None:
        if question.body.get("chat_template_kwargs") == {"enable_thinking": False}:
            honest(question, connection)
        else:
            send(connection, thought(finish_reason="length"))

    found, _, judge = judged(answer)
    assert flags(found) == (True, False)
    assert any("thinking is turned off" in notice for notice in judge.notices)


def test_more_tokens_are_allowed_where_thinking_cannot_be_turned_off() -> None:
    def answer(question: Question, connection: socket.socket) -> None:
        if "chat_template_kwargs" in question.body:
            send(connection, message("Unrecognized request argument supplied: chat_template_kwargs"), 400)
        elif question.body["max_tokens"] < 4000:
            send(connection, thought(finish_reason="length"))
        else:
            honest(question, connection)

    found, questions, judge = judged(answer)
    assert flags(found) == (True, False)
    assert questions[-1].body["max_tokens"] == 4000
    assert any("4 times as many tokens" in notice for notice in judge.notices)


@pytest.mark.parametrize(
    ("cut", "note"),
    [
        (thought(finish_reason="length"), "The answer was cut off at 1000 tokens (thinking)."),
        (chat('{"harm_prevention": fal', finish_reason="length"), "The model's answer was cut off at 1000 tokens."),
        (chat(None, finish_reason="content_filter"), "wrote nothing: its filter withheld the answer"),
    ],
)
def test_one_text_whose_answer_is_cut_off_says_so(cut: Any, note: str) -> None:
    def answer(question: Question, connection: socket.socket) -> None:
        if "must obey" in question.text:
            send(connection, cut)
        else:
            honest(question, connection)

    found, _, _ = judged(answer)
    assert flags(found) == (None, False)
    assert note in found[BAD].note


# Other shapes of the answer


def reshaped(content: str, shape: str) -> Any:
    call = {"function": {"name": "verdict", "arguments": content}}
    return {
        "reasoning": {"choices": [{"message": {"content": "", "reasoning": content}, "finish_reason": "stop"}]},
        "thoughts": {"choices": [{"message": {"content": None, "reasoning_content": "Hm. " + content}}]},
        "completion": {"choices": [{"text": content, "finish_reason": "stop"}]},
        "ollama": {"message": {"role": "assistant", "content": content}, "done": True},
        "tool": {"choices": [{"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}]},
        "list": [chat(content)],
    }[shape]


@pytest.mark.parametrize("shape", ["reasoning", "thoughts", "completion", "ollama", "tool", "list"])
def test_an_answer_in_another_shape_is_read(shape: str) -> None:
    def answer(question: Question, connection: socket.socket) -> None:
        send(connection, reshaped(verdict(*["autonomy_respect"] * ("must" in question.text)), shape))

    assert flags(judged(answer)[0]) == (True, False)


@pytest.mark.parametrize("form", ["stream", "gzip", "bom"])
def test_an_answer_in_another_encoding_is_read(form: str) -> None:
    def answer(question: Question, connection: socket.socket) -> None:
        content = verdict(*["autonomy_respect"] * ("must" in question.text))
        if form == "stream":
            parts = [{"choices": [{"delta": {"content": content[at : at + 9]}}]} for at in range(0, len(content), 9)]
            body = "".join(f"data: {json.dumps(part)}\n\n" for part in parts) + "data: [DONE]\n\n"
            send(connection, body.encode())
        elif form == "gzip":
            send(connection, gzip.compress(json.dumps(chat(content)).encode()), 200, "Content-Encoding: gzip\r\n")
        else:
            send(connection, b"\xef\xbb\xbf" + json.dumps(chat(content)).encode())

    assert flags(judged(answer)[0]) == (True, False)


def test_a_compressed_reply_is_read_up_to_the_limit_only() -> None:
    bomb = gzip.compress(b" " * (64 << 20))
    assert read_response(200, {"content-encoding": "gzip"}, bomb, 1 << 20).document is None


@pytest.mark.parametrize("words", ["quota used up", "busy", "Internal server error", "model is overloaded", ""])
def test_words_that_name_no_feature_name_none(words: str) -> None:
    assert named_feature(words) == ""


@pytest.mark.parametrize(
    "before",
    [
        'The format is {"harm_prevention": true or false, ...}. My answer: ',
        json.dumps({"type": "object", "properties": {"fairness": {"type": "boolean"}}}) + "\n",
        verdict("fairness", "truthfulness") + "\n\nWait, that is wrong. Corrected:\n",
        "{ {{ ",
    ],
)
def test_the_last_whole_object_of_an_answer_counts(before: str) -> None:
    def answer(question: Question, connection: socket.socket) -> None:
        send(connection, chat(before + verdict(*["autonomy_respect"] * ("must" in question.text))))

    found, _, _ = judged(answer)
    assert flags(found) == (True, False)
    assert found[BAD].broken == ("autonomy_respect",)
