"""Memory that runs out in the middle of a stage: how it is told from other failures, and what is said of it."""

from __future__ import annotations

from engine.errors import ModelError
from engine.models.hub import memory_estimate

_SIGNS = ("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory")


def is_shortage(error: BaseException) -> bool:
    """Whether memory ran out: Python's own error, torch's for graphics cards, or torch's plain one for a CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def shortage(stage: str, device: str, rows: int = 0, need: int = 0) -> ModelError:
    """The error for a person: the stage, the batch that did not fit, what the smallest one needs and what is free now.

    Args:
        rows: texts that were tried together at first.
        need: bytes that the smallest batch takes by the budget; 0 where that is not known.
    """
    tried = f", one text at a time too ({rows} at first)" if rows > 1 else ""
    wanted = f"it needs about {need / 1e6:,.0f} MB, and " if need else ""
    free = memory_estimate.free(device) / 1e6
    return ModelError(
        f"there is not enough memory for {stage}{tried}: {wanted}{free:,.0f} MB are free on {device}.",
        where=stage,
        next_step="End other programs, or choose shorter texts or a smaller model; what is finished is kept, and the "
        "run can be resumed.",
    )
