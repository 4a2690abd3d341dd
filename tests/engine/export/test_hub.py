"""`push` makes one commit of adapter and card on a hub that a local server plays, and sends nothing on a dry run."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from export_samples import report

from engine.errors import EndpointError, InputError
from engine.export.hub import CARD, plan, push
from engine.export.model_card import model_card

TOKEN = "hf_" + "a" * 34


class Hub:
    """A server with the few routes of the hub that an upload takes.

    Attributes:
        requests: (method, path, token) of each request.
        files: name -> bytes of what was committed.
        refuse: status to answer every request with; 0 accepts them.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []
        self.files: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}
        self.created: dict[str, Any] = {}
        self.refuse = 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hub.requests.append((self.command, self.path, self.headers.get("Authorization") or ""))
                status, value = (hub.refuse, {"error": "no"}) if hub.refuse else (200, hub.route(self.path, body))
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def route(self, path: str, body: bytes) -> Any:
        """The hub's answer to a request."""
        path = path.partition("?")[0]
        if path == "/api/repos/create":
            self.created = json.loads(body)
            return {"url": f"{self.url}/me/small"}
        if path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            return {
                "files": [
                    {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith("safetensors") else "regular",
                     "shouldIgnore": False} for f in files
                ]
            }  # fmt: skip
        if path.endswith("/info/lfs/objects/batch"):
            wanted = json.loads(body)["objects"]
            return {
                "transfer": "basic",
                "objects": [
                    {**one, "actions": {"upload": {"href": f"{self.url}/store/{one['oid']}"}}} for one in wanted
                ],
            }
        if path.startswith("/store/"):
            self.objects[path.rpartition("/")[2]] = body
            return {}
        if path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    self.files[value["path"]] = self.objects[value["oid"]]
            return {"success": True, "commitUrl": f"{self.url}/me/small/commit/abc", "commitOid": "abc"}
        return {"sha": "0", "siblings": [], "id": "me/small"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    import huggingface_hub.constants as constants
    import huggingface_hub.hf_api as api

    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(api.constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def adapter_run(tiny: Callable[..., Path], trained_run: Callable[[Path], Path]) -> Path:
    """A run with an adapter and a report."""
    run = trained_run(tiny("llama"))
    (run / "report.json").write_text(json.dumps(report()))
    return run


def test_one_commit_holds_adapter_and_card(hub: Hub, adapter_run: Path) -> None:
    address = push(plan(adapter_run, "me/small", private=True))
    assert address.endswith("me/small")
    assert set(hub.files) == {CARD, "adapter_config.json", "adapter_model.safetensors"}
    adapter = adapter_run / "adapter"
    assert hub.files["adapter_model.safetensors"] == (adapter / "adapter_model.safetensors").read_bytes()
    assert b"Improvement not confirmed" in hub.files[CARD]
    assert sum(path.partition("?")[0].endswith("/commit/main") for _, path, _ in hub.requests) == 1
    assert hub.created.get("private") or hub.created.get("visibility") == "private"
    assert all(token == f"Bearer {TOKEN}" for method, _, token in hub.requests if method == "POST")


def test_a_dry_run_sends_nothing_and_needs_no_token(
    hub: Hub, adapter_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    upload = plan(adapter_run, "me/small")
    assert set(upload.files) == {CARD, "adapter_config.json", "adapter_model.safetensors"}
    assert hub.requests == []


def test_a_missing_token_is_named_before_anything_is_sent(
    hub: Hub, adapter_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(InputError, match="HF_TOKEN"):
        push(plan(adapter_run, "me/small"))
    assert hub.requests == []


def test_a_token_that_may_not_write_is_said_without_showing_it(hub: Hub, adapter_run: Path) -> None:
    hub.refuse = 403
    with pytest.raises(InputError, match="HTTP 403") as caught:
        push(plan(adapter_run, "me/small"))
    assert TOKEN not in str(caught.value)


def test_a_hub_that_refuses_is_an_endpoint_error(hub: Hub, adapter_run: Path) -> None:
    hub.refuse = 400
    with pytest.raises(EndpointError, match="HTTP 400"):
        push(plan(adapter_run, "me/small"))


@pytest.mark.parametrize("name", ["small", "me/small/more", "me/sm all", "../x"])
def test_a_name_that_is_none_is_refused(adapter_run: Path, name: str) -> None:
    with pytest.raises(InputError, match="not a repository's name"):
        plan(adapter_run, name)


def test_the_adapter_names_its_base_as_the_hub_knows_it(adapter_run: Path) -> None:
    record = json.loads((adapter_run / "run.json").read_text())
    record["config"]["generator"] = "smollm2-135m-instruct"
    (adapter_run / "run.json").write_text(json.dumps(record))
    upload = plan(adapter_run, "me/small")
    config = json.loads(upload.content("adapter_config.json"))
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.mark.parametrize(
    ("taught", "words"),
    [
        (0, "the better and the worse ones became preference pairs. A LoRA"),
        (1, "written answers that came with the prompts became preference pairs with them"),
    ],
)
def test_the_card_says_where_the_pairs_come_from(run: Path, taught: int, words: str) -> None:
    data = json.loads((run / "report.json").read_text())
    (run / "report.json").write_text(json.dumps({**data, "pairs": {**data["pairs"], "demonstrations": taught}}))
    assert words in model_card(run)


def test_the_card_holds_verdict_judge_limits_and_no_text_of_the_run(run: Path) -> None:
    card = model_card(run)
    head = yaml.safe_load(card.split("---")[1])
    assert head["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert head["license"] == "apache-2.0"
    for words in (
        "**Improvement not confirmed**",
        "| score | 0.900 | 0.300 | -0.900 to -0.200 | 4 |",
        "- [ ] score: Score 0.90 → 0.30. (needs about 2 more held-out prompts)",
        "Judge: panel (AUROC .94)",
        "A change of the score below 0.70 could not have been detected.",
    ):
        assert words in card
    assert "ladder" not in card
    assert "<script>" not in card
