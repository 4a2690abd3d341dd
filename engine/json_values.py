"""Numbers among values that were read as JSON, where `true` is none."""

from __future__ import annotations

from typing import Any, TypeGuard


def is_number(value: Any) -> TypeGuard[float]:
    """Whether this is an integer or a float; NaN and the infinities are."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number_or_none(value: Any) -> float | None:
    """The number as a float; None for anything else."""
    return float(value) if is_number(value) else None
