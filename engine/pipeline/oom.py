"""Running out of memory in the middle of a stage: recognizing it, and the error that it becomes."""

from __future__ import annotations

from engine.errors import ModelError
from engine.models.hub import memory_estimate

_SIGNS = ("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory")


def is_oom(error: BaseException) -> bool:
    """Whether memory ran out: Python's own error, torch's for GPUs, or torch's plain one for the CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def oom_error(stage: str, device: str, rows: int = 0, need: int = 0) -> ModelError:
    """The error for the user: the stage, the batch that did not fit, the need of the smallest one, and free memory.

    Args:
        rows: size of the first batch, in texts.
        need: bytes that the smallest batch needs by the estimate; 0 where that is not known.
    """
    tried = f", one text at a time too ({rows} at first)" if rows > 1 else ""
    wanted = f"it needs about {need / 1e6:,.0f} MB, and " if need else ""
    free = memory_estimate.free(device) / 1e6
    return ModelError(
        f"there is not enough memory for {stage}{tried}: {wanted}{free:,.0f} MB are free on {device}.",
        where=stage,
        next_step="Close other programs, or choose shorter texts or a smaller model; what is finished is kept, and "
        "the run can be resumed.",
    )
