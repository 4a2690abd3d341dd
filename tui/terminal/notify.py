"""Escape sequences that call the user back: the window's title, and notifications of the desktop where a terminal is
known to show them."""

from __future__ import annotations

from collections.abc import Mapping

from engine.text import sanitize, truncate

SAVE_TITLE = "\x1b[22;2t"
RESTORE_TITLE = "\x1b[23;2t"
"""xterm's stack of titles: what the window was called before the app comes back at its end."""

_OSC_9 = frozenset({"iTerm.app", "WezTerm", "ghostty"})
"""Values of TERM_PROGRAM whose terminal shows OSC 9 as a notification. Elsewhere OSC 9 may mean something else."""

_OSC_777 = ("foot", "rxvt")
"""Beginnings of TERM whose terminal shows OSC 777."""


def title(text: str) -> str:
    """Set the window's title."""
    return f"\x1b]2;{_plain(text)}\x07"


def notification(heading: str, text: str, environ: Mapping[str, str]) -> str:
    """Show a notification of the desktop; "" where the terminal is not known to do that, or tmux or screen stand
    between, which drop it.

    Args:
        environ: the environment, which says which terminal it is.
    """
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if environ.get("TMUX") or term.startswith(("tmux", "screen")):
        return ""
    if term == "xterm-kitty" or program in _OSC_9:
        return f"\x1b]9;{_plain(heading)}: {_plain(text)}\x07"
    if term.startswith(_OSC_777):
        return f"\x1b]777;notify;{_plain(heading)};{_plain(text)}\x07"
    return ""


def _plain(text: str) -> str:
    """On one line, without what ends or divides a sequence."""
    return truncate(" ".join(sanitize(text).replace(";", ",").split()), 200)
