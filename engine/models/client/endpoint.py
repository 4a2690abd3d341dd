"""Chats with a model behind an OpenAI-compatible server: many at a time, with every feature that the server supports.

Servers differ in what they accept (a JSON schema, log-probabilities, the name of the token limit), and say no with a
400. The first chat negotiates the capabilities; the others then use them. Knows nothing of judges.
"""

from __future__ import annotations

import os
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.control import Control
from engine.errors import EndpointError, InputError
from engine.models.client.http import (
    Address,
    HttpClient,
    HTTPStatusError,
    RetryPolicy,
    parse_address,
    sanitize_without_key,
)
from engine.models.inference.requests import Message

_ENV_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_POLL_SECONDS = 0.05
_MAX_REPLY_CHARS = 20_000
_UNSUPPORTED = frozenset({400, 415, 422, 501})
"""Statuses by which servers say that they do not know a member of the question."""


@dataclass(frozen=True)
class Server:
    """A model behind a server, as the settings name it.

    Args:
        url: such as http://127.0.0.1:8080/v1; without secrets.
        model: the name that the server knows it by.
        key_env: name of the environment variable that holds the key; "" where none is needed.
        retry: timeout and retries.
        concurrency: chats in flight at a time.
    """

    url: str
    model: str
    key_env: str = ""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    concurrency: int = 4

    def check(self) -> Address:
        """The address; nothing is sent.

        Raises:
            InputError: something is missing, or cannot be used; no value that may be a secret is repeated.
        """
        address = parse_address(self.url)
        if not self.model.strip() or not self.model.isprintable() or len(self.model) > 200:
            raise InputError(
                "the endpoint's model has no usable name.",
                where="--endpoint-model",
                next_step="Give the name that the server lists under /v1/models.",
            )
        if not 0 < self.retry.timeout <= 3600:
            raise InputError(
                f"{self.retry.timeout:g} is not a valid timeout.",
                where="--endpoint-timeout",
                next_step="Give 1 to 3600 seconds.",
            )
        if not 1 <= self.concurrency <= 64:
            raise InputError(
                f"{self.concurrency} is not a valid number of concurrent requests.",
                where="--endpoint-concurrency",
                next_step="Give 1 to 64.",
            )
        self.key()
        return address

    def key(self) -> str:
        """The key, read from the environment now; "" where none is needed.

        Raises:
            InputError: the variable is not set, or what it holds cannot be a key.
        """
        if not self.key_env:
            return ""
        where = "--endpoint-key-env"
        if not _ENV_NAME.fullmatch(self.key_env):
            raise InputError(
                "this is not the name of an environment variable. Do not write the key itself here.",
                where=where,
                next_step="Put the key into a variable in capital letters and give its name, such as JUDGE_API_KEY.",
            )
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise InputError(
                f"the environment variable {self.key_env} is not set.",
                where=where,
                next_step=f"Set it: export {self.key_env}=...",
            )
        if not all("!" <= character <= "~" for character in key) or len(key) > 8000:
            raise InputError(
                f"the environment variable {self.key_env} holds characters that no key has.",
                where=where,
                next_step="Set it to the key alone.",
            )
        return key


@dataclass(frozen=True)
class ChatRequest:
    """One chat; `schema` is the JSON schema of the answer that is wanted."""

    key: str
    messages: Sequence[Message]
    schema: Mapping[str, Any]
    max_tokens: int = 1000


@dataclass(frozen=True)
class Token:
    """A token of a reply with the likeliest ones in its place: text -> log-probability, its own among them."""

    text: str
    likely: Mapping[str, float]


@dataclass(frozen=True)
class Reply:
    """What came back.

    Args:
        key: the chat's.
        text: the model's words, cleaned, without the server's key.
        tokens: with log-probabilities, where the server gives them; their texts joined are the uncleaned `text`.
        seconds: from the question to its answer, repetitions included.
        error: why there is no text for this chat, in words; "" where there is one.
    """

    key: str
    text: str
    tokens: tuple[Token, ...] = ()
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Capabilities:
    """The optional members of a request that a server supports."""

    schema: str = "json_schema"
    logprobs: bool = True
    limit: str = "max_tokens"
    temperature: bool = True

    def without(self, message: str) -> Capabilities | None:
        """What to try after an error with this message: without the feature it names, else without the rarest one."""
        words = message.lower()
        if self.temperature and "temperature" in words:
            return replace(self, temperature=False)
        if self.limit == "max_tokens" and ("max_completion_tokens" in words or "max_tokens" in words):
            return replace(self, limit="max_completion_tokens")
        if self.logprobs:
            return replace(self, logprobs=False)
        less = {"json_schema": "json_object", "json_object": ""}
        return replace(self, schema=less[self.schema]) if self.schema in less else None

    def body(self, model: str, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "stream": False,
            self.limit: request.max_tokens,
        }
        if self.temperature:
            body["temperature"] = 0
        if self.logprobs:
            body |= {"logprobs": True, "top_logprobs": 5}
        if self.schema == "json_schema":
            wanted = {"name": "verdict", "strict": True, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        elif self.schema:
            body["response_format"] = {"type": self.schema}
        return body


class Endpoint:
    """A model behind a server. Used by one thread; asks from several of its own.

    Args:
        server: checked.

    Raises:
        InputError: a setting of the server cannot be used.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._address = server.check()
        self._key = server.key()
        self._capabilities: Capabilities | None = None

    @property
    def name(self) -> str:
        return f"{self._server.model} at {self._address.host}:{self._address.port}"

    @property
    def capabilities(self) -> Capabilities | None:
        """What the server supports; None before `negotiate`."""
        return self._capabilities

    def redact(self, text: str) -> str:
        """Words out of a reply, made safe to store and to show; without the key, also where it was written in escapes
        that only became letters when the reply was read."""
        return sanitize_without_key(text, self._key)

    def negotiate(self, request: ChatRequest, control: Control) -> Reply:
        """Find out what the server supports, by sending this request.

        Raises:
            EndpointError: it refuses every form of the request, or cannot be reached.
            Stopped: where `control` asks for it.
        """
        capabilities = Capabilities()
        while True:
            try:
                reply = next(self._run([request], capabilities, control, raising=True))
            except HTTPStatusError as no:
                simpler = capabilities.without(no.message) if no.status in _UNSUPPORTED else None
                if simpler is None:
                    raise EndpointError(
                        f"the server refuses the question ({no.status}: {no.message or 'without a reason'}).",
                        where=str(self._address),
                        next_step="Check the name of the model and that it is one for chats.",
                    ) from None
                capabilities = simpler
            else:
                self._capabilities = capabilities
                return reply

    def chat(self, requests: Sequence[ChatRequest], control: Control) -> Iterator[Reply]:
        """Each chat's reply as it comes, in any order; call `negotiate` first.

        A chat that the server refuses comes back with `error`.

        Where the server fails for good, the replies to chats in flight are yielded first.

        Raises:
            EndpointError: the server failed; names address and failure.
            Stopped: soon after `control.stop()`.
        """
        assert self._capabilities is not None
        yield from self._run(requests, self._capabilities, control)

    def _run(
        self, requests: Sequence[ChatRequest], capabilities: Capabilities, control: Control, *, raising: bool = False
    ) -> Iterator[Reply]:
        client = HttpClient(self._address, self._key, self._server.retry)
        waiting = deque(requests)
        answers: queue.SimpleQueue[Reply | Exception] = queue.SimpleQueue()
        in_flight = 0
        failure: Exception | None = None
        try:
            while in_flight or (waiting and failure is None):
                control.check()
                while waiting and failure is None and in_flight < self._server.concurrency:
                    self._send(client, capabilities, waiting.popleft(), answers, raising)
                    in_flight += 1
                try:
                    answer = answers.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    continue
                in_flight -= 1
                if isinstance(answer, Reply):
                    yield answer
                else:
                    failure = failure or answer
        finally:
            client.close()
        if failure is not None:
            raise failure

    def _send(
        self,
        client: HttpClient,
        capabilities: Capabilities,
        request: ChatRequest,
        answers: queue.SimpleQueue[Reply | Exception],
        raising: bool,
    ) -> None:
        """Post in a thread of its own, which puts one answer into the queue whatever happens."""

        def work() -> None:
            began = time.monotonic()
            try:
                document = client.post("/chat/completions", capabilities.body(self._server.model, request))
                answer: Reply | Exception = read_reply(request.key, document, client, time.monotonic() - began)
            except HTTPStatusError as no:
                words = f"The server refuses this text ({no.status}: {no.message or 'without a reason'})."
                answer = no if raising else Reply(request.key, "", seconds=time.monotonic() - began, error=words)
            except Exception as error:  # noqa: BLE001 - whoever waits for the answer gets the failure
                answer = error
            answers.put(answer)

        threading.Thread(target=work, name="redraft-endpoint", daemon=True).start()


def read_reply(key: str, document: Mapping[str, Any], client: HttpClient, seconds: float) -> Reply:
    """The reply in a server's JSON; whatever it holds, this gives one, with `error` where there are no words in it."""
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if isinstance(content, str) and content.strip():
        text = client.redact(content)[:_MAX_REPLY_CHARS]
        return Reply(key, text, _tokens(choice.get("logprobs"), content), seconds)
    refusal = message.get("refusal")
    said = client.redact(refusal)[:200] if isinstance(refusal, str) else ""
    return Reply(key, "", seconds=seconds, error=f"The server's model wrote nothing{': ' + said if said else ''}.")


def _tokens(logprobs: Any, content: str) -> tuple[Token, ...]:
    """The reply's tokens, where they are whole and of the content; else none."""
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(entries, list):
        return ()
    tokens = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
            return ()
        top = entry.get("top_logprobs")
        likely = [entry, *(top if isinstance(top, list) else ())]
        pairs = [found for found in map(_read_logprob, likely) if found is not None]
        tokens.append(Token(entry["token"], dict(pairs)))
    return tuple(tokens) if "".join(token.text for token in tokens).strip() == content.strip() else ()


def _read_logprob(entry: Any) -> tuple[str, float] | None:
    """A token with its log-probability; None where the server's entry is none."""
    if not isinstance(entry, dict):
        return None
    token, value = entry.get("token"), entry.get("logprob")
    if not isinstance(token, str) or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return (token, max(float(value), -1e4)) if -1e9 < value <= 1e-6 else None
