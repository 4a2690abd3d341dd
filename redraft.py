"""Redraft's public API under the project's own name: `import redraft`. `engine` defines and describes it.

`python -m redraft` is the program `redraft`.
"""

from __future__ import annotations

from engine import (
    Judge,
    JudgeInput,
    RedraftError,
    RunConfig,
    Verdict,
    __version__,
    compare,
    judge,
    load_constitution,
    preset,
    read_journal,
    read_report,
    resume,
    run,
)

__all__ = [
    "Judge",
    "JudgeInput",
    "RedraftError",
    "RunConfig",
    "Verdict",
    "__version__",
    "compare",
    "judge",
    "load_constitution",
    "preset",
    "read_journal",
    "read_report",
    "resume",
    "run",
]

if __name__ == "__main__":
    import sys

    from tui.start import main

    sys.exit(main())
