"""Chats with a model behind an OpenAI-compatible server: many at a time, in the richest form that the server takes.

Servers differ in what they accept (a JSON schema, log-probabilities, the name of the token limit), and say no with a
400. The first chat finds the form that this server takes; the others then use it. Knows nothing of judges.
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
from engine.models.client.http import Address, Line, Patience, Refused, parse_address, without_key
from engine.models.inference.requests import Message

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_TICK = 0.05
_LONGEST_REPLY = 20_000
_NO_FORM = frozenset({400, 415, 422, 501})
"""Statuses by which servers say that they do not know a member of the question."""


@dataclass(frozen=True)
class Server:
    """A model behind a server, as the settings name it.

    Args:
        url: such as http://127.0.0.1:8080/v1; without secrets.
        model: the name that the server knows it by.
        key_env: name of the environment variable that holds the key; "" where none is needed.
        patience: how long to wait.
        concurrency: chats in the air at a time.
    """

    url: str
    model: str
    key_env: str = ""
    patience: Patience = field(default_factory=Patience)
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
        if not 0 < self.patience.timeout <= 3600:
            raise InputError(
                f"{self.patience.timeout:g} s is no time to wait.",
                where="--endpoint-timeout",
                next_step="Give 1 to 3600 seconds.",
            )
        if not 1 <= self.concurrency <= 64:
            raise InputError(
                f"{self.concurrency} is no number of questions at a time.",
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
        if not _VARIABLE.fullmatch(self.key_env):
            raise InputError(
                "this is no name of an environment variable; a key itself must not stand here.",
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
                f"what the environment variable {self.key_env} holds is no key: it has characters that none has.",
                where=where,
                next_step="Set it to the key alone.",
            )
        return key


@dataclass(frozen=True)
class Ask:
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
class _Form:
    """Which members a question has beside those that every server takes."""

    schema: str = "json_schema"
    logprobs: bool = True
    limit: str = "max_tokens"
    temperature: bool = True

    def simpler(self, message: str) -> _Form | None:
        """The form to try after a refusal in these words: without what they name, else without what is rarest."""
        words = message.lower()
        if self.temperature and "temperature" in words:
            return replace(self, temperature=False)
        if self.limit == "max_tokens" and ("max_completion_tokens" in words or "max_tokens" in words):
            return replace(self, limit="max_completion_tokens")
        if self.logprobs:
            return replace(self, logprobs=False)
        less = {"json_schema": "json_object", "json_object": ""}
        return replace(self, schema=less[self.schema]) if self.schema in less else None

    def body(self, model: str, ask: Ask) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": m.role, "content": m.content} for m in ask.messages],
            "stream": False,
            self.limit: ask.max_tokens,
        }
        if self.temperature:
            body["temperature"] = 0
        if self.logprobs:
            body |= {"logprobs": True, "top_logprobs": 5}
        if self.schema == "json_schema":
            wanted = {"name": "verdict", "strict": True, "schema": ask.schema}
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
        self._form: _Form | None = None

    @property
    def name(self) -> str:
        return f"{self._server.model} at {self._address.host}:{self._address.port}"

    @property
    def settled(self) -> bool:
        """Whether it is known how this server is to be asked."""
        return self._form is not None

    def shown(self, text: str) -> str:
        """Words out of a reply, made safe to store and to show; without the key, also where it was written in escapes
        that only became letters when the reply was read."""
        return without_key(text, self._key)

    def settle(self, ask: Ask, control: Control) -> Reply:
        """Find the form that the server takes, by asking this.

        Raises:
            EndpointError: it answers in no form, or cannot be reached.
            Stopped: where `control` asks for it.
        """
        form = _Form()
        while True:
            try:
                reply = next(self._run([ask], form, control, raising=True))
            except Refused as no:
                simpler = form.simpler(no.message) if no.status in _NO_FORM else None
                if simpler is None:
                    raise EndpointError(
                        f"the server refuses the question ({no.status}: {no.message or 'without a reason'}).",
                        where=str(self._address),
                        next_step="Check the name of the model and that it is one for chats.",
                    ) from None
                form = simpler
            else:
                self._form = form
                return reply

    def ask(self, asks: Sequence[Ask], control: Control) -> Iterator[Reply]:
        """Each chat's reply as it comes, in any order; `settle` comes before. A chat that the server refuses comes back
        with `error`.

        Where the server fails for good, the replies to chats in the air are waited for and given first.

        Raises:
            EndpointError: the server failed; names address and failure.
            Stopped: soon after `control.stop()`.
        """
        assert self._form is not None
        yield from self._run(asks, self._form, control)

    def _run(self, asks: Sequence[Ask], form: _Form, control: Control, *, raising: bool = False) -> Iterator[Reply]:
        line = Line(self._address, self._key, self._server.patience)
        waiting = deque(asks)
        answers: queue.SimpleQueue[Reply | Exception] = queue.SimpleQueue()
        air = 0
        failure: Exception | None = None
        try:
            while air or (waiting and failure is None):
                control.check()
                while waiting and failure is None and air < self._server.concurrency:
                    self._send(line, form, waiting.popleft(), answers, raising)
                    air += 1
                try:
                    answer = answers.get(timeout=_TICK)
                except queue.Empty:
                    continue
                air -= 1
                if isinstance(answer, Reply):
                    yield answer
                else:
                    failure = failure or answer
        finally:
            line.hang_up()
        if failure is not None:
            raise failure

    def _send(
        self, line: Line, form: _Form, ask: Ask, answers: queue.SimpleQueue[Reply | Exception], raising: bool
    ) -> None:
        """Ask in a thread of its own, which puts one answer into the queue whatever happens."""

        def work() -> None:
            began = time.monotonic()
            try:
                document = line.ask("/chat/completions", form.body(self._server.model, ask))
                answer: Reply | Exception = read_reply(ask.key, document, line, time.monotonic() - began)
            except Refused as no:
                words = f"The server refuses this text ({no.status}: {no.message or 'without a reason'})."
                answer = no if raising else Reply(ask.key, "", seconds=time.monotonic() - began, error=words)
            except Exception as error:  # noqa: BLE001 - whoever waits for the answer gets the failure
                answer = error
            answers.put(answer)

        threading.Thread(target=work, name="redraft-endpoint", daemon=True).start()


def read_reply(key: str, document: Mapping[str, Any], line: Line, seconds: float) -> Reply:
    """The reply in a server's JSON; whatever it holds, this gives one, with `error` where there are no words in it."""
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if isinstance(content, str) and content.strip():
        text = line.shown(content)[:_LONGEST_REPLY]
        return Reply(key, text, _tokens(choice.get("logprobs"), content), seconds)
    refusal = message.get("refusal")
    said = line.shown(refusal)[:200] if isinstance(refusal, str) else ""
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
        sound = [found for found in map(_sound, likely) if found is not None]
        tokens.append(Token(entry["token"], dict(sound)))
    return tuple(tokens) if "".join(token.text for token in tokens).strip() == content.strip() else ()


def _sound(entry: Any) -> tuple[str, float] | None:
    """A token with its log-probability; None where the server's entry is none."""
    if not isinstance(entry, dict):
        return None
    token, value = entry.get("token"), entry.get("logprob")
    if not isinstance(token, str) or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return (token, max(float(value), -1e4)) if -1e9 < value <= 1e-6 else None
