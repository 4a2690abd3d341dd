"""llama.cpp itself, by llama-cpp-python, answers from our GGUF files with the greedy text of the merged model.

Skipped where llama-cpp-python is not installed: it builds llama.cpp from source (`pip install redraft[bench]`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import call
from gguf_files import LLAMA3

from engine.export import answers, gguf_vocab, gguf_write
from engine.models.hub import gguf, load
from engine.models.nn import families
from engine.models.nn.decoder import pack
from engine.text import sanitize

llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")

Tiny = Callable[..., Path]


@pytest.fixture(autouse=True)
def home(redraft_home: Path) -> Path:
    return redraft_home


def theirs(path: Path, questions: Sequence[str]) -> list[str]:
    """llama.cpp's greedy answers, asked with the chat template that the file holds."""
    f32 = llama_cpp.GGML_TYPE_F32  # of the cache, too: in float16 random models change their minds
    model = llama_cpp.Llama(str(path), n_ctx=512, n_threads=1, verbose=False, seed=0, type_k=f32, type_v=f32)
    found = []
    for question in questions:
        chat = [{"role": "user", "content": question}]
        done = model.create_chat_completion(chat, temperature=0.0, max_tokens=32, repeat_penalty=1.0)
        found.append(sanitize(done["choices"][0]["message"]["content"]))
    return found


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True, "attention_bias": True}),
        ("llama", {"rope_parameters": LLAMA3}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}}),
        ("qwen2", {"tie_word_embeddings": True}),
    ],
)
def test_llama_cpp_answers_from_a_merged_run_as_the_merged_model_does(
    tiny: Tiny, trained_run: Callable[[Path], Path], tmp_path: Path, family: str, changes: dict[str, Any]
) -> None:
    run = trained_run(tiny(family, max_position_embeddings=1024, **changes))
    done = call("merge", run, "-o", tmp_path / "merged", "--gguf", "F32")
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "merged").glob("*.gguf")
    wanted = answers.greedy_answers(tmp_path / "merged")
    assert any(wanted)
    for one, other in zip(wanted, theirs(path, answers.QUESTIONS), strict=True):
        assert legible(other).startswith(legible(one))


def legible(text: str) -> str:
    """Without bytes that are no UTF-8, which random models write: llama-cpp-python leaves them out, and writes on."""
    return "".join(character for character in text if character not in "\ufffd\u200b").rstrip()


VERSION = tuple(int(part) for part in llama_cpp.__version__.split(".")[:3])
old = pytest.mark.skipif(VERSION < (0, 3, 16), reason="versions before 0.3.16 abort on a GPT-2")


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", pytest.param("gpt2", marks=old)])
def test_llama_cpp_computes_our_tokens_and_logits(tiny: Tiny, tmp_path: Path, family: str) -> None:
    folder, path = tiny(family, max_position_embeddings=1024), tmp_path / "model.gguf"
    gguf_write.write(folder, path, "F32")
    f32 = llama_cpp.GGML_TYPE_F32
    model = llama_cpp.Llama(str(path), n_ctx=512, n_threads=1, verbose=False, logits_all=True, type_k=f32, type_v=f32)
    tokenizer = load.folder_tokenizer(folder)
    for text in gguf_vocab.TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert model.tokenize(text.encode(), add_bos=False, special=True) == ids, text
    tokens = tokenizer.encode(" ".join(gguf_vocab.TEXTS), add_special_tokens=False)[:120]
    model.eval(tokens)
    decoder = families.from_transformers(load.read_folder(folder, "float32"))
    packed, positions = pack([tokens])
    with torch.inference_mode():
        expected = decoder.logits(decoder.forward(packed, positions, decoder.causal([len(tokens)])).last)
    # llama.cpp looks GELU up in a table of float16.
    limit = 5e-3 if family == "gpt2" else 1e-3
    assert (torch.tensor(model.scores[: len(tokens)]) - expected).abs().max() < limit


def test_llama_cpps_quantizer_makes_a_file_that_it_answers_from(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # no program llama-quantize: the package does it
    folder = tiny("llama", hidden_size=256, intermediate_size=256, max_position_embeddings=1024)
    gguf_write.write(folder, tmp_path / "model.gguf", "Q4_K_M")
    kinds = {tensor.kind for tensor in gguf.read_header(tmp_path / "model.gguf").tensors.values()}
    assert len(kinds) > 1
    assert len(theirs(tmp_path / "model.gguf", answers.QUESTIONS[:1])) == 1


@pytest.mark.model
def test_llama_cpp_writes_the_embedded_models_greedy_text(embedded: Any, tmp_path: Path) -> None:
    gguf_write.write(embedded.folder, tmp_path / "model.gguf", "F32")
    questions = answers.QUESTIONS[:1]
    assert theirs(tmp_path / "model.gguf", questions) == answers.greedy_answers(embedded.folder, questions)
