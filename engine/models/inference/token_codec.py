"""Text to tokens and back by a model's tokenizer: encoding adds nothing, decoding drops special tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def well_formed(text: str) -> str:
    """The text without lone surrogates, which cannot be tokenized: they become question marks, as they do wherever text
    is stored."""
    return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True)
class Codec:
    """What generation and scoring need of a tokenizer.

    Args:
        tokenizer: with its Rust backend, which is used directly: transformers' own calls around it cost more than it.
        ends: ids of the tokens that end an answer.
        kept: ids of special tokens that stay in a decoded text, with what stands for them (marks around thoughts).
    """

    tokenizer: PreTrainedTokenizerBase
    ends: frozenset[int]
    kept: tuple[tuple[int, str], ...] = ()

    def encode(self, text: str) -> list[int]:
        """The tokens of a text as it stands: a rendered prompt holds its own special tokens."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """As `encode`, for many texts at once."""
        if not texts:
            return []
        sound = [well_formed(text) for text in texts]
        return [found.ids for found in self.tokenizer.backend_tokenizer.encode_batch(sound, add_special_tokens=False)]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without those that are special."""
        for token, mark in self.kept:
            if token in tokens:
                place = list(tokens).index(token)
                return f"{self.decode(tokens[:place])}{mark}{self.decode(tokens[place + 1 :])}"
        text = self.tokenizer.backend_tokenizer.decode(list(tokens), skip_special_tokens=True)
        assert isinstance(text, str)
        return text
