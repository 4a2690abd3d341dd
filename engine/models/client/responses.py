"""What a server's HTTP response means: a document, or an error with the status that it really has.

Servers put errors into replies with status 200, name unsupported features in a 500, answer with web pages, event
streams or compressed bodies that were not asked for. Knows nothing of connections or chats.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CODES = {
    "rate_limit": 429,
    "too_many_requests": 429,
    "overloaded": 503,
    "unavailable": 503,
    "insufficient_quota": 402,
    "quota": 429,
    "invalid_api_key": 401,
    "auth": 401,
    "permission": 403,
    "not_found": 404,
    "invalid_request": 400,
    "bad_request": 400,
    "invalid_argument": 400,
}
"""Part of an error's code or type -> the HTTP status that it stands for."""

_FEATURES = (
    (
        "stream",
        re.compile(r"\bstream(?:ing)?\b.{0,40}(?:only|must|required|true)|only supports? .{0,20}stream|non-?stream"),
    ),
    ("thinking", re.compile(r"chat_template_kwargs|enable_thinking")),
    ("top_logprobs", re.compile(r"top_logprobs|sample logprobs of \d+")),
    ("logprobs", re.compile(r"log[_ ]?prob|logits_all")),
    ("schema", re.compile(r"response[_ ]format|json[_ ](?:object|mode)|schema|grammar|guided|structured output")),
    ("temperature", re.compile(r"temperature")),
    ("max_tokens", re.compile(r"max_(?:completion_|output_|new_)?tokens|\d+ in the completion")),
    (
        "system",
        re.compile(
            r"(?:system|developer) (?:role|message|prompt|instruction)|role.{0,20}system|roles? must (?:alternate|be)"
            r"|conversation roles|only user and assistant"
        ),
    ),
)
"""Optional parts of a chat request, by the words with which servers name them; the first that matches."""


_MAX_PLAIN = 500
"""Bytes of an error in plain text that are read."""


@dataclass(frozen=True)
class Response:
    """A response as it is to be taken.

    Args:
        status: of HTTP, or of the error inside a reply with 200.
        document: the JSON object; None where there is none.
        message: the server's own words on an error, as they came; "" for none.
        code: the error's code and type in lower case; "" for none.
        is_html: the body is a web page.
    """

    status: int
    document: dict[str, Any] | None
    message: str = ""
    code: str = ""
    is_html: bool = False

    @property
    def feature(self) -> str:
        """The optional part of the request that the error names, see `named_feature`."""
        return named_feature(self.message)

    @property
    def is_quota(self) -> bool:
        """Whether waiting does not help, since the account has nothing left."""
        words = f"{self.code} {self.message}".lower()
        return "insufficient_quota" in words or "billing" in words


def named_feature(message: str) -> str:
    """The optional part of a chat request that an error message names: logprobs, top_logprobs, schema, temperature,
    max_tokens, system, stream or thinking; "" for none."""
    words = message.lower()
    return next((name for name, pattern in _FEATURES if pattern.search(words)), "")


def read_response(status: int, headers: Mapping[str, str], body: bytes, max_bytes: int) -> Response:
    """The response in these bytes; never raises for what they hold."""
    if headers.get("content-encoding", "").lower() in ("gzip", "x-gzip", "deflate") or body.startswith(b"\x1f\x8b"):
        body = _decompressed(body, max_bytes)
    if "text/event-stream" in headers.get("content-type", "").lower() or body.startswith(b"data: {"):
        document: dict[str, Any] | None = _from_stream(body)
    else:
        document = parse_object(body)
    start = body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    is_html = start.startswith((b"<!doctype html", b"<html"))
    error = _error_in(document) if document else None
    if error is None and status >= 400 and document is None and not is_html:
        # Frameworks write what they could not read of a request as plain text.
        error = (body[:_MAX_PLAIN].decode("utf-8", "replace"), "")
    if error is None:
        return Response(status, document, is_html=is_html)
    message, code = error
    if 200 <= status < 300:
        status = _status_of(code)
    return Response(status, document, message, code)


def parse_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in a body; of a list with one object in it, that."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    return found if isinstance(found, dict) else None


def first_choice(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first of a document's choices; None where it has none."""
    choices = document.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _error_in(document: Mapping[str, Any]) -> tuple[str, str] | None:
    """(message, code) of the error in a document; None where there is none."""
    choice = first_choice(document)
    error = document.get("error") or (choice or {}).get("error")
    if not error and choice is None:
        error = document.get("detail") or document.get("message")
        # Ollama's own interface has the answer under this name.
        error = error if isinstance(error, str | list) else None
    if not error:
        return None
    if isinstance(error, list):
        error = error[0]
    if not isinstance(error, Mapping):
        return (error if isinstance(error, str) else "", str(document.get("code", "")).lower())
    message = error.get("message", error.get("msg", ""))
    parts = [str(error.get(name, "")) for name in ("code", "type", "status") if error.get(name) not in (None, "")]
    return (_with_parameter(error, message if isinstance(message, str) else ""), " ".join(parts).lower())


def _with_parameter(error: Mapping[str, Any], message: str) -> str:
    """The message with the part of the request that the error names beside it: OpenAI's `param`, FastAPI's `loc`."""
    place = error.get("loc")
    named = error.get("param") or (place[1] if isinstance(place, list) and len(place) > 1 else None)
    return f"{message} ({named})" if isinstance(named, str) and named not in message else message


def _status_of(code: str) -> int:
    """The HTTP status that an error's code stands for; 500 where it says nothing."""
    number = re.search(r"\b([45]\d\d)\b", code)
    if number is not None:
        return int(number[1])
    return next((status for words, status in _CODES.items() if words in code), 500)


def _decompressed(body: bytes, max_bytes: int) -> bytes:
    for window in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        try:
            return zlib.decompressobj(window).decompress(body, max_bytes)
        except (zlib.error, gzip.BadGzipFile, EOFError):
            continue
    return body


def _from_stream(body: bytes) -> dict[str, Any] | None:
    """The document that the events of a stream add up to; None where they hold none, an error where it was cut off."""
    content: list[str] = []
    finish: Any = None
    last: dict[str, Any] | None = None
    for line in body.split(b"\n"):
        if not line.startswith(b"data:"):
            continue
        event = parse_object(line[5:])
        if event is None:
            continue
        last = event
        if event.get("error"):
            return event
        choice = first_choice(event) or {}
        delta = choice.get("delta")
        if isinstance(delta, dict) and isinstance(delta.get("content"), str):
            content.append(delta["content"])
        finish = choice.get("finish_reason") or finish
    if last is None or not content:
        return last
    if finish is None and b"data: [DONE]" not in body.replace(b"data:[", b"data: ["):
        return {"error": {"code": 502, "message": "the stream ended before the answer did"}}
    message = {"role": "assistant", "content": "".join(content)}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}
