"""Answers that follow a regular expression: which tokens may come next, by llguidance's mask.

llguidance is optional (`pip install redraft[json]`). Its mask is read through numpy: its own helper for torch is
compiled on first use, which takes a compiler and half a minute.
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engine.models.local import LocalModel


def is_installed() -> bool:
    """Whether answers can be constrained here."""
    return importlib.util.find_spec("llguidance") is not None


@dataclass(frozen=True)
class Grammar:
    """A regular expression that a model's whole answer matches; satisfies `requests.Constraint`.

    Args:
        tokenizer: llguidance's view of the model's tokenizer.
        source: the expression, in llguidance's form.
        vocabulary: tokens that the model's head knows.
    """

    tokenizer: Any
    source: str
    vocabulary: int

    def start(self) -> Matching:
        """An answer that nothing was written of yet."""
        from llguidance import LLMatcher

        return Matching(LLMatcher(self.tokenizer, self.source), self.vocabulary)


class Matching:
    """One answer on its way."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._bits = np.zeros((1, -(-vocabulary // 32)), dtype=np.int32)

    def token_mask(self) -> NDArray[np.bool_]:
        """[vocabulary]: whether a token may come next."""
        from llguidance.numpy import fill_next_token_bitmask

        self._bits.fill(0)
        fill_next_token_bitmask(self._matcher, self._bits)
        found = np.unpackbits(self._bits.view(np.uint8)[0], bitorder="little")[: self._vocabulary]
        return found.astype(np.bool_)

    def accept(self, token: int) -> bool:
        """Take the next token in; True where the answer is complete with it and nothing may follow."""
        taken: bool = self._matcher.consume_token(token)
        return not taken or bool(self._matcher.is_stopped())


def grammar_for(model: LocalModel, pattern: str) -> Grammar:
    """The grammar of a pattern (Rust's syntax of regular expressions) for a model's tokenizer.

    Raises:
        ImportError: llguidance is not installed.
        ValueError: it cannot read this tokenizer, or the pattern.
    """
    from llguidance import LLMatcher

    source = LLMatcher.grammar_from_regex(pattern)
    tokenizer, vocabulary = _tokenizer(model)
    problem = LLMatcher.validate_grammar(source, tokenizer)
    if problem:
        raise ValueError(" ".join(str(problem).split())[:200])
    return Grammar(tokenizer, source, vocabulary)


def _tokenizer(model: LocalModel) -> tuple[Any, int]:
    vocabulary = int(model.decoder.embedding.shape[0])
    return _read(model.codec, vocabulary), vocabulary


@functools.lru_cache(4)
def _read(codec: Any, vocabulary: int) -> Any:
    """llguidance's tokenizer of a codec: a third of a second, so it is kept."""
    from llguidance.hf import from_tokenizer

    return from_tokenizer(codec.tokenizer, n_vocab=vocabulary, eos_token=sorted(codec.ends), slices=[])
