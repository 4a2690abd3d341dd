"""Pooled hidden states and n-grams: one vector per window of a text, the input of the probes.

A text is formatted as an assistant's turn, after its prompt if there is one, in ChatML whatever the model (without a
system message, so that only the text counts). The vector has, per layer, the mean over the text's tokens and the last
token's state, followed by the n-gram features (`engine.judges.probe.ngram_features`). The text cannot end its turn:
special tokens in it are neutralized (`engine.models.chat`), and prompt injections aimed at the judge are removed
(`engine.judges.rules.prompt_injection`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.control import Control
from engine.judges.base import JudgeInput
from engine.judges.probe.ngram_features import ngram_vectors
from engine.judges.rules.prompt_injection import remove_injections
from engine.text import sanitize

FORMAT = 3
"""Version of the vectors and of the feature map; a probe of another version is refused."""

_TURN, _END = "<|im_start|>", "<|im_end|>"

WINDOW = 2400
"""Characters of a text that are read at once; longer texts are split into windows of about two thirds of this."""
MAX_WINDOWS = 8
"""Windows of a long text, spread evenly from its beginning to its end."""
_LONG_TEXT_WINDOW = 1600
_MAX_PROMPT_CHARACTERS = 1200
_MAX_TEXT_TOKENS = 640
_MAX_PROMPT_TOKENS = 360


@dataclass(frozen=True)
class Vectors:
    """Vectors of the windows of several texts.

    Args:
        values: float32 [windows, size], finite: layers * 2 * width states, then `N_FEATURES` n-grams.
        owner: [windows], index of each window's text.
    """

    values: NDArray[np.float32]
    owner: NDArray[np.int64]

    def max_over_windows(self, scores: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        """Scores [windows, k] -> [count texts, k]: a text is as bad as its worst window."""
        out = np.full((count, scores.shape[1]), -np.inf)
        np.maximum.at(out, self.owner, scores)
        return out


class StatesModel(Protocol):
    """What hidden states are read from: a loaded model (`engine.models.local`), or the embedded one under numpy
    (`engine.models.numpy_model`)."""

    @property
    def context(self) -> int:
        """Tokens that the model reads at most."""
        ...

    def encode_text(self, prompt: str) -> list[int]:
        """The tokens of a text; nothing is added to it."""
        ...

    def neutral(self, content: str) -> str:
        """The content without anything that the chat template or the tokenizer gives a meaning."""
        ...

    def hidden(
        self,
        sequences: Sequence[Sequence[int]],
        layers: Sequence[int],
        control: Control,
        *,
        pooling: Literal["mean+last"],
        starts: Sequence[int],
    ) -> ArrayLike:
        """float32 [sequences, layers, 2 * width]; nothing is computed above the highest layer."""
        ...


ReadVectors = Callable[[Sequence[JudgeInput], Control], Vectors]
"""Computes the vectors of texts from the layers that a probe was fitted on."""


def windows(text: str) -> list[str]:
    """The windows of a text: the text itself if it is short, otherwise at most `MAX_WINDOWS`, cut at spaces."""
    if len(text) <= WINDOW:
        return [text]
    count = -(-len(text) // _LONG_TEXT_WINDOW)
    starts = [len(text) * i // count for i in range(count)]
    if count > MAX_WINDOWS:
        last = len(text) - _LONG_TEXT_WINDOW
        starts = [last * i // (MAX_WINDOWS - 1) for i in range(MAX_WINDOWS)]
    return [_drop_partial_word(text[start : start + _LONG_TEXT_WINDOW], start > 0) for start in starts]


def vectors(model: StatesModel, texts: Sequence[JudgeInput], layers: Sequence[int], control: Control) -> Vectors:
    """Hidden states and n-grams of the texts' windows.

    Raises:
        Stopped: `control` requests it.
    """
    return with_ngrams(states(model, texts, layers, control), texts)


def states(model: StatesModel, texts: Sequence[JudgeInput], layers: Sequence[int], control: Control) -> Vectors:
    """Hidden states of the texts' windows; layers above the highest one asked for are not computed.

    Raises:
        Stopped: `control` requests it.
    """
    owner: list[int] = []
    sequences: list[list[int]] = []
    starts: list[int] = []
    context = model.context
    end = model.encode_text(_END)
    for index, judged in enumerate(texts):
        prompt = model.neutral(sanitize(judged.prompt).strip()[-_MAX_PROMPT_CHARACTERS:])
        asked = f"{_TURN}user\n{prompt}{_END}\n" if prompt else ""
        before = model.encode_text(f"{asked}{_TURN}assistant\n")[-min(_MAX_PROMPT_TOKENS, context // 2) :]
        max_tokens = min(_MAX_TEXT_TOKENS, context - len(before) - len(end))
        for window in _windows_to_read(judged):
            owner.append(index)
            sequences.append([*before, *model.encode_text(model.neutral(window))[:max_tokens], *end])
            starts.append(len(before))
    found = np.asarray(model.hidden(sequences, layers, control, pooling="mean+last", starts=starts))
    values = np.nan_to_num(found.reshape(len(sequences), -1), nan=0.0, posinf=0.0, neginf=0.0)
    return Vectors(values.astype(np.float32, copy=False), np.array(owner, dtype=np.int64))


def with_ngrams(hidden: Vectors, texts: Sequence[JudgeInput]) -> Vectors:
    """The hidden states of these texts' windows, followed by their n-grams."""
    ngrams = ngram_vectors([window for text in texts for window in _windows_to_read(text)])
    return Vectors(np.concatenate([hidden.values, ngrams], 1), hidden.owner)


def _windows_to_read(text: JudgeInput) -> list[str]:
    return [remove_injections(window) for window in windows(sanitize(text.text).strip())]


def _drop_partial_word(window: str, inner: bool) -> str:
    """The window without a word cut at its beginning; a window without spaces is unchanged."""
    cut = window.find(" ") if inner else -1
    return window[cut + 1 :] if 0 <= cut < 40 else window
