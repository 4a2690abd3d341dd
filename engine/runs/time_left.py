"""Seconds until a stage's end, from what is done and the speed measured so far; None before it can be known."""

from __future__ import annotations

from collections.abc import Sequence

_STEADY = frozenset({"train"})
"""Stages whose items take the same time, one after the other."""

_LEAST_SHARE = 0.1
"""Share of a stage's work that has to be done before its speed says something of the rest."""


def by_items(stage: str, done: float, known: int, total: int, seconds: float, *, whole: bool = True) -> float | None:
    """From the items that are finished.

    Items of most stages are worked on together, and the short ones finish first: the first few say nothing of the
    rest, so a quarter has to be done. Steps of training take the same time each; three are enough.

    Args:
        stage: its name.
        done: items finished, those of an earlier start included.
        known: items that were finished when this start of the stage began.
        total: items of the stage; 0 where it is not known.
        seconds: worked on the stage since then.
        whole: whether `done` counts whole items only; where it counts parts of items, a tenth is enough.
    """
    finished, wanted = done - known, total - known
    least = 3 if stage in _STEADY else max(1, wanted / 4) if whole else wanted * _LEAST_SHARE
    if seconds <= 0 or wanted <= 0 or finished <= 0 or finished < min(least, wanted):
        return None
    return seconds / finished * max(0, total - done)


def by_tokens(
    finished: int, ended: int, in_flight: Sequence[int], waiting: int, limit: int, seconds: float
) -> float | None:
    """From the tokens that are written.

    How long the texts will be that are not finished is estimated from the chance that a text ends at a token, which is
    taken to be the same at every token: texts that ended by themselves, for each token written. A text still ends at
    `limit`.

    Args:
        finished: tokens of the texts that are finished.
        ended: how many of those ended before the limit.
        in_flight: tokens so far of each text that is being written.
        waiting: texts that have not begun.
        limit: maximum tokens of a text.
        seconds: worked on the stage.
    """
    written = finished + sum(in_flight)
    if written <= 0 or seconds <= 0:
        return None
    chance = ended / written
    left = sum(_expected(max(0, limit - tokens), chance) for tokens in in_flight) + waiting * _expected(limit, chance)
    if written < _LEAST_SHARE * (written + left):
        return None
    return left * seconds / written


def _expected(room: int, chance: float) -> float:
    """Tokens that a text will still get where it ends at each with `chance`, and has room for so many."""
    return room if chance <= 0 else (1 - (1 - chance) ** room) / chance
