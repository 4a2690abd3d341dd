"""How likely a model is to go on with yes or no: the same as transformers' own numbers, whatever is shared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.control import Control
from engine.models.inference.choice_logprobs import SharedPrefix, choice_logprobs, choice_token_ids
from engine.models.inference.prefix_cache import common_prefix_length, shared_prefix_length
from engine.models.local import LocalModel, load_model

FAMILIES = ("llama", "qwen2", "gemma", "phi", "gpt2")


def tiny_model(tiny: Callable[..., Path], family: str) -> LocalModel:
    longer = {"n_positions": 4096} if family == "gpt2" else {"max_position_embeddings": 4096}
    return load_model(str(tiny(family, **longer)), device="cpu", dtype="float32")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_mass_of_words_equals_a_plain_softmax(family: str, tiny: Callable[..., Path], redraft_home: Path) -> None:
    model = tiny_model(tiny, family)
    start = list(range(5, 45))
    endings = [[*start, 60, 61, 62], [*start, 70], [*start, 70, 71, 72, 73]]
    choices = [[10, 11], [12]]
    alone = torch.stack([choice_logprobs(model.decoder, [ending], choices, Control())[0] for ending in endings])
    together = choice_logprobs(
        model.decoder, endings, choices, Control(), SharedPrefix.of(model.decoder, start[:30], Control())
    )
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(model.folder, dtype=torch.float32)
    for row, ending in enumerate(endings):
        with torch.no_grad():
            chances = reference(torch.tensor([ending])).logits[0, -1].softmax(-1)
        expected = torch.stack([chances[choice].sum().log() for choice in choices])
        assert torch.allclose(together[row], expected, atol=1e-4)
        assert torch.allclose(alone[row], expected, atol=1e-4)


def test_a_beginning_of_other_tokens_is_left_aside(tiny: Callable[..., Path], redraft_home: Path) -> None:
    model = tiny_model(tiny, "llama")
    endings = [[*range(5, 45), 60], [*range(5, 45), 61]]
    other = SharedPrefix.of(model.decoder, list(range(50, 80)), Control())
    longer = SharedPrefix.of(model.decoder, [*range(5, 45), 60], Control())
    plain = choice_logprobs(model.decoder, endings, [[10], [11]], Control())
    for beginning in (other, longer, SharedPrefix((), None)):
        assert torch.allclose(
            choice_logprobs(model.decoder, endings, [[10], [11]], Control(), beginning), plain, atol=1e-5
        )


def test_all_spellings_of_a_word_are_found(embedded: LocalModel) -> None:
    yes, no = choice_token_ids(embedded.codec, ("Yes", "No"))
    texts = {embedded.tokenizer.decode([token]) for token in yes}
    assert {"Yes", " Yes", "yes", " yes"} <= texts
    assert {text.strip().lower() for text in texts} == {"yes"}
    assert {embedded.tokenizer.decode([token]).strip().lower() for token in no} == {"no"}


def test_a_vocabulary_without_the_words_is_asked_for_their_first_letters(
    tiny: Callable[..., Path], redraft_home: Path
) -> None:
    model = tiny_model(tiny, "phi")
    yes, no = choice_token_ids(model.codec, ("Yes", "No"))
    assert yes
    assert no
    assert not set(yes) & set(no)
    assert {model.tokenizer.decode([token]) for token in (*yes, *no)} <= {"Y", "y", "N", "n", "no", "No"}


def test_sequences_share_their_first_tokens() -> None:
    assert common_prefix_length([[1, 2, 3], [1, 2, 4], [1, 2, 3, 5]]) == 2
    assert common_prefix_length([[1], [2]]) == 0
    assert common_prefix_length([[1, 2]]) == 2


def test_what_sequences_may_share_leaves_each_a_token_of_its_own() -> None:
    assert shared_prefix_length([[1, 2, 3], [1, 2, 4]]) == 2
    assert shared_prefix_length([[1, 2], [1, 2, 3]]) == 1
    assert shared_prefix_length([(1, 2)]) == 1
    assert shared_prefix_length([[1], [1]]) == 0
