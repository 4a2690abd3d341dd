"""Starts a node's workers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from textual.dom import DOMNode


def start_worker(
    node: DOMNode,
    work: Callable[..., Coroutine[Any, Any, None]],
    *arguments: Any,
    group: str = "default",
    exclusive: bool = False,
) -> None:
    """Run `work(*arguments)` as a worker of the node.

    Its coroutine is made when the worker starts: one that is replaced before that would never be awaited.

    Args:
        exclusive: end the node's other workers of the group.
    """
    node.run_worker(partial(work, *arguments), group=group, exclusive=exclusive)  # type: ignore[arg-type]
