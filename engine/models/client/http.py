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
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from engine.errors import EndpointError, InputError
from engine.text import sanitize, truncate

LARGEST = 4 << 20
"""Bytes of a reply that are read: a verdict has a few thousand."""
_REPEATED = frozenset({408, 425, 429})
_NEVER = 501  # "not implemented" is the one 5xx that the next try will not change
_LONGEST_WAIT = 30.0
_FIRST_WAIT = 0.5
_SHOWN = 200


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
        raise InputError("this is no address of a server.", where=where, next_step=example)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InputError("this is no address of a server.", where=where, next_step=example) from None
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
class Patience:
    """How long a server is waited for.

    Args:
        timeout: seconds for one try, from the connection to the last byte.
        tries: how often something is asked in all, where the failure may pass by itself.
        first_wait: seconds before the second try; doubled each time, and what the server itself asks for is kept to.
    """

    timeout: float = 60.0
    tries: int = 6
    first_wait: float = _FIRST_WAIT


class Refused(Exception):
    """The server understood and said no: `status` 4xx or 501, and its `message` (cleaned, without the key)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message


class Line:
    """Asks one server, one question at a time; several may be used side by side. `hang_up` ends what is in the air.

    Args:
        address: of the server.
        key: sent as bearer token; "" for none. It is taken out of everything that comes back.
        patience: how long to wait.
    """

    def __init__(self, address: Address, key: str, patience: Patience) -> None:
        self._address = address
        self._key = key
        self._patience = patience
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def hang_up(self) -> None:
        """Cut all connections; questions that wait give up."""
        self._ended.set()
        with self._lock:
            for sock in self._open:
                _cut(sock)

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one question; what may pass by itself (429, 5xx, a lost connection) is tried again.

        Raises:
            Refused: with another 4xx than that.
            EndpointError: nothing usable came, after all tries.
        """
        data = json.dumps(body, ensure_ascii=True).encode("ascii")
        wait = self._patience.first_wait
        for number in range(1, self._patience.tries + 1):
            try:
                status, headers, reply = self._once(path, data)
            except _Passing as failure:
                if number == self._patience.tries or (failure.slow and number > 1):
                    raise self._error(f"{failure.what}, in {number} of {number} tries.", failure.next_step) from None
                self._pause(wait)
            else:
                garbage = 200 <= status < 300 and _document(reply) is None
                if not (garbage or status in _REPEATED or (status >= 500 and status != _NEVER)):
                    return self._taken(status, headers, reply)
                if number == self._patience.tries:
                    raise self._useless(status, reply, number)
                asked = _retry_after(headers.get("retry-after"))
                self._pause(wait if asked is None else min(asked, _LONGEST_WAIT))
            wait = min(2 * wait, _LONGEST_WAIT)
        raise AssertionError("unreachable")

    def shown(self, text: str) -> str:
        """What a server said, made safe to store and to show, without the key."""
        return without_key(text, self._key)

    def _pause(self, seconds: float) -> None:
        if self._ended.wait(seconds):
            raise self._error("the question was given up.", "")

    def _once(self, path: str, data: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """One try: status, headers with names in lower case, body.

        Raises:
            _Passing: nothing whole came back, and it may the next time.
            EndpointError: it will not the next time either.
        """
        timeout = self._patience.timeout
        began = time.monotonic()
        with contextlib.ExitStack() as held:
            connection = self._connection(timeout)
            held.callback(connection.close)
            try:
                connection.connect()
                self._watch(connection.sock, max(0.01, timeout - (time.monotonic() - began)), held)
                connection.request("POST", f"{self._address.path}{path}", data, self._headers())
                response = held.enter_context(connection.getresponse())
                body = self._read(response)
                if time.monotonic() - began >= timeout:
                    raise TimeoutError
                return response.status, {name.lower(): value for name, value in response.getheaders()}, body
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise self._failure(error, time.monotonic() - began >= timeout) from None

    def _watch(self, sock: socket.socket, seconds: float, held: contextlib.ExitStack) -> None:
        """Cut this connection after so many seconds, or where `hang_up` is called, until `held` ends."""
        with self._lock:
            self._open.add(sock)
            if self._ended.is_set():
                _cut(sock)
        # A timeout of the socket counts from the last byte; a server that drips needs an end of another kind.
        watch = threading.Timer(seconds, _cut, (sock,))
        watch.daemon = True
        watch.start()

        def over() -> None:
            watch.cancel()
            with self._lock:
                self._open.discard(sock)
            sock.close()

        held.callback(over)

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
        while size <= LARGEST and declared <= LARGEST:
            part = response.read(65536)
            if not part:
                if response.length:
                    raise http.client.IncompleteRead(b"")
                return b"".join(parts)
            parts.append(part)
            size += len(part)
        raise self._error(
            f"the server's reply is longer than {LARGEST >> 20} MB.", "Check that the address is that of a chat server."
        )

    def _failure(self, error: Exception, overdue: bool) -> Exception:
        """What a failed try means for a person."""
        running = "Check that the server runs and that the address is right"
        if overdue or isinstance(error, TimeoutError):
            what = f"the server did not answer within {self._patience.timeout:g} s"
            return _Passing(what, f"{running}; or give it more time: --endpoint-timeout SECONDS.", slow=True)
        if type(error).__name__ == "SSLCertVerificationError":
            return self._error("the server's certificate is not trusted.", "Check the address and the certificate.")
        if isinstance(error, socket.gaierror):
            return _Passing("the server's name is not known", f"{running}.")
        if isinstance(error, ConnectionRefusedError):
            return _Passing("nothing answers at this address", f"{running}.")
        if isinstance(error, http.client.HTTPException | ValueError) and not isinstance(
            error, http.client.RemoteDisconnected | http.client.IncompleteRead
        ):
            return _Passing("what answers there does not speak HTTP", f"{running}.")
        return _Passing("the connection was lost", f"{running}; then go on with `redraft resume`.")

    def _taken(self, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        document = _document(body)
        if 200 <= status < 300 and document is not None:
            return document
        if 300 <= status < 400:
            target = self._target(headers.get("location", ""))
            raise self._error(
                f"the server sends questions on to {target}; they were not sent there.",
                "Give the address that it names, if you trust it.",
            )
        if status in (401, 402, 403):
            raise self._error(
                f"the server refuses access ({status}{self._said(body)}).",
                "Name the environment variable that holds the right key: --endpoint-key-env NAME.",
            )
        if status in (404, 405):
            raise self._error(
                f"the server has no such model or path ({status}{self._said(body)}).",
                "Check the name of the model, and that the address ends like .../v1.",
            )
        raise Refused(status, self._said(body).removeprefix(": "))

    def _useless(self, status: int, body: bytes, times: int) -> EndpointError:
        if status < 300:
            return self._error(
                f"the server's reply is no JSON object, {times} times.",
                "Check that the address is that of a chat server, with /v1 at its end.",
            )
        return self._error(
            f"the server answered {status}{self._said(body)}, {times} times.",
            "Wait until the server has room, or see its own log; then go on with `redraft resume`.",
        )

    def _said(self, body: bytes) -> str:
        """The server's own words on a failure, as ": words"; "" where it has none."""
        document = _document(body)
        error = document.get("error", document.get("detail", document.get("message"))) if document else None
        if isinstance(error, Mapping):
            error = error.get("message")
        words = " ".join(self.shown(error).split()) if isinstance(error, str) else ""
        return f": {truncate(words, _SHOWN)}" if words else ""

    def _target(self, location: str) -> str:
        try:
            parts = urlsplit(self.shown(location))
            host = parts.hostname or str(self._address.host)
        except ValueError:
            return "another place"
        return truncate(f"{parts.scheme or self._address.scheme}://{host}", 100)

    def _error(self, what: str, next_step: str) -> EndpointError:
        return EndpointError(what, where=str(self._address), next_step=next_step)


class _Passing(Exception):
    """A failure that may pass by itself; `slow` ones are tried once more only."""

    def __init__(self, what: str, next_step: str, slow: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step
        self.slow = slow


def without_key(text: str, key: str) -> str:
    """The text, cleaned, with the key taken out; cleaning comes first, since it can bring parted letters together."""
    text = sanitize(text)
    return text.replace(key, "[key]") if len(key) >= 4 else text


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _retry_after(value: str | None) -> float | None:
    """Seconds that a server asks to wait: a number, or a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value)) if float(value) == float(value) else None
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _cut(sock: socket.socket) -> None:
    """End a connection that another thread reads from."""
    with contextlib.suppress(OSError):  # it is over already
        # The plain socket's own method: that of a TLS socket would take its state from under the thread that reads.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
