"""A model behind an OpenAI-compatible server, as the writer of drafts, critiques and revisions.

A prompt "as sent" is the chat itself, as JSON: the server applies its own template.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from engine.control import Control
from engine.models.client.endpoint import ChatRequest, Endpoint, Reply
from engine.models.inference.requests import Completion, Message, Request, Sampling
from engine.text import sanitize

_CONTEXT = 1 << 20
"""Servers do not say how long their context is; a prompt that is too long comes back as an error of its own."""
_HELLO = ChatRequest("hello", [Message("user", "Say hello.")], {}, 16, Sampling(max_tokens=16))


class RemoteModel:
    """Satisfies `engine.models.inference.requests.LanguageModel`.

    Args:
        endpoint: the model behind a server.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    @property
    def name(self) -> str:
        return self._endpoint.name

    @property
    def context(self) -> int:
        return _CONTEXT

    def prepare(self, control: Control) -> None:
        """Ask for one short text, so that a server that does not work is reported before anything else happens.

        Raises:
            EndpointError: the server does not work.
            Stopped: `control` requests it.
        """
        if self._endpoint.capabilities is None:
            self._endpoint.negotiate(_HELLO, control)

    def render(self, messages: Sequence[Message]) -> str:
        """The chat as JSON."""
        return json.dumps([{"role": m.role, "content": m.content} for m in messages], ensure_ascii=False)

    def generate(self, requests: Sequence[Request], control: Control) -> Iterator[Completion]:
        """Each completion as it comes, in any order. Token counts are the server's own.

        Raises:
            EndpointError: the server failed; what was in flight comes first.
            Stopped: soon after `control.stop()`.
        """
        self.prepare(control)
        chats = [
            ChatRequest(r.key, _messages(r.prompt), {}, r.sampling.max_tokens, r.sampling, r.seed) for r in requests
        ]
        for reply in self._endpoint.chat(chats, control):
            yield _completion(reply)


def _messages(prompt: str) -> list[Message]:
    return [Message(str(row["role"]), str(row["content"])) for row in json.loads(prompt)]


def _completion(reply: Reply) -> Completion:
    text = _without_thinking(reply.text)
    found = Completion(
        key=reply.key,
        text=sanitize(text),
        raw=reply.text,
        tokens=reply.completion_tokens,
        prompt_tokens=reply.prompt_tokens,
        finish="length" if reply.truncated else "stop",
        seconds=reply.seconds,
        error=reply.error,
    )
    if not found.error and not text.strip():
        thought = "The answer ended inside its thinking." if reply.thinking else "The server's model wrote nothing."
        found = replace(found, error=thought)
    return replace(found, text="", finish="error") if found.error else found


def _without_thinking(text: str) -> str:
    """What follows the thoughts; "" where they do not end."""
    if "</think>" in text:
        return text.rpartition("</think>")[2].strip()
    return "" if text.lstrip().startswith("<think>") else text.strip()
