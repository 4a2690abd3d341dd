"""Tokenizers of Llama 2's kind in GGUF files split texts as the package sentencepiece does.

Skipped where sentencepiece is not installed; nothing of Redraft needs it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter

from engine.models.hub import load
from engine.prompts.load import load_builtin

sentencepiece = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")

TEXTS = (
    *("", " ", "  ", "\n", "\t", "a", " a", "a ", "  a  b  ", "a\n\nb", "a\tb", "\u00a0", "a\u3000b"),
    *("\u2581", "a\u2581b"),
    *("</s>", "<s>", "<unk>", "a</s>b", "<0x0A>", "< s >", "[INST] why [/INST]"),
    *("naïve", "nai\u0308ve", "ﬁne", "①②", "Ⅳ", "ＡＢＣ", "½", "ǅ", "ß", "İi", "e\u0301\u0301"),
    *("日本語の文章", "한국어", "Русский", "עברית", "العربية", "ไทย", "🙂", "👍🏽", "👨‍👩‍👧", "🇩🇪", "\U000e0041"),
    *("a\u200bb", "\u202eabc", "a\ufeffb", "\ufeff", "\u00ad", "\x7f", "\x01\x02", "a\x0bb\x0cc", "\u2028", "\x85"),
    *("12345", "3.14159", "1,000,000", "don't", "x" * 300, "the " * 100, "\\n", "'''", '"""', "http://x.y/z?q=1&r=2"),
)  # fmt: skip
"""Hostile to a tokenizer: white space, marks, forms that normalization would change, scripts, bytes."""


def trained(**options: Any) -> Any:
    """A tokenizer of Llama 2's kind, trained on the built-in prompts."""
    model = io.BytesIO()
    texts = [prompt.text for prompt in (*load_builtin("train"), *load_builtin("heldout"))]
    settings = {
        "model_type": "bpe", "vocab_size": 700, "byte_fallback": True, "character_coverage": 1.0,
        "normalization_rule_name": "identity", "remove_extra_whitespaces": False, "split_digits": True,
        "allow_whitespace_only_pieces": True, "minloglevel": 2,
    }  # fmt: skip
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, **{**settings, **options}
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def written(processor: Any, path: Path, *, add_space: bool) -> Path:
    """The GGUF file that llama.cpp's converter would write of a tokenizer."""
    size = processor.vocab_size()
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list([processor.id_to_piece(i) for i in range(size)])
    writer.add_token_scores([processor.get_score(i) for i in range(size)])
    kinds = [
        2 if processor.is_unknown(i) else 3 if processor.is_control(i) else 6 if processor.is_byte(i) else 1
        for i in range(size)
    ]
    writer.add_token_types(kinds)
    writer.add_bos_token_id(processor.bos_id())
    writer.add_eos_token_id(processor.eos_id())
    writer.add_unk_token_id(processor.unk_id())
    writer.add_add_space_prefix(add_space)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("add_space", [True, False])
def test_every_text_has_the_tokens_of_sentencepiece(tmp_path: Path, add_space: bool) -> None:
    processor = trained(add_dummy_prefix=add_space)
    ours = load.gguf_tokenizer(written(processor, tmp_path / "a.gguf", add_space=add_space))
    special = ("<s>", "</s>", "<unk>")
    texts = [text for text in TEXTS if not any(mark in text for mark in special)]
    texts += [prompt.text for prompt in load_builtin("benign").prompts[:40]]
    different = {text: (ours.encode(text, add_special_tokens=False), processor.encode(text)) for text in texts}
    assert {text: ids for text, ids in different.items() if ids[0] != ids[1]} == {}


def test_a_space_is_put_before_what_follows_a_special_token(tmp_path: Path) -> None:
    processor = trained()
    ours = load.gguf_tokenizer(written(processor, tmp_path / "a.gguf", add_space=True))
    for text in ("[INST] why [/INST]", " so"):
        found = ours.encode(f"<s>{text}</s>{text}", add_special_tokens=False)
        assert found == [1, *processor.encode(text), 2, *processor.encode(text)]


def test_texts_are_decoded_to_what_they_were(tmp_path: Path) -> None:
    processor = trained()
    ours = load.gguf_tokenizer(written(processor, tmp_path / "a.gguf", add_space=True))
    for text in ("  a  b ", "日本語 🙂", "a\n\tb", "naïve ﬁne ½"):
        assert ours.decode(ours.encode(text, add_special_tokens=False)) == processor.decode(processor.encode(text))
