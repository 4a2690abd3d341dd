"""What a model's layers make of a text: one vector a window of the text, for probes.

A text is read as the turn of an assistant, after its prompt where there is one, in the ChatML format whatever the model
(no system text, so that nothing but the text tells); the vector holds, for each layer asked for, the mean over the
text's tokens and the state at its end, and behind them which words occur (`engine.judges.probe.ngram_features`). The
text cannot leave its turn: what has a meaning to the model's template or tokenizer is neutralised
(`engine.models.chat`), and what it says to its judge is left out (`engine.judges.rules.prompt_injection`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.control import Control
from engine.judges.base import Judged
from engine.judges.probe import ngram_features
from engine.judges.rules import prompt_injection
from engine.text import sanitize

if TYPE_CHECKING:
    from engine.models.local import LocalModel

FORMAT = 3
"""Counts up when a text becomes another vector, or a vector other features (`feature_map`), than before: a probe
fitted on another format is refused."""

_TURN, _END = "<|im_start|>", "<|im_end|>"

WINDOW = 2400
"""Characters of a text that are read as one; longer texts are read in pieces of about two thirds of it."""
MOST_WINDOWS = 8
"""Pieces of a long text that are read, spread evenly over it from its beginning to its end."""
_PIECE = 1600
_PROMPT = 1200
_ANSWER_TOKENS = 640
_PROMPT_TOKENS = 360


@dataclass(frozen=True)
class Vectors:
    """Windows of texts as vectors.

    Args:
        values: float32 [windows, features], finite: layers * 2 * width states, then `wording.SIZE` words.
        owner: [windows], the place of each window's text in the list that was given.
    """

    values: NDArray[np.float32]
    owner: NDArray[np.int64]

    def highest(self, scores: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        """[windows, k] -> [count, k]: a text is as bad as its worst window."""
        out = np.full((count, scores.shape[1]), -np.inf)
        np.maximum.at(out, self.owner, scores)
        return out


def windows(text: str) -> list[str]:
    """The pieces of a text that are read: itself where it is short, else at most `MOST_WINDOWS`, cut at spaces."""
    if len(text) <= WINDOW:
        return [text]
    pieces = -(-len(text) // _PIECE)
    starts = [len(text) * i // pieces for i in range(pieces)]
    if pieces > MOST_WINDOWS:
        last = len(text) - _PIECE
        starts = [last * i // (MOST_WINDOWS - 1) for i in range(MOST_WINDOWS)]
    return [_trimmed(text[start : start + _PIECE], start > 0) for start in starts]


def vectors(model: LocalModel, texts: Sequence[Judged], layers: Sequence[int], control: Control) -> Vectors:
    """The windows of the texts as the model's layers see them, and their words.

    Raises:
        Stopped: where `control` asks for it.
    """
    return with_words(states(model, texts, layers, control), texts)


def states(model: LocalModel, texts: Sequence[Judged], layers: Sequence[int], control: Control) -> Vectors:
    """The part of the vectors that the model has to be asked for; nothing is computed above the highest layer.

    Raises:
        Stopped: where `control` asks for it.
    """
    from engine.models.inference.hidden_states import hidden_states

    owner: list[int] = []
    sequences: list[list[int]] = []
    starts: list[int] = []
    room = model.context
    end = model.encode_text(_END)
    for place, judged in enumerate(texts):
        prompt = model.chat.neutral(sanitize(judged.prompt).strip()[-_PROMPT:])
        asked = f"{_TURN}user\n{prompt}{_END}\n" if prompt else ""
        before = model.encode_text(f"{asked}{_TURN}assistant\n")[-min(_PROMPT_TOKENS, room // 2) :]
        most = min(_ANSWER_TOKENS, room - len(before) - len(end))
        for window in _read(judged):
            owner.append(place)
            sequences.append([*before, *model.encode_text(model.chat.neutral(window))[:most], *end])
            starts.append(len(before))
    found = hidden_states(model.decoder, sequences, layers, control, pooling="mean+last", starts=starts)
    values = np.nan_to_num(found.flatten(1).numpy(), nan=0.0, posinf=0.0, neginf=0.0)
    return Vectors(values.astype(np.float32, copy=False), np.array(owner, dtype=np.int64))


def with_words(read: Vectors, texts: Sequence[Judged]) -> Vectors:
    """The states of the windows of these very texts with the words of each behind them."""
    said = ngram_features.words([window for judged in texts for window in _read(judged)])
    return Vectors(np.concatenate([read.values, said], 1), read.owner)


def _read(judged: Judged) -> list[str]:
    return [prompt_injection.without(window) for window in windows(sanitize(judged.text).strip())]


def _trimmed(piece: str, inner: bool) -> str:
    """The piece without a word cut at its beginning; a piece without spaces stays as it is."""
    cut = piece.find(" ") if inner else -1
    return piece[cut + 1 :] if 0 <= cut < 40 else piece
