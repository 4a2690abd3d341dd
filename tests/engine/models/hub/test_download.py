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

WEIGHTS = "model.safetensors"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """What the server answers: the files of `folder` as the model "someone/model", or an error for everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []
        self.ranges: list[str] = []
        self.tokens: set[str] = set()
        self.cuts = 0
        """How many of the next answers with weights break off in the middle."""
        self.flip = False
        """Send other weights than the listing says, of the same size."""

    def answer(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        path = request.path.partition("?")[0]
        self.asked.append(path)
        self.tokens.add(request.headers.get("Authorization") or "")
        name = path.rpartition("/")[2]
        status, headers, data = self.status, dict(self.headers), b"{}"
        if status == 200 and path.startswith("/api/models/"):
            found = sorted(self.folder.iterdir())
            files = [self.listed(p) for p in found]
            model = {"_id": "1", "id": "someone/model", "sha": COMMIT, "siblings": files, "tags": [], "downloads": 0}
            tree = [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": "0"} for p in found]
            data = json.dumps(tree if "/tree/" in path else {**model, "private": False, "likes": 0}).encode()
            headers["Content-Type"] = "application/json"
        elif status == 200 and (self.folder / name).exists():
            data = (self.folder / name).read_bytes()
            headers |= {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
            if name == WEIGHTS and self.flip:
                data = data[:-1] + bytes([data[-1] ^ 1])
            if asked := request.headers.get("Range"):
                self.ranges.append(asked)
                start = int(asked.removeprefix("bytes=").partition("-")[0])
                status, headers["Content-Range"] = 206, f"bytes {start}-{len(data) - 1}/{len(data)}"
                data = data[start:]
        elif status == 200:
            status = 404
        request.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            request.send_header(key, value)
        request.end_headers()
        if body and name == WEIGHTS and self.cuts:
            self.cuts -= 1
            request.wfile.write(data[: len(data) // 2])
            request.close_connection = True
        elif body:
            request.wfile.write(data)

    def listed(self, path: Path) -> dict[str, Any]:
        """A file as the hub lists it."""
        size = path.stat().st_size
        large = {"size": size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "pointerSize": 130}
        return {"rfilename": path.name, "size": size, **({"lfs": large} if path.name == WEIGHTS else {})}


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
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)
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


def test_a_download_that_is_cut_goes_on_where_it_stopped(
    server: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    server.cuts = 1
    told: list[float] = []
    place = download.fetch(SOURCE, lambda fraction, _sentence: told.append(fraction))
    assert (place / WEIGHTS).read_bytes() == (server.folder / WEIGHTS).read_bytes()
    assert len(server.ranges) == 1
    assert not server.ranges[0].startswith("bytes=0-")
    assert capfd.readouterr() == ("", "")
    assert told[-1] == pytest.approx(1.0, abs=0.01)


def test_what_was_fetched_before_a_failure_is_kept_for_the_next_try(
    server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    server.cuts = 100
    with pytest.raises(ModelError, match="what was fetched is kept"):
        download.fetch(SOURCE, lambda *_: None)
    assert download.cached(SOURCE) is None
    server.cuts = 0
    told: list[float] = []
    download.fetch(SOURCE, lambda fraction, _sentence: told.append(fraction))
    assert int(server.ranges[-1].removeprefix("bytes=").partition("-")[0]) > 0
    assert told[-1] == pytest.approx(1.0, abs=0.01)


def test_a_file_with_another_checksum_is_refused_and_fetched_again(server: Hub) -> None:
    server.flip = True
    with pytest.raises(StorageError, match=r"model.safetensors was damaged on its way"):
        download.fetch(SOURCE, lambda *_: None)
    assert download.cached(SOURCE) is None
    server.flip = False
    place = download.fetch(SOURCE, lambda *_: None)
    assert (place / WEIGHTS).read_bytes() == (server.folder / WEIGHTS).read_bytes()


def test_a_revision_is_asked_for_by_name_and_otherwise_said(server: Hub) -> None:
    model = load_model("someone/model")
    assert any(f"someone/model@{COMMIT}" in notice for notice in model.notices)
    pinned = load_model(f"someone/model@{COMMIT}")
    assert not any(COMMIT[:12] in notice for notice in pinned.notices)
    asked = len(server.asked)
    download.fetch(Source("hub", "someone/model", "someone/model", "v1"), lambda *_: None)
    assert any("revision/v1" in path or "/v1/" in path for path in server.asked[asked:])


def test_the_token_comes_from_the_environment(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "b" * 34)
    download.fetch(SOURCE, lambda *_: None)
    assert server.tokens == {"Bearer hf_" + "b" * 34}


def test_offline_mode_asks_nothing_and_says_so(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        download.fetch(SOURCE, lambda *_: None)
    assert not server.asked
