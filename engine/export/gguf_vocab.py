"""The tokenizer of a model's folder as the keys of a GGUF file.

GGUF names how a text is split before its tokens are merged, instead of describing it. The name is found by trying: it
is the first one with which our own reader of GGUF files splits texts as the model's tokenizer does.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ModelError
from engine.models import chat
from engine.models.hub import load

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NAMES = ("llama-bpe", "qwen2", "gpt-2", "smollm", "deepseek-llm", "deepseek-coder", "deepseek-v3", "stablelm2")
_FIRST = {"qwen2": "qwen2", "qwen3": "qwen2", "gpt2": "gpt-2", "llama": "smollm", "mistral": "tekken"}
"""Family -> the name that is tried first: several may split the tested texts alike."""

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
"""Types of tokens in GGUF."""

TEXTS = (
    "Hello, world! It's 12345 apples and 3.14159, isn't it? I'LL GO.",
    "  two  spaces\n\nlines\t\ttabs \r\n end   ",
    "naïve café, Straße, Ünder 日本語の文章 한국어 中文，。Русский текст",
    "def f(x):\n    return x**2 + [1, 2, 3][0]  # comment_with_underscores",
    "🙂👍🏽 $99.50 100% a@b.c http://x.y/z?q=1&r=2 «quoted» “text” — dash…",
    "CamelCaseWord mixedCASE123abc 007 1,000,000 x1y22z333 ½ ² \u00a0nbsp",
    "''' \"\"\" don't DON'T we've WE'VE he'd\n \n  \n   x",
)
"""What splitting is compared on; it holds what the known ways of splitting differ in."""


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer in GGUF's terms.

    Args:
        model: "gpt2" (byte-level BPE) or "llama" (SentencePiece's kind).
        pre: name of the way that texts are split; "" for "llama".
        tokens, types, scores: by id; scores only for "llama".
        merges: "a b" in order; only for "gpt2".
        add_bos: the beginning token is put before a text.
        add_space_prefix: a space is put before a text; only for "llama".
        bos, eos, eot, pad, unknown: ids of special tokens, None for none. `eot` ends a turn where that is another
            token than `eos`.
        template: the chat template; "" for none.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    scores: tuple[float, ...]
    merges: tuple[str, ...]
    add_bos: bool
    add_space_prefix: bool
    bos: int | None
    eos: int | None
    eot: int | None
    pad: int | None
    unknown: int | None
    template: str


def read(folder: Path, tokenizer: PreTrainedTokenizerBase, size: int, family: str) -> Vocabulary:
    """The vocabulary of a folder.

    Args:
        tokenizer: the folder's.
        size: rows of the model's embedding.
        family: transformers' `model_type`, tried first among names.

    Raises:
        ModelError: GGUF has no words for this tokenizer.
    """
    where = str(folder / "tokenizer.json")
    data = json.loads(str(tokenizer.backend_tokenizer.to_str()))
    model = data["model"]
    if model.get("type") != "BPE":
        raise _unsupported(where, f"is of the type {model.get('type')}")
    by_bytes = bool(model.get("byte_fallback"))
    words = _words(tokenizer, size)
    merges = [(m if isinstance(m, list) else m.split(" ", 1)) for m in model["merges"]]
    if not by_bytes and any(" " in part for merge in merges for part in merge):
        raise _unsupported(where, "merges tokens that hold spaces")
    kind = "llama" if by_bytes else "gpt2"
    chats = chat.for_tokenizer(tokenizer)
    eos = tokenizer.eos_token_id
    turn_end = next(iter(sorted(chats.end_tokens())), None)
    found = Vocabulary(
        model=kind,
        pre="",
        tokens=tuple(words),
        types=tuple(_types(words, tokenizer, by_bytes)),
        scores=tuple(_scores(words, merges)) if by_bytes else (),
        merges=() if by_bytes else tuple(" ".join(merge) for merge in merges),
        add_bos=tokenizer.backend_tokenizer.encode("a").ids[:1] == [tokenizer.bos_token_id],
        add_space_prefix=by_bytes and _adds_space(data),
        bos=tokenizer.bos_token_id,
        eos=eos,
        eot=turn_end if turn_end != eos else None,
        pad=tokenizer.pad_token_id,
        unknown=tokenizer.unk_token_id,
        template=chat.own_template(tokenizer),
    )
    return _named(found, tokenizer, family, where)


def _unsupported(where: str, what: str) -> ModelError:
    return ModelError(
        f"GGUF cannot hold this tokenizer: it {what}.",
        where=where,
        next_step="Use the merged folder as it is, or convert it with llama.cpp's convert_hf_to_gguf.py.",
    )


def _words(tokenizer: PreTrainedTokenizerBase, size: int) -> list[str]:
    """The tokens by id; ids without one, where the embedding is larger than the vocabulary, are filled up."""
    words = [f"[PAD{i}]" for i in range(size)]
    for word, i in tokenizer.get_vocab().items():
        words[i] = word
    return words


def _types(words: list[str], tokenizer: PreTrainedTokenizerBase, by_bytes: bool) -> Iterator[int]:
    known = tokenizer.get_vocab()
    added = {token.content: token.special for token in tokenizer.added_tokens_decoder.values()}
    for word in words:
        if word not in known:
            yield _UNUSED
        elif by_bytes and word == tokenizer.unk_token:
            yield _UNKNOWN
        elif word in added:
            yield _CONTROL if added[word] else _USER_DEFINED
        elif by_bytes and len(word) == 6 and word.startswith("<0x") and word.endswith(">"):
            yield _BYTE
        else:
            yield _NORMAL


def _scores(words: list[str], merges: list[list[str]]) -> Iterator[float]:
    """SentencePiece merges the pair whose token scores highest: the rank of its merge, negated."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault("".join(merge), rank)
    for word in words:
        yield float(-ranks.get(word, -1)) - 1.0 if word in ranks else 0.0


def _adds_space(data: Mapping[str, Any]) -> bool:
    """Whether a text is read as if a space stood before it."""
    found = json.dumps([data.get("normalizer"), data.get("pre_tokenizer")])
    return '"Prepend"' in found or '"prepend_scheme": "first"' in found or '"prepend_scheme": "always"' in found


def _named(vocabulary: Vocabulary, tokenizer: PreTrainedTokenizerBase, family: str, where: str) -> Vocabulary:
    """The vocabulary with the first name of splitting by which our reader splits texts as the tokenizer does."""
    expected = [_ids(tokenizer, text) for text in TEXTS]
    names = [*([_FIRST[family]] if family in _FIRST else []), *_NAMES] if vocabulary.model == "gpt2" else [""]
    with tempfile.TemporaryDirectory(prefix="redraft-vocabulary-") as folder:
        for name in dict.fromkeys(names):
            candidate = replace(vocabulary, pre=name)
            if [_ids(_as_read(candidate, Path(folder) / "vocabulary.gguf"), text) for text in TEXTS] == expected:
                return candidate
    raise _unsupported(where, "splits texts in a way that has no name there")


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)


def _as_read(vocabulary: Vocabulary, path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer that our reader makes of a GGUF file with this vocabulary."""
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    add(writer, vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return load.gguf_tokenizer(path)


def add(writer: Any, vocabulary: Vocabulary) -> None:
    """Write the vocabulary into the metadata of a `gguf.GGUFWriter`."""
    v = vocabulary
    writer.add_tokenizer_model(v.model)
    if v.pre:
        writer.add_tokenizer_pre(v.pre)
    writer.add_token_list(v.tokens)
    writer.add_token_types(v.types)
    if v.scores:
        writer.add_token_scores(v.scores)
    if v.merges:
        writer.add_token_merges(v.merges)
    ids = {"bos": v.bos, "eos": v.eos, "eot": v.eot, "pad": v.pad, "unk": v.unknown}
    for name, token in ids.items():
        if token is not None:
            getattr(writer, f"add_{name}_token_id")(token)
    writer.add_add_bos_token(v.add_bos)
    writer.add_add_space_prefix(v.add_space_prefix)
    if v.template:
        writer.add_chat_template(v.template)
