"""What a setting says of itself: one sentence, its range or choices, its group. Flags, help, docs and checks use it.

Fields of settings dataclasses (`RunConfig`, `Sampling`, `TrainConfig`) are declared with `setting(...)`.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from dataclasses import dataclass
from typing import Any

from engine.text import sanitize, truncate

_KEY = "setting"
_OPTIONS = {"keep_texts": "--no-texts", "deduplicate": "--no-deduplicate", "column_map": "--map"}
"""Settings whose option has another name: one that is on by default is turned off."""


def option(name: str) -> str:
    """The option of a setting as it is typed: --lora-r."""
    return _OPTIONS.get(name, "--" + name.replace("_", "-"))


@dataclass(frozen=True)
class Setting:
    """What is known of a setting in addition to its type and default.

    Args:
        sentence: what it does, as one imperative sentence without a full stop.
        min, max: inclusive limits of a number.
        above, below: exclusive limits of a number.
        choices: the values that a text may have; empty for any.
        unset: what "" stands for.
        metavar: what the value is called in help; "" for the name of its type.
        group: heading under which help and docs list it; "" for that of its class.
    """

    sentence: str
    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    unset: str = ""
    metavar: str = ""
    group: str = ""

    def range(self) -> str:
        """The values allowed, in words: "1 to 1024", "at least 1", "above 0 and below 1"; "" for any."""
        if self.choices:
            return _listed(self.choices)
        if self.min is not None and self.max is not None:
            return f"{number(self.min)} to {number(self.max)}"
        limits = (("at least", self.min), ("above", self.above), ("at most", self.max), ("below", self.below))
        return " and ".join(f"{word} {number(limit)}" for word, limit in limits if limit is not None)

    def accepts(self, value: Any) -> bool:
        """Whether a value is among the choices or within the range."""
        if self.choices:
            return value in self.choices or (value == "" and bool(self.unset))
        if isinstance(value, tuple):
            return len(value) > 0 or self.min is None
        limits = (
            (self.min, operator.ge),
            (self.max, operator.le),
            (self.above, operator.gt),
            (self.below, operator.lt),
        )
        known = [(limit, holds) for limit, holds in limits if limit is not None]
        if not known:
            return True
        finite = isinstance(value, int | float) and -math.inf < value < math.inf
        return finite and all(holds(value, limit) for limit, holds in known)

    def problem(self, name: str, value: Any) -> str:
        """Why the value of the setting `name` is refused, as a sentence; "" where it is not."""
        if self.accepts(value):
            return ""
        shown = truncate(sanitize(repr(value)), 60)
        if self.choices:
            return f"unknown {name} {shown}."
        return f"{name} is empty." if isinstance(value, tuple) else f"{name} must be {self.range()}, not {shown}."


def setting(default: Any, sentence: str, **more: Any) -> Any:
    """A dataclass field with this default and a `Setting` of this sentence; `more` is the rest of the setting."""
    return dataclasses.field(default=default, metadata={_KEY: Setting(sentence, **more)})


def settings_of(kind: Any) -> dict[str, Setting]:
    """Name -> setting of each field of a settings dataclass, in order; fields that are groups of settings have none."""
    return {field.name: field.metadata[_KEY] for field in dataclasses.fields(kind) if _KEY in field.metadata}


def number(value: float) -> str:
    """A limit or a default as it is written in help: 1, 0.1, 2e-4, 4,294,967,295."""
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:.0e}".replace("e-0", "e-") if 0 < abs(value) < 1e-3 else f"{value:g}"


def _listed(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
