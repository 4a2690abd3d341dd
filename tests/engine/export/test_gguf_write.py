"""GGUF files that we write give the merged model's tokens, logits and texts, to our reader, gguf's and llama.cpp."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from gguf_files import LLAMA3

from engine.errors import InputError, ModelError
from engine.export import answers, gguf_vocab, gguf_write
from engine.export.modelfile import modelfile
from engine.models.hub import gguf, load
from engine.models.nn import families
from engine.models.nn.decoder import pack

Tiny = Callable[..., Path]


@pytest.fixture(autouse=True)
def home(redraft_home: Path) -> Path:
    return redraft_home


def logits(model: Any) -> torch.Tensor:
    decoder = families.from_transformers(model)
    tokens, positions = pack([[(7 * i + 3) % 250 for i in range(120)]])
    with torch.inference_mode():
        return decoder.logits(decoder.forward(tokens, positions, decoder.causal([120])).last)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
        ("llama", {"rope_parameters": LLAMA3}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}}),
        ("mistral", {}),
        ("qwen2", {"tie_word_embeddings": True}),
        ("qwen3", {"head_dim": 16}),
        ("gpt2", {}),
    ],
)
def test_a_written_file_has_its_models_logits(tiny: Tiny, tmp_path: Path, family: str, changes: dict[str, Any]) -> None:
    folder, path = tiny(family, **changes), tmp_path / "model.gguf"
    gguf_write.write(folder, path, "F32")
    difference = logits(load.read_gguf(path, "float32")) - logits(load.read_folder(folder, "float32"))
    assert difference.abs().max() < 1e-4


def test_a_scaling_that_llama_cpp_has_for_llama_alone_is_refused_for_others(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no rope scaling of the type llama3 for the architecture qwen2"):
        gguf_write.write(tiny("qwen2", rope_parameters=LLAMA3), tmp_path / "model.gguf", "F32")
    assert not (tmp_path / "model.gguf").exists()


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0"])
def test_a_quantized_file_holds_nearly_the_same_weights(tiny: Tiny, tmp_path: Path, kind: str) -> None:
    folder, path = tiny("llama"), tmp_path / "model.gguf"
    gguf_write.write(folder, path, kind)
    expected = load.read_folder(folder, "float32").state_dict()
    found = load.read_gguf(path, "float32").state_dict()
    assert found.keys() == expected.keys()
    least = 0.99 if kind == "Q4_0" else 0.9999
    for name, tensor in expected.items():
        both = torch.stack([tensor.flatten(), found[name].flatten()])
        assert torch.corrcoef(both)[0, 1] > least, name


def test_chat_template_and_end_token_are_inside(tiny: Tiny, tmp_path: Path) -> None:
    folder, path = tiny("llama"), tmp_path / "model.gguf"
    gguf_write.write(folder, path, "Q8_0")
    reader = GGUFReader(path)
    tokenizer = load.folder_tokenizer(folder)

    def value(key: str) -> Any:
        return reader.get_field(key).contents()  # type: ignore[union-attr]

    assert value("tokenizer.chat_template") == (folder / "chat_template.jinja").read_text()
    assert value("tokenizer.ggml.eos_token_id") == tokenizer.eos_token_id
    types = value("tokenizer.ggml.token_type")
    assert types[tokenizer.convert_tokens_to_ids("<|im_end|>")] == 3
    assert value("general.architecture") == "llama"


def test_a_turn_that_ends_with_another_token_than_the_text_is_named(tiny: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("llama"), tmp_path / "model"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": "<|endoftext|>"}))
    gguf_write.write(folder, tmp_path / "model.gguf", "F32")
    metadata = gguf.read_header(tmp_path / "model.gguf").metadata
    assert metadata["tokenizer.ggml.eos_token_id"] == 0
    assert metadata["tokenizer.ggml.eot_token_id"] == 2


def test_our_loader_writes_the_same_greedy_texts_from_folder_and_file(tiny: Tiny, tmp_path: Path) -> None:
    folder, path = tiny("llama", max_position_embeddings=1024), tmp_path / "model.gguf"
    gguf_write.write(folder, path, "F32")
    assert answers.compare(folder, path, exact=True) == answers.Agreement(3, 3)
    assert any(answers.greedy_answers(path))


def test_files_next_to_a_gguf_file_are_not_its_tokenizers(tiny: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("llama"), tmp_path / "model"))
    template = (folder / "chat_template.jinja").read_text()
    gguf_write.write(folder, folder / "model.gguf", "F32")
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer", "eos_token": "a"}))
    beside = load.gguf_tokenizer(folder / "model.gguf")
    assert beside.chat_template == template
    assert beside.eos_token == "<|im_end|>"
    chat = "<|im_start|>user\nwhy?<|im_end|>\n"
    assert beside.encode(chat)[0] == beside.convert_tokens_to_ids("<|im_start|>")


def test_another_model_in_the_file_is_an_error_where_numbers_are_exact(tiny: Tiny, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    gguf_write.write(tiny("llama"), path, "F32")
    with pytest.raises(ModelError, match="answers otherwise"):
        answers.compare(tiny("qwen2"), path, exact=True)


@pytest.mark.model
def test_the_embedded_models_way_to_split_texts_is_found(embedded: Any) -> None:
    found = gguf_vocab.read(embedded.folder, embedded.tokenizer, embedded.config.vocab_size, "llama")
    assert (found.model, found.pre, found.add_bos) == ("gpt2", "smollm", False)


def test_a_sentencepiece_tokenizer_is_read_back_as_it_was(tiny: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("llama", vocab_size=400), tmp_path / "model"))
    _write_sentencepiece(folder)
    tokenizer = load.folder_tokenizer(folder)
    found = gguf_vocab.read(folder, tokenizer, 400, "llama")
    assert found.model == "llama"
    gguf_write.write(folder, tmp_path / "model.gguf", "F32")
    ours = load.gguf_tokenizer(tmp_path / "model.gguf")
    for text in gguf_vocab.TEXTS:
        assert ours.encode(text, add_special_tokens=False) == tokenizer.encode(text, add_special_tokens=False)


def test_a_space_that_is_put_before_some_texts_only_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    """llama.cpp puts one before each text and after each special token, so it would read other tokens."""
    folder = Path(shutil.copytree(tiny("llama", vocab_size=400), tmp_path / "model"))
    _write_sentencepiece(folder, scheme="first")
    with pytest.raises(ModelError, match="splits texts in a way that has no name there"):
        gguf_write.write(folder, tmp_path / "model.gguf", "F32")


def _write_sentencepiece(folder: Path, scheme: str = "") -> None:
    """A tokenizer of Llama 2's kind: BPE on characters with bytes to fall back to.

    Args:
        scheme: by which a space is put before a text; "" for Llama 2's own way.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    raw = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if scheme:
        raw.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=False)
    else:
        raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    trainer = trainers.BpeTrainer(vocab_size=390, special_tokens=special[:3], show_progress=False)
    raw.train_from_iterator(["the question is what the answer should be, and why not"] * 8, trainer)
    model = json.loads(raw.to_str())
    for word in special[3:]:
        model["model"]["vocab"].setdefault(word, len(model["model"]["vocab"]))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(model)), unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.save_pretrained(folder)


def test_a_family_that_gguf_is_not_written_for_is_refused_by_name(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="family gemma"):
        gguf_write.write(tiny("gemma"), tmp_path / "model.gguf", "F16")
    assert not list(tmp_path.glob("*.gguf"))


def test_an_unknown_type_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="unknown GGUF type 'Q9'"):
        gguf_write.check_kind("Q9")
    assert gguf_write.check_kind("q8-0") == "Q8_0"


def test_a_type_of_llama_cpps_quantizer_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(gguf_write, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="llama-quantize"):
        gguf_write.check_kind("Q4_K_M")


def test_the_quantizer_program_is_called_on_an_f16_file(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program itself is llama.cpp's; here `cp` stands for it, to see what it is given and what is kept."""
    program = tmp_path / "bin" / "llama-quantize"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$3" > {tmp_path}/kind\ncp "$1" "$2"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")
    gguf_write.write(tiny("llama"), tmp_path / "model.gguf", "Q4_K_M")
    assert (tmp_path / "kind").read_text() == "Q4_K_M\n"
    assert gguf.read_header(tmp_path / "model.gguf").metadata["general.file_type"] == 1
    assert not list(tmp_path.glob(".*part"))


def test_a_quantizer_that_fails_leaves_no_file(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "llama-quantize"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'no such type' >&2\nexit 3\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")
    with pytest.raises(ModelError, match="no such type"):
        gguf_write.write(tiny("llama"), tmp_path / "model.gguf", "Q4_K_M")
    assert not list(tmp_path.glob("*.gguf"))
    assert not list(tmp_path.glob(".*part"))


def test_a_modelfile_has_the_chat_template_and_the_texts_that_end_an_answer(tiny: Tiny) -> None:
    text = modelfile("model-Q8_0.gguf", load.folder_tokenizer(tiny("llama")))
    assert text.startswith("FROM ./model-Q8_0.gguf\n")
    assert "SYSTEM" not in text
    trained_under = modelfile("model.gguf", load.folder_tokenizer(tiny("llama")), "Be brief.")
    assert '\nSYSTEM """Be brief."""\n' in trained_under
    assert 'PARAMETER stop "<|im_end|>"' in text
    assert render_go(text, [("user", "a"), ("assistant", "b"), ("user", "c")]) == (
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.model
@pytest.mark.parametrize("system", [True, False])
def test_a_modelfile_writes_the_embedded_models_chats_as_its_template_does(embedded: Any, system: bool) -> None:
    from engine.models.inference.requests import Message

    turns = [("user", "Hi."), ("assistant", "Hello."), ("user", "Why?")]
    turns = [("system", "Be brief."), *turns] if system else turns
    text = modelfile("model.gguf", embedded.tokenizer)
    assert render_go(text, turns) == embedded.render([Message(role, words) for role, words in turns])


def test_a_modelfile_without_a_chat_template_asks_as_the_app_does(tiny: Tiny) -> None:
    text = modelfile("model.gguf", load.folder_tokenizer(tiny("gpt2")))
    assert render_go(text, [("user", "why?")]).endswith("Question: why?\nAnswer:")
    assert 'PARAMETER stop "\\nQuestion:"' in text


def render_go(text: str, turns: list[tuple[str, str]]) -> str:
    """What Go's template engine makes of the template in a Modelfile, for the few actions that it uses."""
    import re

    template = text.split('TEMPLATE """', 1)[1].split('"""', 1)[0]
    body, end = re.fullmatch(
        r"\{\{ \$last := \"\" \}\}\{\{ range \.Messages \}\}(.*)\{\{ end \}\}\{\{ end \}\}(.*?)", template, re.DOTALL
    ).groups()  # type: ignore[union-attr]
    content = r"\{\{ \.Content \}\}\{\{ \$last = \.Role \}\}"
    parts = re.fullmatch(
        r'\{\{ if eq \.Role "system" \}\}(.*?)' + content + r'\{\{ else if eq \.Role "user" \}\}'
        r'\{\{ if eq \$last "system" \}\}(.*?)\{\{ else if eq \$last "assistant" \}\}(.*?)\{\{ else \}\}(.*?)'
        r"\{\{ end \}\}" + content + r'\{\{ else if eq \.Role "assistant" \}\}(.*?)' + content,
        body,
        re.DOTALL,
    )
    assert parts is not None, body
    system, after_system, after_answer, first, answer = parts.groups()
    found, last = "", ""
    for role, words in turns:
        before = {"system": after_system, "assistant": after_answer}.get(last, first)
        found += {"system": system, "user": before, "assistant": answer}[role] + words
        last = role
    return found + end
