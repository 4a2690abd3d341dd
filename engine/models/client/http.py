"""One JSON question to a server and its answer: bounded in time and size, repeated where that may help.

Written on `http.client`, since what matters here is what must not happen: a redirect followed with the key to another
host (as `urllib.request` does), a reply of any size read, a timeout that counts anew with every byte (as those of
libraries do). Proxies of the environment are not used. Knows nothing of chats, judges or models.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from engine.errors import EndpointError, InputError
from engine.models.client.responses import Response, read_response
from engine.text import sanitize, truncate

MAX_REPLY_BYTES = 4 << 20
"""Bytes of a reply that are read: a verdict has a few thousand."""
_RETRYABLE = frozenset({408, 425, 429})
_NOT_IMPLEMENTED = 501  # "not implemented" is the one 5xx that the next try will not change
_MAX_BACKOFF = 30.0
_INITIAL_BACKOFF = 0.5
_MAX_MESSAGE_CHARS = 200
_WATCH_SECONDS = 0.05
_REQUESTED = re.compile(r"requested parameters", re.IGNORECASE)
"""How a router says that none of its servers takes all parts of the request."""


@dataclass(frozen=True)
class Address:
    """Where a server is. `str()` is how it is shown; it holds no secret."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def parse_address(url: str, where: str = "--endpoint") -> Address:
    """The address of a server, such as http://127.0.0.1:8080/v1.

    Raises:
        InputError: it is none, or holds a secret. Its text is not repeated: it might hold one.
    """
    example = "Write it like http://127.0.0.1:8080/v1."
    if not url or not all("!" <= character <= "~" for character in url):
        raise InputError("this is not a server address.", where=where, next_step=example)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InputError("this is not a server address.", where=where, next_step=example) from None
    if parts.scheme not in ("http", "https") or not host:
        raise InputError("the address is none of http:// or https:// with a host.", where=where, next_step=example)
    if "@" in parts.netloc:
        raise InputError(
            "the address holds a user name or password, which would be kept with the run.",
            where=where,
            next_step="Leave it out, and name the environment variable that holds the key: --endpoint-key-env NAME.",
        )
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise InputError(
            "the address has a part after ? or #, which would be kept with the run.",
            where=where,
            next_step="Leave it out; a key belongs into an environment variable: --endpoint-key-env NAME.",
        )
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return Address(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


@dataclass(frozen=True)
class RetryPolicy:
    """Timeout and retries.

    Args:
        timeout: seconds per attempt, from the connection to the last byte.
        max_attempts: attempts in all, where the failure is transient.
        initial_backoff: seconds before the second attempt; doubled each time; a `Retry-After` header overrides it.
    """

    timeout: float = 60.0
    max_attempts: int = 6
    initial_backoff: float = _INITIAL_BACKOFF


class HTTPStatusError(Exception):
    """The server understood and said no: `status` 4xx or 501, and its `message` (cleaned, without the key)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message


class HttpClient:
    """Posts JSON to one server; several may be used in parallel. `close` aborts requests in flight.

    Args:
        address: of the server.
        key: sent as bearer token; "" for none. It is taken out of everything that comes back.
        retry: timeout and retries.
    """

    def __init__(self, address: Address, key: str, retry: RetryPolicy) -> None:
        self._address = address
        self._key = key
        self._retry = retry
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._ends: dict[socket.socket, float] = {}
        self._watched = False

    def close(self) -> None:
        """Close all connections; requests in flight and in backoff fail."""
        self._closed.set()
        with self._lock:
            for sock in self._ends:
                _shutdown(sock)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON object that the server answers; transient failures (429, 5xx, a lost connection) are retried.

        Raises:
            HTTPStatusError: any other 4xx.
            EndpointError: no usable reply after all attempts.
        """
        return self._request("POST", path, json.dumps(body, ensure_ascii=True).encode("ascii"))

    def get(self, path: str) -> dict[str, Any]:
        """As `post`, with nothing sent."""
        return self._request("GET", path, b"")

    def _request(self, method: str, path: str, data: bytes) -> dict[str, Any]:
        wait = self._retry.initial_backoff
        for number in range(1, self._retry.max_attempts + 1):
            try:
                status, headers, reply = self._attempt(method, path, data)
            except _TransientError as failure:
                if number == self._retry.max_attempts or (failure.slow and number > 1):
                    raise self._error(f"{failure.what}, in {number} of {number} tries.", failure.next_step) from None
                self._sleep(wait)
            else:
                response = read_response(status, headers, reply, MAX_REPLY_BYTES)
                if not _is_transient(response):
                    return self._accept(response, headers)
                if number == self._retry.max_attempts:
                    raise self._exhausted(response, number)
                asked = _retry_after(headers)
                self._sleep(wait if asked is None else min(asked, _MAX_BACKOFF))
            wait = min(2 * wait, _MAX_BACKOFF)
        raise AssertionError("unreachable")

    def redact(self, text: str) -> str:
        """What a server said, made safe to store and to show, without the key."""
        return sanitize_without_key(text, self._key)

    def _sleep(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise self._error("the question was given up.", "")

    def _attempt(self, method: str, path: str, data: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """One try: status, headers with names in lower case, body.

        Raises:
            _TransientError: nothing whole came back, and it may the next time.
            EndpointError: it will not the next time either.
        """
        timeout = self._retry.timeout
        began = time.monotonic()
        with contextlib.ExitStack() as held:
            connection = self._connection(timeout)
            held.callback(connection.close)
            try:
                connection.connect()
                self._abort_after(connection.sock, max(0.01, timeout - (time.monotonic() - began)), held)
                connection.request(method, f"{self._address.path}{path}", data or None, self._headers())
                response = held.enter_context(connection.getresponse())
                body = self._read(response)
                if time.monotonic() - began >= timeout:
                    raise TimeoutError
                return response.status, {name.lower(): value for name, value in response.getheaders()}, body
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise self._classify(error, time.monotonic() - began >= timeout) from None

    def _abort_after(self, sock: socket.socket, seconds: float, held: contextlib.ExitStack) -> None:
        """Cut this connection after so many seconds, or where `close` is called, until `held` ends."""
        # A timeout of the socket counts from the last byte; a server that drips needs an end of another kind.
        with self._lock:
            self._ends[sock] = time.monotonic() + seconds
            if self._closed.is_set():
                _shutdown(sock)
            if not self._watched:
                self._watched = True
                threading.Thread(target=self._cut_overdue, name="redraft-endpoint-watch", daemon=True).start()

        def over() -> None:
            with self._lock:
                self._ends.pop(sock, None)
            sock.close()

        held.callback(over)

    def _cut_overdue(self) -> None:
        """Cut connections whose time is over, until there are none: one thread for all, since starting one for each
        question costs as much as a tenth of the question."""
        while True:
            time.sleep(_WATCH_SECONDS)
            with self._lock:
                if not self._ends:
                    self._watched = False
                    return
                now = time.monotonic()
                for sock in [sock for sock, end in self._ends.items() if end <= now]:
                    _shutdown(sock)

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self._address.scheme == "http":
            return http.client.HTTPConnection(self._address.host, self._address.port, timeout=timeout)
        return http.client.HTTPSConnection(self._address.host, self._address.port, timeout=timeout)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
        return {**headers, "Authorization": f"Bearer {self._key}"} if self._key else headers

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        declared = response.length or 0
        while size <= MAX_REPLY_BYTES and declared <= MAX_REPLY_BYTES:
            part = response.read(65536)
            if not part:
                if response.length:
                    raise http.client.IncompleteRead(b"")
                return b"".join(parts)
            parts.append(part)
            size += len(part)
        raise self._error(
            f"the server's reply is longer than {MAX_REPLY_BYTES >> 20} MB.",
            "Check that this is a chat server's address.",
        )

    def _classify(self, error: Exception, overdue: bool) -> Exception:
        """What a failed try means for a person."""
        running = "Check that the server runs and that the address is right"
        if overdue or isinstance(error, TimeoutError):
            what = f"the server did not answer within {self._retry.timeout:g} s"
            return _TransientError(what, f"{running}; or give it more time: --endpoint-timeout SECONDS.", slow=True)
        if type(error).__name__ == "SSLCertVerificationError":
            return self._error("the server's certificate is not trusted.", "Check the address and the certificate.")
        if isinstance(error, socket.gaierror):
            return _TransientError("the server's name is not known", f"{running}.")
        if isinstance(error, ConnectionRefusedError):
            return _TransientError("nothing answers at this address", f"{running}.")
        if isinstance(error, http.client.HTTPException | ValueError) and not isinstance(
            error, http.client.RemoteDisconnected | http.client.IncompleteRead
        ):
            return _TransientError("what answers there does not speak HTTP", f"{running}.")
        return _TransientError("the connection was lost", f"{running}.")

    def _accept(self, response: Response, headers: Mapping[str, str]) -> dict[str, Any]:
        status = response.status
        if 200 <= status < 300 and response.document is not None:
            return response.document
        if 200 <= status < 300:
            raise self._error(
                "the server's reply is a web page, no JSON object.",
                "Check that the address is that of a chat server, with /v1 at its end.",
            )
        if 300 <= status < 400:
            target = self._redirect_host(headers.get("location", ""))
            raise self._error(
                f"the server sends questions on to {target}; they were not sent there.",
                "Use the address that it names, if you trust it.",
            )
        raise self._refusal(response)

    def _refusal(self, response: Response) -> Exception:
        """What a status of 400 or more says."""
        status, said = response.status, self._error_text(response)
        if status == 402 or (response.is_quota and status == 429):
            return self._error(
                f"the server's account has nothing left ({status}{said}).",
                "Check the plan of the account, or name another server or model.",
            )
        if status == 403 and "model_not_found" in response.code:
            return self._error(f"the server refuses this model ({status}{said}).", "Check the name of the model.")
        if status == 401 or (status == 403 and not response.feature):
            return self._error(
                f"the server refuses access ({status}{said}).",
                "Name the environment variable that holds the right key: --endpoint-key-env NAME.",
            )
        if status in (404, 405) and not (response.feature or _REQUESTED.search(response.message)):
            return self._error(
                f"the server has no such model or path ({status}{said}).",
                "Check the name of the model, and that the address ends like .../v1.",
            )
        return HTTPStatusError(status, said.removeprefix(": "))

    def _exhausted(self, response: Response, times: int) -> EndpointError:
        if response.status < 300:
            return self._error(
                f"the server's reply is no JSON object, {times} times.",
                "Check that the address is that of a chat server, with /v1 at its end.",
            )
        return self._error(
            f"the server answered {response.status}{self._error_text(response)}, {times} times.",
            "Wait until the server has room, or see its own log.",
        )

    def _error_text(self, response: Response) -> str:
        """The server's own words on a failure, as ": words"; "" where it has none."""
        words = " ".join(self.redact(response.message).replace("\u200b", "").split())
        return f": {truncate(words, _MAX_MESSAGE_CHARS)}" if words else ""

    def _redirect_host(self, location: str) -> str:
        try:
            parts = urlsplit(self.redact(location))
            host = parts.hostname or str(self._address.host)
        except ValueError:
            return "another place"
        return truncate(f"{parts.scheme or self._address.scheme}://{host}", 100)

    def _error(self, what: str, next_step: str) -> EndpointError:
        return EndpointError(what, where=str(self._address), next_step=next_step)


class _TransientError(Exception):
    """A failure that may pass by itself; `slow` ones are tried once more only."""

    def __init__(self, what: str, next_step: str, slow: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step
        self.slow = slow


def sanitize_without_key(text: str, key: str) -> str:
    """The text, cleaned, with the key taken out, also where invisible characters stand between its letters; cleaning
    comes first, since it takes most of them out."""
    text = sanitize(text)
    return re.sub("\u200b*".join(map(re.escape, key)), "[key]", text) if len(key) >= 4 else text


def _is_transient(response: Response) -> bool:
    """Whether the same request may succeed later."""
    if 200 <= response.status < 300:
        return response.document is None and not response.is_html
    if response.status >= 500 and response.status != _NOT_IMPLEMENTED:
        return not response.feature  # an error that names a part of the request stays while that part does
    return response.status in _RETRYABLE and not response.is_quota


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: milliseconds, a number, or a date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if seconds == seconds:
            return max(0.0, seconds)
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _shutdown(sock: socket.socket) -> None:
    """End a connection that another thread reads from."""
    with contextlib.suppress(OSError):  # it is over already
        # The plain socket's own method: that of a TLS socket would take its state from under the thread that reads.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
