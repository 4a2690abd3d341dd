"""A hub on loopback with one dataset, for tests of what reads datasets; no test reaches for the network."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
API = "/api/datasets/someone/questions"
FILES = {
    "train.jsonl": "".join(json.dumps({"question": f"Why {n}?", "number": n}) + "\n" for n in range(20)).encode(),
    "test.jsonl": b'{"question": "And how?"}\n',
}


class Hub(BaseHTTPRequestHandler):
    """The dataset "someone/questions", as the hub's API and its files; nothing else."""

    asked: ClassVar[list[str]] = []
    """Paths that were asked for."""

    def do_GET(self) -> None:
        self._answer(True)

    def do_HEAD(self) -> None:
        self._answer(False)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        status, headers, data = 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        name = path.partition("/resolve/")[2].partition("/")[2]
        if path.startswith(API):
            status, headers = 200, {"Content-Type": "application/json"}
            tree = [{"type": "file", "path": file, "size": len(held), "oid": "0"} for file, held in FILES.items()]
            info = {"id": "someone/questions", "sha": COMMIT, "siblings": [{"rfilename": file} for file in FILES]}
            data = json.dumps(tree if "/tree/" in path else info).encode()
        elif "/datasets/someone/questions/resolve/" in path:
            data = FILES.get(name, b"")
            status, headers = (200, {}) if data else (404, {"X-Error-Code": "EntryNotFound"})
            headers |= {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        elif name == "README.md":  # of a dataset that is not there: its commit is found first
            headers |= {"X-Repo-Commit": COMMIT}
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return None


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The address of such a hub."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str) -> None:
    """Let `datasets` ask this address, with a cache of the test's own."""
    import datasets
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name, value in {
        "HF_ENDPOINT": address, "HF_HUB_OFFLINE": False, "HF_DATASETS_OFFLINE": False,
        "HUB_DATASETS_URL": address + "/datasets/{repo_id}/resolve/{revision}/{path}",
    }.items():  # fmt: skip
        monkeypatch.setattr(datasets.config, name, value, raising=False)
    own_cache(monkeypatch, tmp_path)


def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let `datasets` keep its copies in a folder of the test's own."""
    import datasets

    for name in ("HF_DATASETS_CACHE", "DOWNLOADED_DATASETS_PATH", "HF_MODULES_CACHE"):
        monkeypatch.setattr(datasets.config, name, str(tmp_path / "cache" / name), raising=False)
