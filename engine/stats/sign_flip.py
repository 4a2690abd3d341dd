"""The sign-flip permutation test on paired differences: exact wherever that is affordable, else seeded sampling.

If nothing changed, each difference is as likely to have the other sign; the test counts how many of all ways to choose
signs give a sum at least as far from 0. Plain Python.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

FLIPS = 10_000
"""Random choices of signs where the exact count is out of reach."""

_DENOMINATORS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 20, 100, 1000)
_WORK = 200_000_000
"""Bytes that the exact count may touch; about .1 s."""
_HALVES = 30
"""Most differences other than 0 whose signs are all tried, in two halves."""


@dataclass(frozen=True)
class SignFlip:
    """Two-sided p, and how it was got: "exact", or how many random sign flips with which seed."""

    p: float
    method: str


def sign_flip_test(differences: Sequence[float], seed: int = 0) -> SignFlip:
    """Whether the mean of paired differences is other than 0. Zeros say nothing and change nothing."""
    rest = [value for value in differences if value]
    observed = abs(sum(rest))
    if not rest:
        return SignFlip(1.0, "exact")
    units = _in_units(rest)
    if units is not None:
        return SignFlip(_count_on_lattice(units), "exact")
    # Sums of the same numbers in another order differ in their last bits.
    threshold = observed - 1e-9 * sum(map(abs, rest))
    if threshold <= 0:
        return SignFlip(1.0, "exact")
    if len(rest) <= _HALVES:
        return SignFlip(_count_in_halves(rest, threshold), "exact")
    return SignFlip(_sample(rest, threshold, seed), f"{FLIPS:,} random sign flips, seed {seed}")


def wilcoxon_test(differences: Sequence[float], seed: int = 0) -> SignFlip:
    """Wilcoxon's signed-rank test: the same test on the ranks of the differences, ties sharing their mean rank.

    With many ties it tests another quantity than the mean: an addition to the result, not the result.
    """
    rest = sorted((value for value in differences if value), key=abs)
    ranks: list[float] = []
    start = 0
    while start < len(rest):
        end = start
        while end < len(rest) and abs(rest[end]) - abs(rest[start]) <= 1e-12:
            end += 1
        # Twice the mean rank, so that ranks stay whole numbers.
        ranks += [float(start + end + 1)] * (end - start)
        start = end
    return sign_flip_test([rank if value > 0 else -rank for rank, value in zip(ranks, rest, strict=True)], seed)


def _in_units(values: Sequence[float]) -> list[int] | None:
    """The values as whole multiples of a common unit, where there is one that makes the exact count affordable."""
    for denominator in _DENOMINATORS:
        scaled = [value * denominator for value in values]
        units = [round(value) for value in scaled]
        if all(abs(value - unit) < 1e-7 for value, unit in zip(scaled, units, strict=True)):
            common = gcd(*units)
            units = [unit // common for unit in units]
            cells = sum(map(abs, units)) + 1
            return units if cells * _cell_bytes(len(units)) * len(units) <= _WORK else None
    return None


def _cell_bytes(count: int) -> int:
    """Bytes that hold any number of ways to choose the signs of `count` values, up to 2**count."""
    return count // 8 + 1


def _count_on_lattice(units: Sequence[int]) -> float:
    """The exact p for whole numbers: one big integer holds, cell by cell, in how many ways each sum is reached."""
    width = _cell_bytes(len(units))
    ways = 1
    total = 0
    for unit in units:
        ways += ways << (8 * width * abs(unit))
        total += abs(unit)
    observed = abs(sum(units))
    if observed == 0:
        return 1.0
    # A sum of signs is 2 * (sum of those taken positive) - total; the lower tail ends at the mirrored observed sum.
    cells = ways.to_bytes((total + 1) * width, "little")
    last = (total - observed) // 2
    tail = sum(int.from_bytes(cells[cell * width : (cell + 1) * width], "little") for cell in range(last + 1))
    # As whole numbers: their quotient may be a float where they themselves are too large for one.
    return min(1.0, 2 * tail / (1 << len(units)))


def _count_in_halves(values: Sequence[float], threshold: float) -> float:
    """The exact p by all signs of one half against the sorted sums of all signs of the other."""
    middle = len(values) // 2
    first, second = _all_sums(values[:middle]), sorted(_all_sums(values[middle:]))
    reached = sum(len(second) - bisect_left(second, threshold - one) for one in first)
    return min(1.0, 2 * reached / (1 << len(values)))


def _all_sums(values: Sequence[float]) -> list[float]:
    """The sums of the values under all choices of signs, 2**n of them."""
    sums = [0.0]
    for value in values:
        sums = [one + value for one in sums] + [one - value for one in sums]
    return sums


def _sample(values: Sequence[float], threshold: float, seed: int) -> float:
    """The p by random signs, eight at a time from a table of 256 sums; the observed signs count as one draw."""
    chance = random.Random(seed)
    tables = [_all_sums(values[start : start + 8]) * 2 ** max(0, start + 8 - len(values)) for start in _steps(values)]
    reached = 0
    for _ in range(FLIPS):
        drawn = sum(map(list.__getitem__, tables, chance.randbytes(len(tables))))
        reached += abs(drawn) >= threshold
    return (1 + reached) / (1 + FLIPS)


def _steps(values: Sequence[float]) -> range:
    return range(0, len(values), 8)
