"""Texts that try to reach the terminal as commands, the display as markup, or the eye as what they are not."""

from __future__ import annotations

import re

import pyte

PAYLOADS = (
    "\x1b[2J\x1b[HMARK0",
    "\x1b]0;MARK1\x07",
    "\x1b]52;c;TUFSSzI=\x07MARK2",
    "\x1b]8;;http://example.org/\x1b\\MARK3\x1b]8;;\x1b\\",
    "\x9b31mMARK4\x9d0;MARK4\x9c",
    "\x1bP+q544e\x1b\\MARK5",
    "\x1b_Gf=24;AAAA\x1b\\MARK6",
    "\u202eMARK7\u202c\u2066x\u2069\u200f",
    "MARK8\u200b\u200c\u2060\ufeff\u00ad",
    "[bold red on white]MARK9[/][link=http://example.org]x[/link][@click=app.quit]y[/]",
    "MARK10\r\x08\x08\x7f\x0b\x0c\x0e\x0f\x05",
    "MARK11\x00\x1a\x1c\x85\u2028\u2029",
    "\x1b[?1049l\x1b[?25l\x1bcMARK12",
    "\ue000\U000e0041MARK13\U000e0042\ufff9\ufffb",
    "e" + "\u0301" * 60 + "MARK14",
)
"""Each is recognised by its mark."""

_OWN = re.compile("\x1b\\[[0-9;]*m|\r\x1b\\[K")
"""What the plain display itself sends: colours, and the line of progress taken away."""


def obeyed(text: str) -> list[str]:
    """Characters that a terminal would obey, or that turn the direction of writing; newlines and tabs left out."""
    found = []
    for c in _OWN.sub("", text):
        control = (c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f"
        turning = c in "\u200e\u200f\u061c\u2028\u2029\ufeff" or "\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069"
        if control or turning:
            found.append(repr(c))
    return found


class Watched(pyte.Screen):
    """A terminal that keeps what it was told to do beside drawing."""

    def __init__(self) -> None:
        self.told: list[str] = []
        super().__init__(80, 24)

    def set_title(self, param: str) -> None:
        self.told.append(f"title {param}")

    def set_icon_name(self, param: str) -> None:
        self.told.append(f"icon {param}")

    def bell(self, *_: object) -> None:
        self.told.append("bell")

    def report_device_attributes(self, *_: object, **__: object) -> None:
        self.told.append("device")

    def report_device_status(self, *_: object) -> None:
        self.told.append("status")

    def set_mode(self, *modes: int, **more: object) -> None:
        self.told.append(f"mode {modes}")

    def reset(self) -> None:
        if hasattr(self, "buffer"):
            self.told.append("reset")
        super().reset()

    def erase_in_display(self, *_: object, **__: object) -> None:
        self.told.append("erase")

    def cursor_position(self, *_: object) -> None:
        self.told.append("move")

    def cursor_up(self, *_: object) -> None:
        self.told.append("up")

    def shift_out(self) -> None:
        self.told.append("charset")


def told_to_terminal(text: str) -> list[str]:
    """What a terminal does on this output beside drawing, colouring and beginning lines."""
    screen = Watched()
    screen.told.clear()
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    return screen.told
