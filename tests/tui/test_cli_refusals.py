"""What is refused before anything is written, and rows without a text: cases after public bug reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from chat_server import send, serving
from safetensors.torch import load_file, save_file

from engine.prompts import load_prompts
from tui.cli import main

pytestmark = pytest.mark.usefixtures("redraft_home")


def refused(capfd: pytest.CaptureFixture[str], out: Path, *arguments: object) -> tuple[int, str]:
    """Exit code and message of a run that must leave its folder `out` unmade."""
    code = main(["run", *map(str, arguments), "--judge", "rules", "--output", str(out)])
    assert not out.exists()
    return code, capfd.readouterr().err


@pytest.mark.parametrize("quantization", ["gptq", "awq", "mxfp4"])
def test_quantized_weights_are_refused_before_a_run_folder_is_made(
    tiny: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], quantization: str
) -> None:
    model = copied(tiny("llama"), tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    config["quantization_config"] = {"quant_method": quantization, "load_in_8bit": True}
    (model / "config.json").write_text(json.dumps(config))
    save_file({"x": next(iter(load_file(model / "model.safetensors").values()))}, model / "model.safetensors")
    code, message = refused(capfd, tmp_path / "out", "--generator", model)
    assert code == 3
    assert "quantized" in message
    assert "GGUF" in message


@pytest.mark.parametrize("below", ["x", "x/y"])
def test_a_folder_below_a_file_is_refused_by_the_name_of_the_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], below: str
) -> None:
    (tmp_path / "notes").write_text("")
    code, message = refused(capfd, tmp_path / "notes" / below)
    assert code == 2
    assert f"{tmp_path / 'notes'} is a file" in message
    assert "journal" not in message


def test_a_folder_that_cannot_be_written_is_refused_before_anything_begins(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    code, message = refused(capfd, tmp_path / "out")
    assert (code, f"nothing can be written in {tmp_path}: there is no permission." in message) == (4, True)


@pytest.mark.parametrize("row", [{"prompt": "a", "rejected": "b"}, {"prompt": "a", "chosen": "b", "rejected": "b"}])
@pytest.mark.parametrize("named", [True, False])
def test_pairs_that_hold_none_leave_no_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], redraft_home: Path, row: dict[str, str], named: bool
) -> None:
    (tmp_path / "pairs.jsonl").write_text((json.dumps(row) + "\n") * 2)
    place = ["--output", str(tmp_path / "out")] if named else []
    assert main(["run", "--pairs", str(tmp_path / "pairs.jsonl"), "--judge", "rules", *place]) == 2
    assert "pairs.jsonl, line 1" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
    assert not list((redraft_home / "data").glob("runs/*"))


@pytest.mark.parametrize("made", [True, False])
def test_weights_that_are_not_finite_leave_no_run(
    tiny: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], made: bool
) -> None:
    model = copied(tiny("llama", max_position_embeddings=8192), tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    out = tmp_path / "out"
    if made:
        out.mkdir()
    code = main(["run", "-g", str(model), "--judge", "rules", "--output", str(out)])
    assert code == 3
    assert "model.norm.weight" in capfd.readouterr().err
    assert out.exists() is made
    assert not made or not list(out.iterdir())


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_server_that_refuses_the_first_question_leaves_no_run(
    tiny: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], redraft_home: Path, where: str
) -> None:
    model = tiny("llama", max_position_embeddings=8192)
    place = ["--output", str(tmp_path / "out")] if where == "here" else []
    with serving(lambda question, connection: send(connection, {}, 401)) as server:
        judge = ["--judge", "endpoint", "--endpoint", server.url, "--endpoint-model", "m"]
        code = main(["run", "-g", str(model), *judge, *place])
    assert code == 5
    message = capfd.readouterr().err
    assert "redraft resume" not in message
    assert "--endpoint-key-env" in message
    assert not (tmp_path / "out").exists()
    assert not list((redraft_home / "data").glob("runs/*"))


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module."])
def test_weights_of_a_wrapped_model_are_refused_before_a_run_folder_is_made(
    tiny: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], prefix: str
) -> None:
    model = copied(tiny("llama"), tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, model / "model.safetensors")
    code, message = refused(capfd, tmp_path / "out", "--generator", model)
    assert code == 3
    assert f"'{prefix}'" in message
    assert "save_pretrained" in message


def test_a_local_file_is_not_taken_for_a_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    Path("models/noext").write_bytes(b"GGUF\0\0\0\0")
    for role in ("--generator", "--critic"):
        code, message = refused(capfd, tmp_path / "out", role, "models/noext")
        assert code == 3
        assert "models/noext: This is a file, but not one whose name ends in .gguf" in message
        assert "hub" not in message


def test_a_row_whose_text_is_null_has_no_verdict_and_leaves_the_others_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": "1", "text": "You must obey me."}, {"id": "2", "text": None}, {"id": "3", "text": "Six minutes."}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["eval", str(tmp_path / "rows.jsonl"), "--judge", "rules", "--json"]) == 0
    found = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(row["id"], row["flagged"]) for row in found] == [("1", True), ("2", None), ("3", False)]
    assert found[1]["note"]
    (tmp_path / "rows.jsonl").write_text('{"id": "1", "txt": "x"}\n')
    assert main(["eval", str(tmp_path / "rows.jsonl"), "--judge", "rules"]) == 2
    assert "there is no text; the fields are: id, txt" in capfd.readouterr().err


def test_a_prompt_that_is_null_is_named_as_such(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": null}\n')
    code, message = refused(capfd, tmp_path / "out", "--train-prompts", tmp_path / "prompts.jsonl")
    assert code == 2
    assert "prompts.jsonl, line 1, field 'prompt': the prompt is null." in message
    # Beside rows that can be asked it is skipped, and the run says so.
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a?"}\n{"prompt": null}\n')
    assert "1 row skipped: line 2: the prompt is null" in load_prompts(tmp_path / "prompts.jsonl").notices[0]


def copied(model: Path, to: Path) -> Path:
    """A model folder that may be changed."""
    to.mkdir()
    for file in model.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to
