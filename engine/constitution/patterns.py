"""Compiles the regular expressions of rules: RE2 syntax, case-insensitive, linear in the text, bounded memory."""

from __future__ import annotations

import re2

MAX_MEMORY = 16 << 20
"""Bytes that RE2 may use for one pattern."""


class PatternError(ValueError):
    """A pattern is not valid in RE2 syntax; the message is RE2's own."""


def pattern_options() -> re2.Options:
    """The options of every rule's pattern."""
    options = re2.Options()
    options.case_sensitive = False
    options.never_capture = True
    options.log_errors = False
    options.max_mem = MAX_MEMORY
    return options


def compile_pattern(pattern: str) -> re2._Regexp:
    """The compiled pattern; it searches UTF-8 bytes.

    Raises:
        PatternError: it is not valid in RE2 syntax, or too large.
    """
    try:
        return re2.compile(pattern.encode(), pattern_options())
    except re2.error as error:
        message = error.args[0] if error.args else error
        text = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
        # RE2 appends the pattern to the reason.
        raise PatternError(text.split(": ")[0]) from None


def matches_empty(pattern: str) -> bool:
    """Whether the pattern matches the empty text, and so every position of every text.

    Raises:
        PatternError: it is not valid in RE2 syntax, or too large.
    """
    return compile_pattern(pattern).search(b"") is not None
