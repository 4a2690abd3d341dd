"""What an OpenAI-compatible server can do: its models, and what one of them supports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.control import Control
from engine.errors import EndpointError
from engine.models.client.endpoint import Capabilities, ChatRequest, Endpoint, Server
from engine.models.client.http import HttpClient, HTTPStatusError, RetryPolicy, parse_address
from engine.models.inference.requests import Message

_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"sky_is_blue": {"type": "boolean"}},
    "required": ["sky_is_blue"],
    "additionalProperties": False,
}
_QUESTION = ChatRequest(
    "check",
    [
        Message("system", "Answer with one JSON object and nothing else."),
        Message("user", 'Is a clear sky blue by day? Answer {"sky_is_blue": true} or {"sky_is_blue": false}.'),
    ],
    _SCHEMA,
    200,
)


@dataclass(frozen=True)
class EndpointReport:
    """What was found.

    Args:
        url: the address as it is to be set, /v1 included.
        models: names of the server's models; empty where it does not list them.
        model: the one that was asked.
        capabilities: what it supports.
        logprobs: whether its answer came with log-probabilities.
        thinking: whether it thought before it answered, though told not to where that is possible.
        seconds: that its answer took.
        notices: what it does without, one sentence each.
    """

    url: str
    models: tuple[str, ...]
    model: str
    capabilities: Capabilities
    logprobs: bool
    thinking: bool
    seconds: float
    notices: tuple[str, ...]

    @property
    def options(self) -> str:
        """The settings for `redraft run`."""
        return f"--endpoint {self.url} --endpoint-model {self.model}"


def check_endpoint(
    url: str, control: Control, *, model: str = "", key_env: str = "", timeout: float = 60.0
) -> EndpointReport:
    """Ask a server for its models, and one of them (the first where none is named) for a short answer.

    An address without /v1 is tried with it too.

    Raises:
        InputError: the address or the key's variable cannot be used.
        EndpointError: nothing there works; the error of the address as given.
    """
    address = parse_address(url, "URL")
    server = Server(url, model or "model", key_env, RetryPolicy(timeout=timeout, max_attempts=1), concurrency=1)
    failure: EndpointError | None = None
    places = [url.rstrip("/").removesuffix("/chat/completions")]
    if not address.path.rstrip("/").endswith("/v1"):
        places.append(f"{places[0]}/v1")
    for place in places:
        try:
            models = _models(place, server.key(), server.retry)
            chosen = model or (models[0] if models else "")
            if not chosen:
                raise EndpointError(
                    "the server does not list its models.",
                    where=str(parse_address(place, "URL")),
                    next_step="Name the one to ask: --model NAME.",
                )
            return _asked(place, models, Server(place, chosen, key_env, server.retry, 1), control)
        except EndpointError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _models(url: str, key: str, retry: RetryPolicy) -> tuple[str, ...]:
    """The names of the server's models; empty where it lists none."""
    client = HttpClient(parse_address(url, "URL"), key, retry)
    try:
        document = client.get("/models")
    except HTTPStatusError:
        return ()
    except EndpointError as error:
        if "no such model or path" in error.what:
            return ()
        raise
    finally:
        client.close()
    rows = document.get("data")
    found = [row.get("id") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return tuple(client.redact(name) for name in found if isinstance(name, str) and name.isprintable())


def _asked(url: str, models: tuple[str, ...], server: Server, control: Control) -> EndpointReport:
    endpoint = Endpoint(server)
    reply = endpoint.negotiate(_QUESTION, control)
    if reply.error:
        raise EndpointError(reply.error.rstrip(".") + ".", where=endpoint.name, next_step="Name another model.")
    assert endpoint.capabilities is not None
    return EndpointReport(
        url=url,
        models=models,
        model=server.model,
        capabilities=endpoint.capabilities,
        logprobs=bool(reply.tokens),
        thinking=reply.thinking or "</think>" in reply.text,
        seconds=reply.seconds,
        notices=endpoint.notices,
    )
