"""The feature map: unit-norm states, products of components, n-grams weighted by rarity."""

from __future__ import annotations

import numpy as np
import pytest

from engine.judges.probe import feature_map, ridge


def vectors(count: int = 200, dense: int = 16, words: int = 8) -> feature_map.Singles:
    random = np.random.default_rng(0)
    states = random.normal(size=(count, dense)) * np.linspace(1, 30, dense) + 5
    said = random.uniform(size=(count, words)) < np.linspace(0.05, 0.9, words)
    return np.concatenate([states, said], 1).astype(np.float32)


def test_inner_products_of_features_are_the_polynomial_kernel() -> None:
    values = vectors()
    fitted = feature_map.fit_feature_map(values, 16)
    features = fitted.features(values)
    assert features.shape == (200, fitted.n_features)
    states, said = features[:, :16].astype(np.float64), features[:, 16:24].astype(np.float64)
    directions = states @ fitted.basis
    expected = states @ states.T + said @ said.T + (directions @ directions.T) ** 2
    assert features.astype(np.float64) @ features.T == pytest.approx(expected, abs=1e-4)


def test_states_have_unit_norm_whatever_their_spread() -> None:
    values = vectors()
    features = feature_map.fit_feature_map(values, 16).features(values * 3)
    assert np.linalg.norm(features[:, :16], axis=1) == pytest.approx(np.ones(200), abs=1e-5)


def test_features_of_a_text_do_not_depend_on_the_batch() -> None:
    values = vectors()
    fitted = feature_map.fit_feature_map(values, 16)
    assert fitted.features(values[7:8]) == pytest.approx(fitted.features(values)[7:8], abs=1e-6)


def test_rare_ngrams_weigh_more_than_common_ones() -> None:
    values = np.zeros((10, 2), dtype=np.float32)
    values[:, 0] = 1.0
    values[:2, 1] = 1.0
    scale = feature_map.fit_feature_map(values, 0).scale
    assert scale[1] > 10 * abs(scale[0])


def test_products_separate_what_no_single_state_does() -> None:
    values = vectors(400, dense=4, words=1)
    label = np.where((values[:, 0] > 5) == (values[:, 1] > np.median(values[:, 1])), 1.0, -1.0)
    features = feature_map.fit_feature_map(values, 4).features(values).astype(np.float64)
    products = features @ features.T
    seen = np.arange(400) < 300
    shares = ridge.solve(products, label, seen.astype(float), 0.1).dual
    right = np.sign(ridge.predict(products[~seen], shares)) == label[~seen]
    alone = features[:, :4] @ features[:, :4].T
    straight = np.sign(ridge.predict(alone[~seen], ridge.solve(alone, label, seen.astype(float), 0.1).dual))
    assert right.mean() > 0.8 > 0.65 > (straight == label[~seen]).mean()


def test_few_texts_give_few_components() -> None:
    assert feature_map.fit_feature_map(vectors(8), 16).basis.shape == (16, 2)
    assert feature_map.fit_feature_map(vectors(3), 16).basis.shape == (16, 0)
