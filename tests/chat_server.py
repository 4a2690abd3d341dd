"""A chat server on loopback that does what a test tells it, byte by byte: real sockets, real HTTP, no model."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Question:
    """What came in."""

    number: int
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """The text that is to be judged."""
        return str(json.loads(self.body["messages"][-1]["content"])["text"])


Answer = Callable[[Question, socket.socket], None]


@dataclass
class ChatServer:
    """Answers each connection with `answer` in a thread of its own.

    Args:
        answer: writes to the socket; closing is done for it.
        tls: of a server that speaks https.
    """

    answer: Answer
    tls: ssl.SSLContext | None = None
    questions: list[Question] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/v1"

    def close(self) -> None:
        """Vanish: nothing answers at the port any more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with plain, contextlib.suppress(OSError):
            connection = self.tls.wrap_socket(plain, server_side=True) if self.tls else plain
            file = connection.makefile("rb")
            line = file.readline().decode()
            headers = {}
            while (header := file.readline().decode().strip()) != "":
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            sent = file.read(int(headers.get("content-length", 0)))
            body = json.loads(sent) if sent else {}  # a GET has none
            with self._lock:
                question = Question(len(self.questions) + 1, line.split()[1], headers, body)
                self.questions.append(question)
            try:
                self.answer(question, connection)
            finally:
                connection.close()


def send(connection: socket.socket, document: Any, status: int = 200, headers: str = "") -> None:
    """A whole reply; `document` as JSON, or bytes as they are."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    connection.sendall(head.encode() + body)


def chat(content: Any, **choice: Any) -> dict[str, Any]:
    """A completion with these words."""
    return {"choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop", **choice}]}


def verdict(*broken: str, reasoning: str = "It says so.") -> str:
    """The answer of a model that judges by the default constitution."""
    names = ("harm_prevention", "truthfulness", "fairness", "autonomy_respect")
    return json.dumps({**{name: name in broken for name in names}, "Reasoning": reasoning})


def honest(question: Question, connection: socket.socket) -> None:
    """Flags autonomy_respect wherever the text says "must"."""
    send(connection, chat(verdict(*["autonomy_respect"] * ("must" in question.text))))


@contextlib.contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[ChatServer]:
    """A server for the length of a block."""
    server = ChatServer(answer, tls)
    try:
        yield server
    finally:
        server.close()
