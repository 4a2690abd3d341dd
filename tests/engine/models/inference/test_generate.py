"""The engine writes what transformers would write, whatever shares the batch, and obeys limits and stops."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from random_models import CASES, random_model, random_sequences

from engine.control import Control
from engine.errors import Stopped
from engine.models.inference.generate import generate
from engine.models.inference.kv_cache import KVCache
from engine.models.inference.prefix_cache import find_shared
from engine.models.inference.requests import Completion, Request, Sampling
from engine.models.inference.stop_strings import StopStrings
from engine.models.local import LocalModel
from engine.models.nn import families
from engine.models.nn.config import FAMILIES
from engine.models.nn.decoder import Decoder, pack

QUESTIONS = [
    "What is the capital of France?",
    "How do I bake bread?",
    "Tell me about whales.",
    "Write a poem on rain.",
    "Explain gravity to a child.",
    "Why is the sky blue?",
    "How can I sleep better?",
    "Is it right to lie to a friend?",
    "Name three rivers in Africa.",
    "How do I mend a flat tire?",
]


class Numbers:
    """A tokenizer whose text is the token numbers."""

    ends: frozenset[int] = frozenset({2})

    def encode(self, text: str) -> list[int]:
        return [int(word) for word in text.split()]

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(f"{token} " for token in tokens)


def text_of(tokens: Sequence[int]) -> str:
    return " ".join(str(token) for token in tokens)


def chats(count: int, system: str = "You are helpful.") -> list[str]:
    ask = "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    more = [" Please be brief.", "", " Say why, and give an example of number {}."]
    return [ask.format(system, QUESTIONS[i % 10] + more[i % 3].format(i)) for i in range(count)]


def all_of(found: Iterator[Completion]) -> dict[str, Completion]:
    return {completion.key: completion for completion in found}


def greedy(decoder: Decoder, prompt: list[int], count: int, ends: frozenset[int]) -> list[int]:
    """The plain way: the whole text again for each token."""
    written: list[int] = []
    with torch.inference_mode():
        for _ in range(count):
            tokens, positions = pack([prompt + written])
            hidden = decoder.forward(tokens, positions, decoder.causal([len(tokens)])).last
            token = int(decoder.logits(hidden[-1:]).argmax())
            if token in ends:
                break
            written.append(token)
    return written


@pytest.mark.model
def test_greedy_texts_equal_those_of_transformers_token_for_token(embedded: LocalModel) -> None:
    from transformers import AutoModelForCausalLM

    assert embedded.folder is not None
    reference: Any = AutoModelForCausalLM.from_pretrained(embedded.folder, dtype=torch.float32)
    prompts = chats(24)
    codec = embedded.codec
    requests = [Request(str(i), prompt, Sampling(max_tokens=12)) for i, prompt in enumerate(prompts)]
    found = all_of(generate(embedded.decoder, codec, requests, Control(), rows=12))
    for i, prompt in enumerate(prompts):
        tokens = torch.tensor([codec.encode(prompt)])
        with torch.inference_mode():
            out = reference.generate(
                tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=12, do_sample=False, pad_token_id=2
            )
        assert found[str(i)].raw == codec.decode(out[0, tokens.shape[1] :].tolist())


def test_the_repetition_penalty_equals_transformers_with_the_prompt_ignored() -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    decoder = families.from_transformers(random_model("llama"))
    prompts = [[5, 7, 11, 5], [9, 4, 6]]
    requests = [
        Request("penalized", text_of(prompts[0]), Sampling(max_tokens=20, repetition_penalty=1.8)),
        Request("plain", text_of(prompts[1]), Sampling(max_tokens=20)),
    ]
    found = all_of(generate(decoder, Numbers(), requests, Control()))
    written: list[int] = []
    with torch.inference_mode():
        for _ in range(20):
            tokens, positions = pack([prompts[0] + written])
            hidden = decoder.forward(tokens, positions, decoder.causal([len(tokens)])).last
            logits = decoder.logits(hidden[-1:])
            if written:
                logits = RepetitionPenaltyLogitsProcessor(1.8)(torch.tensor([written]), logits)
            written.append(int(logits.argmax()))
            if written[-1] in Numbers.ends:
                written.pop()
                break
    assert found["penalized"].raw.split() == [str(token) for token in written]
    assert found["plain"].raw.split() == [str(t) for t in greedy(decoder, prompts[1], 20, Numbers.ends)]


@pytest.mark.model
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_tokens=12, temperature=1.0, top_p=0.9),
        Sampling(max_tokens=12, temperature=0.8),
        Sampling(max_tokens=12, temperature=0.9, top_k=50, min_p=0.02),
    ],
    ids=["top-p", "whole vocabulary", "top-k and min-p"],
)
def test_the_same_seed_gives_the_same_text_alone_in_five_and_in_forty(embedded: LocalModel, sampling: Sampling) -> None:
    prompts = chats(40)
    requests = [Request(str(i), p, sampling, seed=100 + i) for i, p in enumerate(prompts[:5])]
    others = [Request(str(i), p, Sampling(max_tokens=2 + i % 10), seed=i) for i, p in enumerate(prompts) if i >= 5]

    def texts(asked: list[Request]) -> list[str]:
        found = all_of(generate(embedded.decoder, embedded.codec, asked, Control(), rows=24))
        return [found[str(i)].raw for i in range(5) if str(i) in found]

    in_forty = texts(others[:20] + requests + others[20:])
    assert texts(requests) == in_forty
    assert texts(requests[2:3]) == in_forty[2:3]
    assert len(set(in_forty)) == 5
    reseeded = [Request(r.key, r.prompt, r.sampling, seed=r.seed + 1) for r in requests]
    assert texts(reseeded) != in_forty


@pytest.mark.parametrize("case", ["llama", "gemma", "phi", "qwen2", "gpt2"])
@pytest.mark.parametrize("rows", [3, 64])
def test_every_family_writes_the_same_with_and_without_a_batch(case: str, rows: int) -> None:
    decoder = families.from_transformers(random_model(case))
    shared = random_sequences((30,))[0]
    own = random_sequences((3, 40, 8, 1, 20, 5, 11, 7))
    prompts = [shared + tokens for tokens in own[:6]] + own[6:]
    requests = [Request(str(i), text_of(p), Sampling(max_tokens=3 + 4 * i)) for i, p in enumerate(prompts)]
    found = all_of(generate(decoder, Numbers(), requests, Control(), rows=rows))
    for i, prompt in enumerate(prompts):
        expected = greedy(decoder, prompt, 3 + 4 * i, Numbers.ends)
        assert found[str(i)].raw == Numbers().decode(expected)
        assert found[str(i)].tokens == len(expected)
        assert found[str(i)].prompt_tokens == len(prompt)
        assert found[str(i)].finish == ("length" if len(expected) == 3 + 4 * i else "stop")


def test_little_memory_makes_it_slower_and_not_wrong() -> None:
    decoder = families.from_transformers(random_model("llama"))
    prompts = random_sequences((200, 3, 90, 8, 150, 20, 5))
    requests = [Request(str(i), text_of(p), Sampling(max_tokens=9)) for i, p in enumerate(prompts)]
    plenty = all_of(generate(decoder, Numbers(), requests, Control()))
    little = all_of(generate(decoder, Numbers(), requests, Control(), memory=1))
    assert {k: c.raw for k, c in plenty.items()} == {k: c.raw for k, c in little.items()}


def test_keys_and_values_go_with_the_last_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only when the garbage collector comes by: a training between two collections would hold them, too."""
    made: list[weakref.ref[KVCache]] = []

    def noted(*arguments: Any) -> KVCache:
        cache = KVCache(*arguments)
        made.append(weakref.ref(cache))
        return cache

    monkeypatch.setattr("engine.models.inference.generate.KVCache", noted)
    decoder = families.from_transformers(random_model("llama"))
    requests = [Request(str(i), text_of(p), Sampling(max_tokens=4)) for i, p in enumerate(random_sequences((9, 9, 5)))]
    gc.disable()
    try:
        assert len(all_of(generate(decoder, Numbers(), requests, Control()))) == 3
        assert [cache() for cache in made] == [None]
    finally:
        gc.enable()


def test_rows_of_very_unlike_length_share_a_batch() -> None:
    decoder = families.from_transformers(random_model("llama"))
    prompts = random_sequences((700, 650, 4, 6, 9, 3, 2))
    requests = [Request(str(i), text_of(p), Sampling(max_tokens=5)) for i, p in enumerate(prompts)]
    found = all_of(generate(decoder, Numbers(), requests, Control()))
    for i, prompt in enumerate(prompts):
        assert found[str(i)].raw == Numbers().decode(greedy(decoder, prompt, 5, Numbers.ends))


def test_long_prompts_are_computed_in_pieces_and_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = families.from_transformers(random_model("llama"))
    shared = random_sequences((40,))[0]
    prompts = [shared + tokens for tokens in random_sequences((300, 4, 280, 9, 6))]
    requests = [Request(str(i), text_of(p), Sampling(max_tokens=6)) for i, p in enumerate(prompts)]
    whole = all_of(generate(decoder, Numbers(), requests, Control(), rows=3))
    monkeypatch.setattr("engine.models.inference.generate._LONG_PROMPT", 100)
    monkeypatch.setattr("engine.models.inference.prefix_cache._CHUNK", 64)
    pieces = all_of(generate(decoder, Numbers(), requests, Control(), rows=3))
    assert {k: c.raw for k, c in whole.items()} == {k: c.raw for k, c in pieces.items()}


def test_a_prompt_longer_than_the_context_gets_an_error_and_the_others_their_text() -> None:
    decoder = families.from_transformers(random_model("gpt2"))
    prompts = {"long": text_of([5] * 1024), "empty": "", "good": "7 8 9", "edge": text_of([5] * 1020)}
    requests = [Request(key, prompt, Sampling(max_tokens=8)) for key, prompt in prompts.items()]
    found = all_of(generate(decoder, Numbers(), requests, Control()))
    assert found["long"].finish == "error"
    assert "1,024 tokens" in found["long"].error
    assert "context holds 1,024" in found["long"].error
    assert found["empty"].error == "The prompt is empty."
    assert found["good"].error == ""
    assert found["good"].tokens > 0
    assert found["edge"].error == ""
    assert found["edge"].tokens <= 4


def test_a_smaller_context_can_be_set() -> None:
    decoder = families.from_transformers(random_model("llama"))
    request = Request("a", text_of([5] * 30), Sampling(max_tokens=100))
    (found,) = generate(decoder, Numbers(), [request], Control(), context=40)
    assert found.tokens <= 10
    (refused,) = generate(decoder, Numbers(), [request], Control(), context=30)
    assert "context holds 30" in refused.error


def test_texts_end_before_the_first_stop_text() -> None:
    decoder = families.from_transformers(random_model("llama"))
    request = Request("a", "5 6 7", Sampling(max_tokens=30))
    (whole,) = generate(decoder, Numbers(), [request], Control())
    words = whole.text.split()
    stop = f" {words[4]} {words[5]} "
    stopped = Request("a", "5 6 7", Sampling(max_tokens=30, stop=("never", stop)))
    (found,) = generate(decoder, Numbers(), [stopped], Control())
    assert found.finish == "stop"
    assert found.text == whole.text[: whole.text.index(stop)]
    assert found.tokens <= 6


def test_a_stop_takes_effect_within_one_step() -> None:
    decoder = families.from_transformers(random_model("llama"))
    checks = 0

    def count() -> None:
        nonlocal checks
        checks += 1
        if checks == 4:
            control.stop()

    control = Control(count)
    requests = [Request(str(i), "5 6 7", Sampling(max_tokens=900)) for i in range(3)]
    with pytest.raises(Stopped):
        list(generate(decoder, Numbers(), requests, control))
    assert checks <= 5


def test_several_samples_of_one_prompt_compute_it_once_and_are_what_each_would_be_alone() -> None:
    decoder = families.from_transformers(random_model("llama"))
    sampling = Sampling(max_tokens=12, temperature=1.0)
    requests = [
        Request(f"{prompt}#{seed}", prompt, sampling, seed) for prompt in ("5 6 7 8", "9 10 11") for seed in range(4)
    ]
    together = {done.key: done.raw for done in generate(decoder, Numbers(), requests, Control())}
    alone = {r.key: next(generate(decoder, Numbers(), [r], Control())).raw for r in requests}
    assert together == alone
    assert len(set(together.values())) > 4


def test_nothing_asked_nothing_given() -> None:
    decoder = families.from_transformers(random_model("llama"))
    assert list(generate(decoder, Numbers(), [], Control())) == []
    (none,) = generate(decoder, Numbers(), [Request("a", "5", Sampling(max_tokens=0))], Control())
    assert (none.text, none.tokens, none.finish) == ("", 0, "length")


def test_completions_come_as_they_end() -> None:
    decoder = families.from_transformers(random_model("phi"))
    lengths = {"long": 60, "short": 1, "middle": 20}
    requests = [Request(key, "5 6", Sampling(max_tokens=n)) for key, n in lengths.items()]
    found = list(generate(decoder, Numbers(), requests, Control()))
    assert [c.key for c in sorted(found, key=lambda c: c.tokens)] == [c.key for c in found]


def test_shared_beginnings_are_found_in_families() -> None:
    first, second = [1] * 50, [1] * 20 + [2] * 80
    sequences = [[*first, 100 + i] for i in range(18)] + [[*second, 200 + i, 5] for i in range(19)] + [[3, 4], [9] * 30]
    groups = {shared.members: shared.length for shared in find_shared(sequences)}
    assert sorted(i for members in groups for i in members) == list(range(39))
    assert set(groups.values()) == {50, 100, 0}
    assert groups[(37, 38)] == 0


def test_fours_that_begin_alike_stay_with_what_all_share() -> None:
    sequences = [[1] * 30 + [2 + i // 4] * 60 + [100 + i] for i in range(32)]
    (shared,) = find_shared(sequences)
    assert (len(shared.members), shared.length) == (32, 30)


def test_a_shared_beginning_leaves_every_sequence_a_token_of_its_own() -> None:
    sequences = [[7] * 40, [7] * 40, [7] * 41]
    (shared,) = find_shared(sequences)
    assert shared.length == 39


def test_stop_texts_are_found_across_tokens_and_split_characters() -> None:
    pieces = {1: "a", 2: "\n", 3: "\n\nb", 4: "\ufffd", 5: "\ufffd"}

    class Bytes:
        def decode(self, tokens: Sequence[int]) -> str:
            return "".join(pieces[t] for t in tokens).replace("\ufffd\ufffd", "é")

    newline = StopStrings(Bytes(), ["\n\n"], {})
    assert [newline.accept(t) for t in (1, 2, 1, 2, 2)] == [False, False, False, False, True]
    assert StopStrings(Bytes(), ["\n\n"], {}).accept(3)
    accent = StopStrings(Bytes(), ["é"], {})
    assert [accent.accept(t) for t in (1, 4, 5)] == [False, False, True]


def test_all_families_are_covered_here() -> None:
    assert {family for family, _ in CASES.values()} == set(FAMILIES)


def test_texts_do_not_depend_on_the_number_of_threads(embedded: LocalModel) -> None:
    settings = (Sampling(max_tokens=24), Sampling(max_tokens=24, temperature=0.8, top_p=0.95))
    asked = [
        Request(f"{i}", f"Write about the number {i}, and about the sea.", settings[i % 2], seed=i) for i in range(12)
    ]
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(
                {k: c.raw for k, c in all_of(generate(embedded.decoder, embedded.codec, asked, Control())).items()}
            )
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]
