"""Keys of older journals and what they are called now: the one place that knows of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED: dict[str, dict[str, str]] = {
    "JUDGES": {"apart": "independent"},  # 0.1
}
"""Stage -> key in an older journal's `data` -> key now."""


def upgrade(stage: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record's `data` with today's keys."""
    renamed = RENAMED.get(stage)
    if not renamed or not any(key in renamed for key in data):
        return data
    return {renamed.get(key, key): value for key, value in data.items()}
