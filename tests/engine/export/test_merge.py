"""A merged model computes what the base model computes with the adapter, and brings the base's own files."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import call
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine import paths
from engine.errors import InputError, ModelError
from engine.export import gguf_write
from engine.export.merge import MAX_DIFFERENCE, merge
from engine.models.hub import weights
from engine.models.hub.gguf import read_header
from engine.runs.folder import ADAPTER

Tiny = Callable[..., Path]
TOKENS = torch.tensor([[5, 80, 200, 3, 77, 12, 240, 9]])


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True, "attention_bias": True}),
        ("qwen2", {"tie_word_embeddings": True}),
        ("gpt2", {}),
        ("gemma", {}),
    ],
)
def test_a_merged_model_gives_the_logits_that_peft_gives(
    tiny: Tiny, trained_run: Callable[[Path], Path], tmp_path: Path, family: str, changes: dict[str, Any]
) -> None:
    model = tiny(family, **changes)
    run = trained_run(model)
    done = merge(run, tmp_path / "merged")
    assert done.difference < MAX_DIFFERENCE
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    plain = base(TOKENS).logits.detach()
    theirs: Any = PeftModel.from_pretrained(base, run / ADAPTER).eval()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    with torch.inference_mode():
        ours, expected = merged(TOKENS).logits, theirs(TOKENS).logits
    assert (ours - expected).abs().max() < MAX_DIFFERENCE
    assert (plain - expected).abs().max() > 0.1  # the adapter does something


def test_tied_embeddings_stay_tied(tiny: Tiny, trained_run: Callable[[Path], Path], tmp_path: Path) -> None:
    merge(trained_run(tiny("qwen2", tie_word_embeddings=True)), tmp_path / "merged")
    with safe_open(tmp_path / "merged" / weights.SINGLE, "pt") as file:
        assert "lm_head.weight" not in file.keys()  # noqa: SIM118 - not a mapping
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_template_tokenizer_and_generation_config_are_the_bases(
    tiny: Tiny, trained_run: Callable[[Path], Path], tmp_path: Path
) -> None:
    model = Path(shutil.copytree(tiny("llama"), tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    assert config.pop("architectures") == ["LlamaForCausalLM"]
    (model / "config.json").write_text(json.dumps(config))  # as in the converted embedded model
    (model / "generation_config.json").write_text('{"eos_token_id": [2, 0], "temperature": 0.3}')
    (model / "LICENSE").write_text("free")
    merge(trained_run(model), tmp_path / "merged")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json", "LICENSE"):
        assert (tmp_path / "merged" / name).read_bytes() == (model / name).read_bytes(), name
    written = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert written["architectures"] == ["LlamaForCausalLM"]
    chat = [{"role": "user", "content": "why?"}]
    one, other = (AutoTokenizer.from_pretrained(folder) for folder in (model, tmp_path / "merged"))
    assert one.apply_chat_template(chat) == other.apply_chat_template(chat)


def test_weights_are_written_in_the_dtype_asked_for(
    tiny: Tiny, trained_run: Callable[[Path], Path], tmp_path: Path
) -> None:
    done = merge(trained_run(tiny("llama")), tmp_path / "merged", dtype="bfloat16")
    assert done.dtype == "bfloat16"
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert {info.dtype for info in weights.header(tmp_path / "merged" / weights.SINGLE).values()} == {"BF16"}


def test_a_base_model_that_changed_since_the_run_is_refused(
    tiny: Tiny, trained_run: Callable[[Path], Path], tmp_path: Path
) -> None:
    model = Path(shutil.copytree(tiny("llama"), tmp_path / "model"))
    run = trained_run(model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    with pytest.raises(ModelError, match="has changed since the run"):
        merge(run, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    merge(run, tmp_path / "merged", force=True)


def test_a_merge_that_ends_while_it_writes_gguf_leaves_nothing_and_the_next_one_is_whole(
    tiny: Tiny, trained_run: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, target = trained_run(tiny("llama", max_position_embeddings=1024)), tmp_path / "my-model"
    copies = set((paths.cache_dir() / "models").glob("gguf/*"))

    def ended(_folder: Path, path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(gguf_write, "write", ended)
        assert call("merge", run, "-o", target, "--gguf", "F32").returncode == 130
    assert [path.name for path in tmp_path.iterdir() if "my-model" in path.name] == []
    found = json.loads(call("merge", run, "-o", target, "--gguf", "F32", "--json").stdout)
    (file,) = found["gguf"]
    assert (file["path"], file["answers"], file["same_answers"]) == (str(target / f"{run.name}-F32.gguf"), 3, 3)
    assert read_header(Path(file["path"])).metadata["general.name"] == "my-model"
    assert Path(found["modelfile"]).read_text().startswith(f"FROM ./{run.name}-F32.gguf\n")
    assert set((paths.cache_dir() / "models").glob("gguf/*")) == copies  # of a file that got another name


def test_a_family_without_gguf_is_refused_before_anything_is_written(
    tiny: Tiny, trained_run: Callable[[Path], Path], tmp_path: Path
) -> None:
    run = trained_run(tiny("gemma"))
    with pytest.raises(ModelError, match=r"Models of the family gemma cannot .* Merge without --gguf"):
        merge(run, tmp_path / "merged", gguf_kinds=["F16"])
    assert not (tmp_path / "merged").exists()


def test_nothing_that_is_there_is_overwritten(tiny: Tiny, trained_run: Callable[[Path], Path], tmp_path: Path) -> None:
    run, target = trained_run(tiny("llama")), tmp_path / "merged"
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="there is something already"):
        merge(run, target)
    assert [path.name for path in target.iterdir()] == ["mine.txt"]


def test_a_run_without_an_adapter_says_what_to_do(
    tiny: Tiny, trained_run: Callable[[Path], Path], tmp_path: Path
) -> None:
    run = trained_run(tiny("llama"))
    shutil.rmtree(run / ADAPTER)
    with pytest.raises(InputError, match="the run has no adapter"):
        merge(run, tmp_path / "merged")


def test_a_run_that_trained_an_adapters_folder_merges_both_adapters(
    tiny: Tiny, trained_run: Callable[..., Path], tmp_path: Path
) -> None:
    model = tiny("llama")
    first = Path(shutil.copytree(trained_run(model) / ADAPTER, tmp_path / "first"))
    run = trained_run(first, base=model, number=4)
    done = merge(run, tmp_path / "merged")
    assert done.difference < MAX_DIFFERENCE
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    once: Any = PeftModel.from_pretrained(base, first).merge_and_unload()
    theirs: Any = PeftModel.from_pretrained(once, run / ADAPTER).eval()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    with torch.inference_mode():
        assert (merged(TOKENS).logits - theirs(TOKENS).logits).abs().max() < MAX_DIFFERENCE
