"""How likely a model is to continue with one of a few words, after each of several endings of one text.

What the endings share is computed once, and what texts share at their beginning once for all of them; the head sees one
position an ending.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.control import Control
from engine.models.inference.prefix_cache import MIN_PREFIX_TOKENS, compute_prefix, shared_prefix_length
from engine.models.nn.attention import CausalPacked, Prefix
from engine.models.nn.decoder import LanguageDecoder, pack

if TYPE_CHECKING:
    from engine.models.inference.token_codec import Codec

_SPACES = " \t\n\u2581\u0120\u010a"
"""What stands for a space or a line's end in the vocabularies of tokenizers."""


@dataclass(frozen=True)
class SharedPrefix:
    """Tokens that many texts begin with, and their keys and values."""

    tokens: tuple[int, ...]
    prefix: Prefix | None

    @classmethod
    def of(cls, decoder: LanguageDecoder, tokens: Sequence[int], control: Control) -> SharedPrefix:
        """Compute it; too few tokens to be worth it give an empty one.

        Raises:
            Stopped: if asked to.
        """
        if len(tokens) < MIN_PREFIX_TOKENS or not decoder.packs:
            return cls((), None)
        return cls(tuple(tokens), compute_prefix(decoder, tokens, control))


def choice_logprobs(
    decoder: LanguageDecoder,
    endings: Sequence[Sequence[int]],
    choices: Sequence[Sequence[int]],
    control: Control,
    beginning: SharedPrefix | None = None,
) -> Tensor:
    """Log of the probability that the next token is one of a choice's, summed over its tokens.

    Args:
        decoder: the model.
        endings: whole token lists, that share their first tokens; none empty, none longer than the context.
        choices: ids of tokens, each list at least one.
        control: `check` is called once a pass.
        beginning: of all of them, where it was computed before.

    Returns:
        fp32 [endings, choices], on the CPU; at most 0.

    Raises:
        Stopped: if asked to.
    """
    shared = shared_prefix_length(endings) if decoder.packs else 0
    known = None
    if beginning is not None and tuple(endings[0][:shared][: len(beginning.tokens)]) == beginning.tokens:
        known = beginning.prefix
    start = known.length if known is not None else 0
    prefix = compute_prefix(decoder, endings[0][start:shared], control, before=known) if shared else None
    own = [ending[shared:] for ending in endings]
    control.check()
    with torch.inference_mode():
        tokens, positions = pack(own, start=shared, device=decoder.device)
        attention = CausalPacked(
            [len(one) for one in own],
            decoder.config.group,
            prefix=prefix,
            device=decoder.device,
            dtype=decoder.dtype,
        )
        hidden = decoder.forward(tokens, positions, attention).last
        last = torch.tensor([len(one) for one in own], device=decoder.device).cumsum(0) - 1
        logprobs = torch.log_softmax(decoder.logits(hidden[last]), -1, dtype=torch.float32).cpu()
    return torch.stack([logprobs[:, list(choice)].logsumexp(-1) for choice in choices], 1)


def choice_token_ids(codec: Codec, words: Sequence[str]) -> list[list[int]]:
    """For each word the tokens that stand for it as a whole, with or without a space, in any case of letters.

    A vocabulary that has none of them as one token is asked for the first tokens of the words as it writes them;
    tokens that begin more than one of the words are left out.

    Returns:
        ids, a list a word; empty where nothing tells the word from the others.
    """
    wanted = {word.casefold(): place for place, word in enumerate(words)}
    found: list[set[int]] = [set() for _ in words]
    for text, number in codec.tokenizer.get_vocab().items():
        place = wanted.get(text.strip(_SPACES).casefold())
        if place is not None and number not in codec.ends:
            found[place].add(number)
    if not all(found):
        for place, word in enumerate(words):
            found[place] = {ids[0] for ids in codec.encode_all(list(_written(word))) if ids}
    return [sorted(ids - set().union(*(found[:place] + found[place + 1 :]))) for place, ids in enumerate(found)]


def _written(word: str) -> Iterator[str]:
    for form in (word, word.lower(), word.upper(), word.capitalize()):
        yield form
        yield f" {form}"
