"""Redraft's engine: make a small language model follow a written constitution, and measure whether it does.

The names below are the public API; everything else may change between versions. They are imported on first use, so
`import engine` loads no torch. `redraft.py` exports them under the project's name.

    run, resume               the whole loop, into a folder
    RunConfig, preset         its settings
    judge                     verdicts on texts
    Judge, JudgeInput, Verdict    the protocol for a judge of your own, its input and its output
    load_constitution         a constitution from a file
    compare                   paired statistics of base against trained
    read_journal, read_report what a run wrote
    RedraftError              base class of all errors a user can cause

`examples/` in the repository uses each of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.api import compare, judge, load_constitution, read_journal, read_report, resume, run
    from engine.errors import RedraftError
    from engine.judges.base import Judge, JudgeInput, Verdict
    from engine.settings import RunConfig, preset

    __version__: str

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

_MODULES = {
    "compare": "engine.api",
    "judge": "engine.api",
    "load_constitution": "engine.api",
    "read_journal": "engine.api",
    "read_report": "engine.api",
    "resume": "engine.api",
    "run": "engine.api",
    "Judge": "engine.judges.base",
    "JudgeInput": "engine.judges.base",
    "RedraftError": "engine.errors",
    "RunConfig": "engine.settings",
    "Verdict": "engine.judges.base",
    "preset": "engine.settings",
}
"""Public name -> the module that defines it."""


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("redraft")
    elif name in _MODULES:
        value = getattr(importlib.import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
