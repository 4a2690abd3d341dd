"""Logistic regression with an L2 penalty, fitted by L-BFGS: small, exact enough, and the same for the same input.

Knows numbers only. The problem is strictly convex, so the start does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_MEMORY = 8
_STEPS = 200
_TOLERANCE = 1e-7


@dataclass(frozen=True)
class Line:
    """What was fitted: the logit of x is x @ weight + bias."""

    weight: Singles
    bias: float

    def logits(self, x: Singles) -> Floats:
        """[n, d] -> [n]."""
        return (x @ self.weight).astype(np.float64) + self.bias


def fit_line(x: Singles, target: Floats, weights: Floats, strength: float) -> Line:
    """Minimise sum(weights * log loss) + |weight|^2 / (2 * strength); the bias is not penalised.

    Args:
        x: [n, d].
        target: [n], 0 to 1.
        weights: [n], how much each row counts.
        strength: the inverse of the penalty: larger trusts the rows more.
    """

    def loss(v: Floats) -> tuple[float, Floats]:
        z = (x @ v[:-1].astype(np.float32)).astype(np.float64) + v[-1]
        value = float((weights * (np.logaddexp(0.0, z) - target * z)).sum() + v[:-1] @ v[:-1] / (2 * strength))
        residual = weights * (sigmoid(z) - target)
        gradient = np.empty_like(v)
        gradient[:-1] = x.T @ residual.astype(np.float32) + v[:-1] / strength
        gradient[-1] = residual.sum()
        return value, gradient

    found = _lbfgs(loss, np.zeros(x.shape[1] + 1))
    return Line(found[:-1].astype(np.float32), float(found[-1]))


def sigmoid(z: Floats) -> Floats:
    """1 / (1 + exp(-z)), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))


def _lbfgs(loss: Callable[[Floats], tuple[float, Floats]], start: Floats) -> Floats:
    """Nocedal & Wright 2006, algorithm 7.5, with backtracking until the decrease suffices (Armijo)."""
    at, (value, gradient) = start, loss(start)
    moves: list[tuple[Floats, Floats]] = []
    for _ in range(_STEPS):
        step = -_turned(gradient, moves)
        slope = float(gradient @ step)
        length = 1.0 if moves else min(1.0, 1.0 / max(float(np.abs(gradient).sum()), 1e-12))
        while True:
            new = at + length * step
            new_value, new_gradient = loss(new)
            if new_value <= value + 1e-4 * length * slope or length < 1e-10:
                break
            length /= 2
        change, bend = new - at, new_gradient - gradient
        if float(change @ bend) > 1e-12:
            moves = [*moves[-(_MEMORY - 1) :], (change, bend)]
        settled = abs(value - new_value) <= _TOLERANCE * max(1.0, abs(new_value))
        at, value, gradient = new, new_value, new_gradient
        if settled:
            break
    return at


def _turned(gradient: Floats, moves: list[tuple[Floats, Floats]]) -> Floats:
    """The gradient times the approximate inverse Hessian that past moves give."""
    q = gradient.copy()
    shares = []
    for change, bend in reversed(moves):
        share = float(change @ q) / float(bend @ change)
        shares.append(share)
        q -= share * bend
    if moves:
        change, bend = moves[-1]
        q *= float(change @ bend) / float(bend @ bend)
    for (change, bend), share in zip(moves, reversed(shares), strict=True):
        q += change * (share - float(bend @ q) / float(bend @ change))
    return q
