"""Fetching from the hub, against a server of the test's own; no test reaches for the network."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ModelError, StorageError
from engine.models.hub import download
from engine.models.hub.catalog import Source
from engine.models.local import load_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """What the server answers: the files of `folder` as the model "someone/model", or an error for everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []

    def answer(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        path = request.path.partition("?")[0]
        self.asked.append(path)
        name = path.rpartition("/")[2]
        status, headers, data = self.status, dict(self.headers), b"{}"
        if status == 200 and path.startswith("/api/models/"):
            found = sorted(self.folder.iterdir())
            files = [{"rfilename": p.name, "size": p.stat().st_size} for p in found]
            model = {"_id": "1", "id": "someone/model", "sha": COMMIT, "siblings": files, "tags": [], "downloads": 0}
            tree = [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": "0"} for p in found]
            data = json.dumps(tree if "/tree/" in path else {**model, "private": False, "likes": 0}).encode()
            headers["Content-Type"] = "application/json"
        elif status == 200 and (self.folder / name).exists():
            data = (self.folder / name).read_bytes()
            headers |= {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        elif status == 200:
            status = 404
        request.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            request.send_header(key, value)
        request.end_headers()
        if body:
            request.wfile.write(data)


@pytest.fixture
def server(
    tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redraft_home: Path
) -> Iterator[Hub]:
    from huggingface_hub import constants

    folder = Path(shutil.copytree(tiny("llama"), tmp_path / "served"))
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "modeling_evil.py").write_text("raise SystemExit")
    served = Hub(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self, True)

        def do_HEAD(self) -> None:
            served.answer(self, False)

        def log_message(self, *_: Any) -> None:
            return None

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{http.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield served
    http.shutdown()
    http.server_close()


SOURCE = Source("hub", "someone/model", "someone/model")


def test_only_safetensors_config_and_tokenizer_are_fetched(server: Hub) -> None:
    told: list[tuple[float, str]] = []
    place = download.fetch(SOURCE, lambda fraction, sentence: told.append((fraction, sentence)))
    names = {path.name for path in place.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not any(name.endswith((".bin", ".py")) for name in names)
    assert told[-1][0] > 0.5
    assert "someone/model" in told[-1][1]


def test_a_fetched_model_is_loaded_again_without_a_network(server: Hub) -> None:
    model = load_model("someone/model")
    assert model.name == "someone/model"
    server.status = 500
    asked = len(server.asked)
    assert load_model("someone/model").sha256 == model.sha256
    assert len(server.asked) == asked


def test_a_model_of_pickles_is_refused_before_anything_is_fetched(server: Hub) -> None:
    (server.folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no safetensors files.*\.bin"):
        download.fetch(SOURCE, lambda *_: None)


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (404, "RepoNotFound", "no model someone/model on the hub"),
        (404, "RevisionNotFound", "no model someone/model on the hub"),
        (401, "RepoNotFound", "no model someone/model on the hub"),
        (403, "GatedRepo", "HF_TOKEN"),
        (503, "", "503"),
    ],
)
def test_what_the_hub_refuses_is_said_in_a_sentence(server: Hub, status: int, code: str, says: str) -> None:
    server.status = status
    server.headers = {"X-Error-Code": code}
    with pytest.raises(ModelError, match=says):
        download.fetch(SOURCE, lambda *_: None)


def test_a_model_larger_than_the_disk_is_not_begun(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000))
    with pytest.raises(StorageError, match=r"needs .* GB.*HF_HOME"):
        download.fetch(SOURCE, lambda *_: None)


def test_without_a_network_the_sentence_says_what_to_do(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"could not be reached.*give its path.*smollm2-135m-instruct"):
        download.fetch(SOURCE, lambda *_: None)
