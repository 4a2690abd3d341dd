"""A folder's texts become the tokens that its tokenizer.json describes, whatever class it names and however it was
saved: cases after public bug reports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf_files import write_gguf
from tokenizers import Tokenizer

from engine.models.hub import load
from engine.models.local import load_model

Tiny = Callable[..., Path]
TEXTS = ["In 2024 there were 365 days.", "Step 1:\n\n1. Do it", "don't  x1+100 ", "caf\u00e9 e\u0301 \u00c5"]
SMOLLM = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}


def saved(tiny: Tiny, place: Path, name: str = "", **members: Any) -> Path:
    """A tiny model whose tokenizer.json has these members and whose tokenizer_config.json names this class."""
    folder = Path(shutil.copytree(tiny("llama"), place))
    path, settings = folder / "tokenizer.json", folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | members))
    if name:
        settings.write_text(json.dumps(json.loads(settings.read_text()) | {"tokenizer_class": name}))
    return folder


def ids(tokenizer: Any) -> list[list[int]]:
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]


@pytest.mark.parametrize("normalizer", [None, {"type": "NFC"}])
@pytest.mark.parametrize(
    "name", ["PreTrainedTokenizerFast", "GPT2Tokenizer", "LlamaTokenizerFast", "Qwen2Tokenizer", "GPTNeoXTokenizerFast"]
)
def test_texts_are_split_as_the_tokenizers_own_file_says(
    tiny: Tiny, tmp_path: Path, name: str, normalizer: dict[str, str] | None
) -> None:
    folder = saved(tiny, tmp_path / "model", name, pre_tokenizer=SMOLLM, normalizer=normalizer)
    backend = load.folder_tokenizer(folder).backend_tokenizer
    own = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert ids(backend) == ids(own)
    assert [backend.decode(one) for one in ids(own)] == [own.decode(one) for one in ids(own)]


@pytest.mark.parametrize("name", ["PreTrainedTokenizerFast", "GPT2Tokenizer"])
def test_no_text_is_padded_or_cut_as_it_was_in_training(tiny: Tiny, tmp_path: Path, name: str) -> None:
    plain = saved(tiny, tmp_path / "plain", name)
    padded = saved(
        tiny,
        tmp_path / "padded",
        name,
        truncation={"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        padding={
            "strategy": {"Fixed": 64},
            "direction": "Left",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "<|endoftext|>",
        },
    )
    assert ids(load.folder_tokenizer(padded).backend_tokenizer) == ids(load.folder_tokenizer(plain).backend_tokenizer)


@pytest.mark.parametrize("pre", ["smollm", "llama-bpe", "deepseek-llm"])
def test_the_converted_copy_of_a_gguf_file_gives_the_files_tokens(
    tiny: Tiny, tmp_path: Path, redraft_home: Path, pre: str
) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", tiny("llama"), pre=pre)
    first, second = (load_model(str(path), device="cpu", dtype="float32") for _ in range(2))
    assert ids(second.tokenizer.backend_tokenizer) == ids(first.tokenizer.backend_tokenizer)
    assert second.chat.template == first.chat.template
    assert second.codec.ends == first.codec.ends
