"""Keeps secrets out of messages, journals and files: passwords in addresses, and what the environment calls a secret.

Libraries put both into the messages of their exceptions.
"""

from __future__ import annotations

import os
import re

_USERINFO = re.compile(r"(?<=://)[^/\s@\"']+@")
"""Name and password in an address."""

_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|(?:^|_)(?:API_?)?KEY$", re.IGNORECASE)
"""Names of environment variables that hold one."""

_LEAST = 8
"""Characters; shorter values are not secrets, and removing them would spoil messages."""


def redact(text: str) -> str:
    """The text with every password in an address, and every value of a secret variable, as "…"."""
    if "://" in text:
        text = _USERINFO.sub("…@", text)
    for name, value in os.environ.items():
        if len(value) >= _LEAST and value in text and _SECRET.search(name):
            text = text.replace(value, "…")
    return text
