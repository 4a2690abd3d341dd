"""The prompts that settings name, as the prompts' pane lists them.

Reading a file of 100,000 rows and leaving out its duplicates takes seconds: `listed` is for a thread. The readers are
loaded with the first list, not with the app.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.settings import RunConfig

if TYPE_CHECKING:
    from engine.prompts import PromptSet

SETS = ("train", "held out", "benign")

Watch = Callable[[str, float], None]
"""Takes what is being done ("reading", "comparing") with which file, and the share of it that is done, 0 to 1."""


@dataclass(frozen=True)
class Listed:
    """A prompt of the list; `set` is of `SETS`, `folded` is what words are searched in."""

    item: str
    text: str
    set: str
    folded: str


def listed(config: RunConfig, watch: Watch) -> list[Listed]:
    """The prompts of these settings.

    Args:
        watch: called now and then. What it raises ends the work.

    Raises:
        RedraftError: a file cannot be used.
        TypeError: a setting is of another type; a journal from elsewhere may hold any value.
    """
    sets = (
        _training_prompts(config, watch),
        _prompts(config, config.heldout_prompts, "heldout", config.n_heldout, watch),
        _prompts(config, config.benign_prompts, "benign", config.n_benign, watch),
    )
    return [
        Listed(one.id, one.text, name, one.text.casefold())
        for name, prompts in zip(SETS, sets, strict=True)
        for one in prompts
    ]


def _training_prompts(config: RunConfig, watch: Watch) -> PromptSet:
    if not config.pairs:
        return _prompts(config, config.train_prompts, "train", config.n_train, watch)
    from engine.prompts.pairs import load_pairs
    from engine.prompts.preview import parse_columns

    watch(f"reading {config.pairs}", 0.0)
    return load_pairs(config.pairs, columns=parse_columns(config.column_map)).prompts.first(config.n_train)


def _prompts(config: RunConfig, path: str, builtin: str, size: int, watch: Watch) -> PromptSet:
    from engine.prompts import load_builtin, load_prompts

    if not path:
        return load_builtin(builtin).first(size)
    from engine.prompts.preview import parse_columns

    watch(f"reading {path}", 0.0)
    loaded = load_prompts(path, columns=parse_columns(config.column_map))
    distinct = loaded.distinct(keep=not config.deduplicate, watch=lambda share: watch(f"comparing {path}", share))
    return distinct.first(size)
