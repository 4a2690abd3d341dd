"""Maps a text's vector to the features of the linear probes: scaled hidden states, n-grams, and feature crosses.

A linear probe cannot say that two things are a violation only together (an insult, and its target). So products of
pairs of principal components of the hidden states are features too: a polynomial kernel of degree 2 on them. Fitted
without labels. Knows numbers only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]

N_COMPONENTS = 128
"""Principal components whose products are features; 256 do no better on the shipped probes' texts."""
_TEXTS_PER_COMPONENT = 4
_PCA_SAMPLE = 1500
"""Texts that the components are computed from, evenly spaced."""
_NGRAM_WEIGHT = 0.3
"""Squared norm of the n-grams, relative to 1 for the hidden states."""


@dataclass(frozen=True)
class FeatureMap:
    """A fitted feature map.

    Args:
        mean: [states], of each state over the texts.
        scale: [states + n-grams]; 1 / standard deviation for a state, inverse document frequency for an n-gram.
        basis: [states, components], orthonormal; float16 values, as it is stored.
    """

    mean: Singles
    scale: Singles
    basis: Singles

    @property
    def n_features(self) -> int:
        """Size of the output."""
        components = int(self.basis.shape[1])
        return len(self.scale) + components * (components + 1) // 2

    def features(self, values: Singles) -> Singles:
        """[texts, states + n-grams] -> [texts, n_features]: states of unit norm, n-grams, products of components."""
        states = self.normalized_states(values)
        components = states @ self.basis
        first, second = np.triu_indices(self.basis.shape[1])
        # A product of two components counts for itself and its mirror image.
        products = components[:, first] * components[:, second] * np.where(first == second, 1.0, np.sqrt(2.0))
        ngrams = values[:, len(self.mean) :] * self.scale[len(self.mean) :]
        return np.concatenate([states, ngrams, products], 1, dtype=np.float32)

    def normalized_states(self, values: Singles) -> Singles:
        """[texts, states + n-grams] -> [texts, states], standardized, then scaled to unit norm per text."""
        dense = len(self.mean)
        states = (values[:, :dense] - self.mean) * self.scale[:dense]
        states /= np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-6)
        return np.asarray(states)


def fit_feature_map(values: Singles, n_states: int) -> FeatureMap:
    """The feature map of these texts.

    Args:
        values: [texts, states + n-grams].
        n_states: number of states; the columns after them are n-grams, 0 if absent from the text.
    """
    mean = values[:, :n_states].mean(0)
    scale = np.empty(values.shape[1], dtype=np.float32)
    scale[:n_states] = 1.0 / (values[:, :n_states].std(0) + 1e-3)
    counts = (values[:, n_states:] > 0).sum(0)
    idf = np.log(len(values) / (1.0 + counts))
    # Root mean square over all occurrences, so that rows have a norm of about 1.
    rms = np.sqrt(float((counts * idf**2).sum()) / max(1, int(counts.sum())))
    scale[n_states:] = np.sqrt(_NGRAM_WEIGHT) * idf / max(rms, 1e-6)
    plain = FeatureMap(mean, scale, np.zeros((n_states, 0), dtype=np.float32))
    sample = np.linspace(0, len(values) - 1, min(len(values), _PCA_SAMPLE)).astype(int)
    count = min(N_COMPONENTS, len(values) // _TEXTS_PER_COMPONENT, n_states)
    return FeatureMap(mean, scale, _principal_components(plain.normalized_states(values[sample]), count))


def _principal_components(sample: Singles, count: int) -> Singles:
    """At most `count` principal components of these states (not centered), [states, components]."""
    eigenvalues, vectors = np.linalg.eigh((sample @ sample.T).astype(np.float64))
    # In ascending order of the eigenvalues.
    used = np.flatnonzero(eigenvalues > 1e-6 * eigenvalues.max())
    used = used[max(0, len(used) - count) :]
    basis = sample.T.astype(np.float64) @ vectors[:, used] / np.sqrt(eigenvalues[used])
    return np.asarray(basis.astype(np.float16), dtype=np.float32)
