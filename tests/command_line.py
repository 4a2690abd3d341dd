"""The command line called in this process: what it prints and how it ends, without the seconds of a new interpreter.

Signals, closed streams, imports and locales are tests of a process, and start one.
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Input(io.TextIOWrapper):
    def isatty(self) -> bool:
        return False


@contextmanager
def streams(stdin: bytes = b"") -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """Standard streams in memory."""
    before = sys.stdin, sys.stdout, sys.stderr
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="replace") for _ in range(2))
    sys.stdin, sys.stdout, sys.stderr = _Input(io.BytesIO(stdin), encoding="utf-8", errors="replace"), out, err
    try:
        yield out, err
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def call(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """`redraft ARGUMENTS`, with its exit code and both streams; none of them holds a traceback."""
    from tui.cli import main

    words = [str(argument) for argument in arguments]
    with streams(stdin) as (out, err):
        code = main(words)
        out.flush()
        err.flush()
        told = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    assert "Traceback" not in told[0] + told[1]
    return subprocess.CompletedProcess(words, code, *told)
