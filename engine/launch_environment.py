"""What `accelerate launch` (or torchrun, or a scheduler) puts into the environment; imports nothing heavy.

The first of several processes performs the run: drafts, verdicts, journal, report. The others share its trainings.
"""

from __future__ import annotations

import os


def process_count() -> int:
    """How many processes were launched together; 1 where none were. Some clusters set WORLD_SIZE for whatever runs in
    them; a launcher says LOCAL_RANK, too."""
    return max(1, _number("WORLD_SIZE", 1)) if "LOCAL_RANK" in os.environ else 1


def process_index() -> int:
    """Which of them this is; 0 is the one that performs the run."""
    return _number("RANK", 0) if process_count() > 1 else 0


def local_index() -> int:
    """Which of those on this machine this is: the number of its GPU."""
    return _number("LOCAL_RANK", 0) if process_count() > 1 else 0


def _number(name: str, default: int) -> int:
    try:
        return int(os.environ.get(name, ""))
    except ValueError:
        return default
