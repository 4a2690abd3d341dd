"""Requests to a model and their completions, whatever runs it (this machine, or a server).

Plain data and one protocol; knows nothing of torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.control import Control
from engine.setting_field import setting


@dataclass(frozen=True)
class Message:
    """One turn of a chat: `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Args:
        max_tokens: most tokens of a completion.
        temperature: 0 takes the likeliest token (greedy).
        top_k: keep the k likeliest tokens; 0 keeps all.
        top_p: keep the smallest set of likeliest tokens whose probabilities sum to at least this; 1 keeps all.
        min_p: keep tokens at least this times as likely as the likeliest; 0 keeps all.
        repetition_penalty: divide the logit of a token that the completion has already (multiply it where it is
            negative); 1 leaves it as it is (Keskar et al., 2019). The prompt's own tokens are not penalized.
        stop: texts that end a completion; not part of it.
    """

    max_tokens: int = setting(128, "Limit the tokens of a completion", min=1, max=1_000_000)
    temperature: float = setting(0.0, "Set the sampling temperature; 0 is greedy", min=0, max=100)
    top_k: int = setting(0, "Sample from the k likeliest tokens; 0 takes all", min=0)
    top_p: float = setting(1.0, "Sample from the likeliest tokens that together have this probability", min=0, max=1)
    min_p: float = setting(0.0, "Sample from tokens at least this times as likely as the likeliest", min=0, max=1)
    repetition_penalty: float = setting(
        1.0, "Make tokens less likely that the completion has already; 1 does not", min=0.1, max=10
    )
    stop: tuple[str, ...] = setting((), "End a completion at any of these texts")


class Constrained(Protocol):
    """One answer on its way that must have a certain form."""

    def token_mask(self) -> Any:
        """Booleans [vocabulary], a numpy array: whether a token may come next. At least one may."""
        ...

    def accept(self, token: int) -> bool:
        """Take the next token in; True where the answer is complete with it."""
        ...


class Constraint(Protocol):
    """A form that answers can be held to."""

    def start(self) -> Constrained: ...


@dataclass(frozen=True)
class Request:
    """One completion that is wanted.

    Args:
        key: names the request; unique within a call. Comes back with the completion.
        prompt: the text as sent, chat template applied (`LanguageModel.render`).
        sampling: how tokens are chosen.
        seed: with `key`'s place taken by nothing else, the only source of randomness: the same prompt, sampling and
            seed produce the same text whatever shares the batch (see `generate` for the exact promise).
        constraint: the form that the answer is held to, token by token; None for free words.
    """

    key: str
    prompt: str
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    constraint: Constraint | None = None


@dataclass(frozen=True)
class Completion:
    """What a model wrote.

    Args:
        key: the request's.
        text: control bytes stripped, stop texts cut off; empty where `error` is set.
        raw: the text as decoded, before any cutting.
        tokens: tokens generated.
        prompt_tokens: tokens of the prompt.
        finish: "stop" (the model or a stop text ended it), "length" (`max_tokens`), or "error".
        seconds: wall time from the call to this completion's end.
        error: why there is no text (a prompt longer than the context names its length), else "".
    """

    key: str
    text: str
    raw: str
    tokens: int
    prompt_tokens: int
    finish: str
    seconds: float
    error: str = ""


class LanguageModel(Protocol):
    """A model that can be asked for completions."""

    @property
    def name(self) -> str: ...

    @property
    def context(self) -> int:
        """Most tokens of prompt and completion together."""
        ...

    def render(self, messages: Sequence[Message]) -> str:
        """The chat as the one string that the model is sent, ending where its answer begins."""
        ...

    def generate(self, requests: Sequence[Request], control: Control) -> Iterator[Completion]:
        """Yields each completion as it ends, in any order. A request that cannot be served comes back with
        `error`; the others are not touched by it.

        Raises:
            Stopped: within one token step after `control.stop()`.
        """
        ...
