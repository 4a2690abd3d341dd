"""How a text's vector becomes the features that a probe's lines are drawn through.

A line alone cannot say that two things are bad only together (an insult, and who it is meant for), so products of
states are features too: of the text's coordinates along the directions in which texts differ most (principal
components), by twos, which is a polynomial kernel of degree 2 on them. Fitted without labels. Knows numbers only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]

DIRECTIONS = 128
"""Whose products are features; 256 of them tell no better on the shipped probes' texts."""
_SHARE = 4
"""Texts that a direction needs at least."""
_SAMPLE = 1500
"""Texts that the directions are taken from, evenly out of all."""
_WORDS = 0.3
"""What the words count, beside 1 for the states."""


@dataclass(frozen=True)
class Space:
    """What a vector is measured by.

    Args:
        mean: [states], of each state over the texts.
        scale: [states + words]; a state's is 1 by its spread, a word's grows with its rarity.
        basis: [states, directions], orthonormal; of numbers that half precision holds, as it is stored.
    """

    mean: Singles
    scale: Singles
    basis: Singles

    @property
    def size(self) -> int:
        """Features that come out."""
        directions = int(self.basis.shape[1])
        return len(self.scale) + directions * (directions + 1) // 2

    def features(self, values: Singles) -> Singles:
        """[texts, states + words] -> [texts, size]: the states at a length of 1 a text, the words, the products."""
        states = self.states(values)
        places = states @ self.basis
        first, second = np.triu_indices(self.basis.shape[1])
        # A product of two directions stands for itself and its mirror image.
        products = places[:, first] * places[:, second] * np.where(first == second, 1.0, np.sqrt(2.0))
        words = values[:, len(self.mean) :] * self.scale[len(self.mean) :]
        return np.concatenate([states, words, products], 1, dtype=np.float32)

    def states(self, values: Singles) -> Singles:
        """[texts, states + words] -> [texts, states], at a length of 1 a text."""
        dense = len(self.mean)
        states = (values[:, :dense] - self.mean) * self.scale[:dense]
        states /= np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-6)
        return np.asarray(states)


def fitted(values: Singles, dense: int) -> Space:
    """The space of these texts.

    Args:
        values: [texts, states + words].
        dense: how many states there are; what stands behind them are occurrences, 0 where a word is absent.
    """
    mean = values[:, :dense].mean(0)
    scale = np.empty(values.shape[1], dtype=np.float32)
    scale[:dense] = 1.0 / (values[:, :dense].std(0) + 1e-3)
    counts = (values[:, dense:] > 0).sum(0)
    frequency = np.log(len(values) / (1.0 + counts))
    # The root of the mean square of these over the occurrences that there are, so that rows have a length of 1.
    usual = np.sqrt(float((counts * frequency**2).sum()) / max(1, int(counts.sum())))
    scale[dense:] = np.sqrt(_WORDS) * frequency / max(usual, 1e-6)
    plain = Space(mean, scale, np.zeros((dense, 0), dtype=np.float32))
    sample = np.linspace(0, len(values) - 1, min(len(values), _SAMPLE)).astype(int)
    most = min(DIRECTIONS, len(values) // _SHARE, dense)
    return Space(mean, scale, _directions(plain.states(values[sample]), most))


def _directions(sample: Singles, most: int) -> Singles:
    """The directions, at most so many, in which the states of these texts differ most, [states, directions]."""
    lengths, vectors = np.linalg.eigh((sample @ sample.T).astype(np.float64))
    # In the order of their lengths, the longest last.
    used = np.flatnonzero(lengths > 1e-6 * lengths.max())
    used = used[max(0, len(used) - most) :]
    basis = sample.T.astype(np.float64) @ vectors[:, used] / np.sqrt(lengths[used])
    return np.asarray(basis.astype(np.float16), dtype=np.float32)
