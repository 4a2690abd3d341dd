"""Chats with a model behind an OpenAI-compatible server: many at a time, with every feature that the server supports.

Servers differ in what they accept (a JSON schema, log-probabilities, the name of the token limit), and say no with a
400. The first chat negotiates the capabilities; the others then use them. Knows nothing of judges.
"""

from __future__ import annotations

import json
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
from engine.json_values import is_number
from engine.models.client.http import (
    Address,
    HttpClient,
    HTTPStatusError,
    RetryPolicy,
    parse_address,
    sanitize_without_key,
)
from engine.models.client.responses import first_choice, named_feature
from engine.models.inference.requests import Message, Sampling

_ENV_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_POLL_SECONDS = 0.05
_MAX_REPLY_CHARS = 20_000
_UNSUPPORTED = frozenset({400, 403, 404, 405, 415, 422, 500, 501, 502, 503})
"""Statuses by which servers say that they do not support a part of the request; where it names one (403 to 405 and 5xx
reach `negotiate` only then)."""
_LONGER, _MAX_EXTRA = 4, 16
_MAX_EMPTY = 3
"""Empty answers to the first question until a server is given up: some have one while a model is loaded."""


@dataclass
class Usage:
    """What a server was asked since this process began, as it counts the tokens itself."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, reply: Reply) -> None:
        """Count one answered chat."""
        self.requests += 1
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens

    def cost(self, price: tuple[float, ...]) -> float:
        """In dollars, at dollars per million prompt and completion tokens."""
        return (self.prompt_tokens * price[0] + self.completion_tokens * price[1]) / 1e6


@dataclass(frozen=True)
class Server:
    """A model behind a server, as the settings name it.

    Args:
        url: such as http://127.0.0.1:8080/v1; without secrets.
        model: the name that the server knows it by.
        key_env: name of the environment variable that holds the key; "" where none is needed.
        retry: timeout and retries.
        concurrency: chats in flight at a time.
        price: dollars per million prompt tokens and per million completion tokens; zeros where none is given.
        usage: of everything that asks this server.
    """

    url: str
    model: str
    key_env: str = ""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    concurrency: int = 4
    price: tuple[float, ...] = (0.0, 0.0)
    usage: Usage = field(default_factory=Usage, compare=False)

    def used(self) -> str:
        """What was asked and, where a price is given, what it cost, as a sentence."""
        usage = self.usage
        cost = f", ${usage.cost(self.price):,.4f}" if any(self.price) else ""
        return (
            f"{self.model} was asked {usage.requests:,} times: {usage.prompt_tokens:,} prompt tokens, "
            f"{usage.completion_tokens:,} completion tokens{cost}."
        )

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
        if len(self.price) != 2 or not all(0 <= part < 1e6 for part in self.price):
            raise InputError(
                "a price has two parts, of at least 0.",
                where="--endpoint-price",
                next_step="Give dollars per million prompt tokens and per million completion tokens: 0.15,0.60.",
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
    """One chat.

    Args:
        schema: the JSON schema of the answer that is wanted; not used for free text.
        sampling: how a free text is sampled; None for an answer by the schema.
        seed: of that sampling.
    """

    key: str
    messages: Sequence[Message]
    schema: Mapping[str, Any]
    max_tokens: int = 1000
    sampling: Sampling | None = None
    seed: int = 0


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
        truncated: the answer was cut off at the token limit.
        thinking: the model was thinking, or did before it answered.
        limit: tokens that were allowed; 0 where it is not known.
        prompt_tokens, completion_tokens: as the server counts them; 0 where it does not.
    """

    key: str
    text: str
    tokens: tuple[Token, ...] = ()
    seconds: float = 0.0
    error: str = ""
    truncated: bool = False
    thinking: bool = False
    limit: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Capabilities:
    """The optional members of a request that a server supports.

    Args:
        schema: type of `response_format`: "json_schema", "json_object" or "" for none.
        top_logprobs: likeliest tokens asked for per position; 0 asks for no log-probabilities.
        limit: name of the token limit.
        max_tokens: largest limit that the server takes; 0 where none is known.
        extra_tokens: factor on the limit, for models that think first.
        temperature: whether one may be set.
        system: whether there is a role system; else its text is put before the user's.
        no_thinking: whether the chat template is told not to think.
        stream: whether answers are asked for in pieces, from servers that give no others.
        leaves_logprobs_out: whether the first answer came without those that were asked for.
    """

    schema: str = "json_schema"
    top_logprobs: int = 5
    limit: str = "max_tokens"
    max_tokens: int = 0
    extra_tokens: int = 1
    temperature: bool = True
    system: bool = True
    no_thinking: bool = False
    stream: bool = False
    leaves_logprobs_out: bool = False

    def without(self, message: str) -> Capabilities | None:
        """What to try after an error with this message: without the feature it names, else without the rarest one."""
        named = self._without(named_feature(message), message.lower())
        if named is not None:
            return named
        if self.no_thinking:
            return replace(self, no_thinking=False)
        if self.top_logprobs:
            return replace(self, top_logprobs=0)
        less = {"json_schema": "json_object", "json_object": ""}
        return replace(self, schema=less[self.schema]) if self.schema in less else None

    def _without(self, feature: str, words: str) -> Capabilities | None:
        """Without a feature, or with less of it as the error's words ask for; None where it is not in use."""
        less: dict[str, tuple[object, dict[str, Any]]] = {
            "stream": (not self.stream, {"stream": True, "top_logprobs": 0}),
            "thinking": (self.no_thinking, {"no_thinking": False}),
            "logprobs": (self.top_logprobs, {"top_logprobs": 0}),
            "top_logprobs": (self.top_logprobs, {"top_logprobs": self._fewer_logprobs(words)}),
            "schema": (self.schema, {"schema": "json_object" if self.schema == "json_schema" else ""}),
            "temperature": (self.temperature, {"temperature": False}),
            "system": (self.system, {"system": False}),
        }
        if feature == "max_tokens":
            return self._with_limit(words)
        in_use, changes = less.get(feature, (False, {}))
        return replace(self, **changes) if in_use else None

    def _fewer_logprobs(self, words: str) -> int:
        if self.top_logprobs <= 1:
            return 0
        allowed = re.search(r"(?:max|most|maximum|up to|than|allowed|<=?)\D{0,30}(\d+)", words.split("of 5")[-1])
        most = int(allowed[1]) if allowed else 1
        return most if 0 < most < self.top_logprobs else 0

    def _with_limit(self, words: str) -> Capabilities | None:
        """With the largest token limit that the words name, or another name for it."""
        room = re.search(r"maximum context length is (\d+) .*\((\d+) in the messages", words)
        if room and 16 <= (most := int(room[1]) - int(room[2])) < (self.max_tokens or 1000):
            return replace(self, max_tokens=most)
        numbers = [int(number) for number in re.findall(r"\d+", words)]
        smaller = [number for number in numbers if 16 <= number < (self.max_tokens or 1000)]
        if smaller and re.search(r"too large|at most|exceed|maximum|less than|greater than|<=", words):
            return replace(self, max_tokens=max(smaller))
        return replace(self, limit="max_completion_tokens") if self.limit == "max_tokens" else None

    def tokens(self, request: ChatRequest) -> int:
        """The token limit that is sent with this request."""
        wanted = request.max_tokens * self.extra_tokens
        return min(wanted, self.max_tokens) if self.max_tokens else wanted

    def body(self, model: str, request: ChatRequest) -> dict[str, Any]:
        """The request as JSON."""
        body: dict[str, Any] = {
            "model": model,
            "messages": self._messages(request.messages),
            "stream": self.stream,
            self.limit: self.tokens(request),
        }
        if self.no_thinking:
            body["chat_template_kwargs"] = {"enable_thinking": False}
        if request.sampling is not None:
            return body | self._sampling(request.sampling, request.seed)
        if self.temperature:
            body["temperature"] = 0
        if self.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        if self.schema == "json_schema":
            wanted = {"name": "verdict", "strict": True, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        elif self.schema:
            body["response_format"] = {"type": self.schema}
        return body

    def _sampling(self, sampling: Sampling, seed: int) -> dict[str, Any]:
        """The members that every server knows; top-k, min-p and the repetition penalty are left to the server."""
        body: dict[str, Any] = {"seed": seed & 0x7FFFFFFF}
        if self.temperature:
            body["temperature"] = sampling.temperature
            if sampling.top_p < 1:
                body["top_p"] = sampling.top_p
        if sampling.stop:
            body["stop"] = list(sampling.stop[:4])
        return body

    def _messages(self, messages: Sequence[Message]) -> list[dict[str, str]]:
        if self.system or messages[0].role != "system":
            return [{"role": m.role, "content": m.content} for m in messages]
        first, *rest = messages[1:]
        joined = Message(first.role, f"{messages[0].content}\n\n{first.content}")
        return [{"role": m.role, "content": m.content} for m in (joined, *rest)]

    def notices(self) -> tuple[str, ...]:
        """What the server does without, one sentence each."""
        found = []
        if self.stream:
            found.append("it answers in streams only")
        if not self.top_logprobs or self.leaves_logprobs_out:
            found.append("it gives no log-probabilities, so probabilities are 0 or 1")
        if self.schema != "json_schema":
            found.append("it takes no JSON schema, so answers may be unusable")
        if not self.system:
            found.append("it has no system role, so the instructions stand in the user's turn")
        if not self.temperature:
            found.append("it takes no temperature, so verdicts may vary")
        if self.no_thinking:
            found.append("thinking is turned off")
        if self.extra_tokens > 1:
            found.append(f"answers may have {self.extra_tokens} times as many tokens, since shorter ones were cut off")
        if self.max_tokens:
            found.append(f"it allows {self.max_tokens} tokens per answer")
        return tuple(found)


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

    @property
    def notices(self) -> tuple[str, ...]:
        """What the server does without, one sentence each; empty before `negotiate`."""
        return self._capabilities.notices() if self._capabilities is not None else ()

    def _simpler(self, capabilities: Capabilities, no: HTTPStatusError) -> Capabilities:
        """These without what the server refused; raises `EndpointError` where nothing is left to do without."""
        simpler = capabilities.without(no.message) if no.status in _UNSUPPORTED else None
        if simpler is None:
            raise EndpointError(
                f"the server refuses the question ({no.status}: {no.message or 'without a reason'}).",
                where=str(self._address),
                next_step=_advice(no),
            ) from None
        return simpler

    def negotiate(self, request: ChatRequest, control: Control) -> Reply:
        """Find out what the server supports, by sending this request.

        Raises:
            EndpointError: it refuses every form of the request, cannot be reached, or cuts every answer off.
            Stopped: where `control` asks for it.
        """
        capabilities = Capabilities()
        cut_at: list[int] = []
        empty = 0
        thinking_off_refused = False
        while True:
            try:
                reply = next(self._run([request], capabilities, control, raising=True))
            except HTTPStatusError as no:
                simpler = self._simpler(capabilities, no)
                thinking_off_refused |= capabilities.no_thinking and not simpler.no_thinking
                capabilities = simpler
                continue
            if reply.error and not reply.truncated:
                empty += 1
                if empty < _MAX_EMPTY:
                    continue
                raise self._empty(reply, empty)
            if _is_whole(reply, free=request.sampling is not None):
                # Some servers leave out what they do not know without a word.
                silent = request.sampling is None and not reply.tokens
                self._capabilities = replace(capabilities, leaves_logprobs_out=silent)
                return reply
            cut_at.append(capabilities.tokens(request))
            longer = replace(capabilities, extra_tokens=capabilities.extra_tokens * _LONGER)
            if not capabilities.no_thinking and not thinking_off_refused and reply.thinking:
                capabilities = replace(capabilities, no_thinking=True)
            elif longer.extra_tokens <= _MAX_EXTRA and longer.tokens(request) > cut_at[-1]:
                capabilities = longer
            else:
                raise self._cut_off(cut_at, reply.thinking)

    def _empty(self, reply: Reply, times: int) -> EndpointError:
        return EndpointError(
            f"{reply.error[0].lower()}{reply.error[1:].rstrip('.')}, {times} times.",
            where=str(self._address),
            next_step="Check that the model is one for chats; the server's own log may say more.",
        )

    def _cut_off(self, cut_at: Sequence[int], thinking: bool) -> EndpointError:
        also = f", and at {cut_at[-1]} too" if cut_at[-1] != cut_at[0] else ""
        return EndpointError(
            f"the answer was cut off at {cut_at[0]} tokens{' (thinking)' if thinking else ''}{also}.",
            where=str(self._address),
            next_step="Turn the model's thinking off on the server, raise the server's limit of tokens or its context, "
            "or use a model that does not think.",
        )

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
        questions: queue.SimpleQueue[ChatRequest | None] = queue.SimpleQueue()
        answers: queue.SimpleQueue[Reply | Exception] = queue.SimpleQueue()

        def work() -> None:
            while (request := questions.get()) is not None:
                answers.put(self._ask(client, capabilities, request, raising))

        in_flight = workers = 0
        failure: Exception | None = None
        try:
            while in_flight or (waiting and failure is None):
                control.check()
                while waiting and failure is None and in_flight < self._server.concurrency:
                    questions.put(waiting.popleft())
                    in_flight += 1
                    if workers < in_flight:
                        threading.Thread(target=work, name="redraft-endpoint", daemon=True).start()
                        workers += 1
                try:
                    answer = answers.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    continue
                in_flight -= 1
                if isinstance(answer, Reply):
                    self._server.usage.add(answer)
                    yield answer
                else:
                    failure = failure or answer
        finally:
            client.close()
            for _ in range(workers):
                questions.put(None)
        if failure is not None:
            raise failure

    def _ask(
        self, client: HttpClient, capabilities: Capabilities, request: ChatRequest, raising: bool
    ) -> Reply | Exception:
        """Post one chat; returns whatever happens to it."""
        began = time.monotonic()
        try:
            document = client.post("/chat/completions", capabilities.body(self._server.model, request))
            seconds = time.monotonic() - began
            return read_reply(request.key, document, client, seconds, capabilities.tokens(request))
        except HTTPStatusError as no:
            words = f"The server refuses this text ({no.status}: {no.message or 'without a reason'})."
            return no if raising else Reply(request.key, "", seconds=time.monotonic() - began, error=words)
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer gets the failure
            return error


def _is_whole(reply: Reply, *, free: bool) -> bool:
    """Whether an answer can be used although it may have been cut off: a free text, or JSON that ends."""
    if not reply.truncated or (free and not reply.thinking):
        return True
    return reply.text.rpartition("</think>")[2].strip().endswith("}")


def _advice(no: HTTPStatusError) -> str:
    """What helps where a server refuses a question in every form."""
    if no.status == 413 or re.search(
        r"context (?:length|size|window)|too long|exceeds? the .*context", no.message.lower()
    ):
        return (
            "Start the server with a longer context (vLLM: --max-model-len, llama.cpp: -c, Ollama: num_ctx), or "
            "shorten the constitution."
        )
    return "Check the name of the model and that it is one for chats."


def read_reply(key: str, document: Mapping[str, Any], client: HttpClient, seconds: float, limit: int = 0) -> Reply:
    """The reply in a server's JSON; never raises for what it holds: `error` says why there are no words in it.

    Args:
        limit: tokens that were allowed, for messages.
    """
    choice = first_choice(document) or document
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    content, thoughts = _content(message, choice), _thoughts(message)
    finish = choice.get("finish_reason", document.get("done_reason"))
    truncated = finish == "length"
    counts = _usage(document)
    thinking = bool(thoughts.strip()) or ("<think>" in content and "</think>" not in content) or _thought(document)
    if not content.strip() and not truncated and "}" in thoughts:
        content = thoughts  # a server that takes the whole answer for thoughts
    if content.strip():
        text = client.redact(content)[:_MAX_REPLY_CHARS]
        tokens = _tokens(choice.get("logprobs"), content)
        return Reply(key, text, tokens, seconds, "", truncated, thinking, limit, *counts)
    if truncated:
        at = f" at {limit} tokens" if limit else ""
        error = f"The answer was cut off{at}{' (thinking)' if thinking else ''}."
        return Reply(key, "", (), seconds, error, True, thinking, limit, *counts)
    said = _refusal(message, finish, client)
    error = f"The server's model wrote nothing{': ' + said if said else ''}."
    return Reply(key, "", (), seconds, error, False, False, 0, *counts)


def _thoughts(message: Mapping[str, Any]) -> str:
    found = [message.get(name) for name in ("reasoning_content", "reasoning", "thinking")]
    details = message.get("reasoning_details")
    found += [part.get("text") for part in details if isinstance(part, dict)] if isinstance(details, list) else []
    return next((words for words in found if isinstance(words, str) and words), "")


def _thought(document: Mapping[str, Any]) -> bool:
    """Whether the server counts tokens of thoughts that it does not show."""
    usage = document.get("usage")
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    count = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return isinstance(count, int) and count > 0


def _refusal(message: Mapping[str, Any], finish: object, client: HttpClient) -> str:
    """Why a model wrote nothing, in its server's words; "" where it gives none."""
    refusal = message.get("refusal")
    said = client.redact(refusal)[:200].rstrip(".") if isinstance(refusal, str) else ""
    return said or ("its filter withheld the answer" if finish == "content_filter" else "")


def _usage(document: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens of prompt and completion, as the server counts them."""
    usage = document.get("usage")
    found = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")] if isinstance(usage, dict) else []
    prompt, completion = (value if type(value) is int and value >= 0 else 0 for value in (found or [0, 0]))
    return prompt, completion


def _content(message: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    """The words of a message: its content, text parts, the arguments of a tool call, or the text of a completion."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if isinstance(content, str) and content.strip():
        return content
    calls = message.get("tool_calls")
    call = calls[0] if isinstance(calls, list) and calls and isinstance(calls[0], dict) else {}
    function = call.get("function")
    arguments = function.get("arguments") if isinstance(function, dict) else None
    arguments = json.dumps(arguments) if isinstance(arguments, dict) else arguments
    text = choice.get("text")
    return next((words for words in (arguments, text) if isinstance(words, str)), "")


def _tokens(logprobs: Any, content: str) -> tuple[Token, ...]:
    """The reply's tokens, where they are whole and hold the content; else none. Some servers give those of thoughts
    before it, and of the mark that ends a turn, too."""
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
    return tuple(tokens) if content.strip() in "".join(token.text for token in tokens) else ()


def _read_logprob(entry: Any) -> tuple[str, float] | None:
    """A token with its log-probability; None where the server's entry is none."""
    if not isinstance(entry, dict):
        return None
    token, value = entry.get("token"), entry.get("logprob")
    if not isinstance(token, str) or not is_number(value):
        return None
    return (token, max(float(value), -1e4)) if -1e9 < value <= 1e-6 else None
