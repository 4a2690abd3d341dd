"""The decoder with an adapter gives the log-probabilities and gradients that transformers and peft give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import peft
import pytest
import torch
from torch.nn import functional
from training_aid import Twin, learned, pair_rows, sft_rows

from engine.models.nn.attention import Layout
from engine.models.nn.linear import Linear, Projection, together
from engine.models.nn.lora_weights import Adapter, Learning, LoraPair
from engine.training import lora, policy
from engine.training.policy import Completions, Policy, fingerprint

FAMILIES = ["llama", "qwen2", "gemma", "phi", "gpt2"]


def _logps(model: torch.nn.Module, prompt: Sequence[int], completion: Sequence[int]) -> torch.Tensor:
    logits = model(torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1]
    return functional.log_softmax(logits.float(), -1).gather(1, torch.tensor(completion)[:, None]).squeeze(1)


@pytest.mark.parametrize("learner", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_completions_score_as_under_peft_and_so_do_the_gradients(
    family: str, learner: bool, twin: Callable[..., Twin], tmp_path: Path
) -> None:
    pair, folder = twin(family), tmp_path / "adapter"
    adapter = learned(pair.decoder)
    rows = sft_rows(5)
    lora.save(adapter.adapter(), folder, base_model=str(pair.folder), family=family)
    peer = peft.PeftModel.from_pretrained(pair.reference(), folder, is_trainable=True)
    wanted = torch.cat([_logps(peer, row.prompt, row.completion) for row in rows])
    factors = torch.linspace(-1, 1, len(wanted))
    (wanted * factors).sum().backward()
    model = Policy(pair.decoder, adapter.trainable_view(torch.float32) if learner else adapter.adapter())
    found = model.score([Completions(row.prompt, (row.completion,)) for row in rows])
    adapter.start_step(0, 0, 0)
    (found.logps * factors).sum().backward()
    torch.testing.assert_close(found.logps, wanted, atol=1e-4, rtol=1e-4)
    values = dict(peer.named_parameters())
    for name, mine in adapter.adapter().pairs.items():
        for matrix, leaf in (("lora_A", mine.a), ("lora_B", mine.b)):
            theirs = values[f"base_model.model.{name}.{matrix}.default.weight"].grad
            torch.testing.assert_close(leaf.grad, theirs, atol=1e-4, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_shared_prompt_changes_neither_values_nor_gradients(family: str, twin: Callable[..., Twin]) -> None:
    pair = twin(family)
    adapter = learned(pair.decoder)
    model = Policy(pair.decoder, adapter.adapter())
    rows = pair_rows(6)
    together = model.score([Completions(row.prompt, (row.chosen, row.rejected)) for row in rows])
    factors = torch.linspace(-1, 1, len(together.logps))
    adapter.start_step(0, 0, 0)
    (together.logps * factors).sum().backward()
    assert adapter.flat.grad is not None
    grad = adapter.flat.grad.clone()
    apart = model.score([Completions(row.prompt, (c,)) for row in rows for c in (row.chosen, row.rejected)])
    adapter.start_step(0, 0, 0)
    (apart.logps * factors).sum().backward()
    torch.testing.assert_close(together.logps, apart.logps, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(grad, adapter.flat.grad, atol=1e-4, rtol=1e-3)


def test_a_shared_prompt_works_for_long_pairs_and_one_token_answers(twin: Callable[..., Twin]) -> None:
    pair = twin("llama", max_position_embeddings=2048)
    model = Policy(pair.decoder, learned(pair.decoder).adapter())
    source = torch.Generator().manual_seed(0)
    draw = lambda count: tuple(torch.randint(3, 250, (count,), generator=source).tolist())  # noqa: E731
    rows = [(draw(5), draw(1), draw(4)), (draw(200), draw(300), draw(250)), (draw(7), draw(3), draw(1))]
    together = model.score([Completions(prompt, (one, two)) for prompt, one, two in rows])
    apart = model.score([Completions(prompt, (c,)) for prompt, one, two in rows for c in (one, two)])
    torch.testing.assert_close(together.logps, apart.logps, atol=1e-4, rtol=1e-4)
    together.logps.sum().backward()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_beginning_that_all_rows_share_changes_neither_values_nor_gradients(
    family: str, twin: Callable[..., Twin], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = twin(family)
    adapter = learned(pair.decoder)
    model = Policy(pair.decoder, adapter.adapter())
    beginning = tuple(range(40, 60))
    rows = [Completions(beginning + row.prompt, (row.chosen, row.rejected)) for row in pair_rows(6)]
    rows.append(Completions(beginning, ((1, 2, 3), (4,))))
    found = []
    for worth in (1, 10_000):
        monkeypatch.setattr(policy, "_WORTH_SHARING", worth)
        scored = model.score(rows)
        adapter.start_step(0, 0, 0)
        (scored.logps * torch.linspace(-1, 1, len(scored.logps))).sum().backward()
        assert adapter.flat.grad is not None
        found.append((scored.logps, adapter.flat.grad.clone()))
    (shared, grad), (apart, wanted) = found
    torch.testing.assert_close(shared, apart, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(grad, wanted, atol=1e-4, rtol=1e-3)


def test_a_shared_beginning_goes_through_once() -> None:
    beginning = tuple(range(100, 140))
    rows = [Completions((*beginning, n, n), ((5, 6), (7, 8, 9))) for n in range(4)]
    packed = policy._pack(rows)
    assert packed.layout == Layout(40, (2 + 1 + 2,) * 4, ((2, 1),) * 4)
    assert len(packed.tokens) == 40 + 4 * 5
    assert packed.positions.tolist()[40:45] == [40, 41, 42, 42, 43]
    assert packed.before.tolist()[:5] == [41, 42, 41, 43, 44]


@pytest.mark.parametrize("answers", [1, 2])
def test_a_pass_is_filled_up_and_that_changes_neither_values_nor_gradients(
    answers: int, twin: Callable[..., Twin], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = twin("llama")
    adapter = learned(pair.decoder)
    model = Policy(pair.decoder, adapter.trainable_view(torch.float32))
    rows = [Completions(row.prompt, (row.chosen, row.rejected)[:answers]) for row in pair_rows(6)]
    sizes, found = [], []
    for multiple in (1, 4):
        monkeypatch.setattr(policy, "_MULTIPLE", multiple)
        sizes.append(len(policy._pack(rows).tokens))
        adapter.start_step(0, 0, 0)
        scored = model.score(rows)
        (scored.logps * torch.linspace(-1, 1, len(scored.logps))).sum().backward()
        assert adapter.flat.grad is not None
        found.append((scored.logps, adapter.flat.grad.clone()))
    assert sizes[0] % 4
    assert sizes[1] == sizes[0] + -sizes[0] % 4
    for mine, wanted in zip(*found, strict=True):
        torch.testing.assert_close(mine, wanted, atol=1e-6, rtol=1e-4)


def test_the_fingerprint_knows_models_and_adapters_apart(twin: Callable[..., Twin]) -> None:
    one, other = twin("llama").decoder, twin("llama", num_key_value_heads=4).decoder
    adapter = learned(one).adapter()
    found = {fingerprint(one), fingerprint(other), fingerprint(one, adapter), fingerprint(one.merged(adapter))}
    assert len(found) == 4
    assert fingerprint(one) == fingerprint(twin("llama").decoder)


def test_dropout_and_shared_inputs_have_the_gradients_of_the_plain_formula() -> None:
    source = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, generator=source)  # noqa: E731
    x, kept = draw(7, 16).requires_grad_(), (draw(7, 16) > 0).float() * 2
    first = Linear(draw(24, 16), None, [Projection("one", 0, 8), Projection("two", 8, 24)])
    linears = [first, Linear(draw(8, 16), None, [Projection("three", 0, 8)])]
    bare = {name: (draw(4, 16), draw(out, 4)) for name, out in (("one", 8), ("two", 16), ("three", 8))}
    sums = {name: (torch.zeros_like(a), torch.zeros_like(b)) for name, (a, b) in bare.items()}
    pairs = {
        name: LoraPair(
            a.clone().requires_grad_(),
            b.clone().requires_grad_(),
            0.5,
            Learning(a, 0.5 * b, *sums[name], drop=lambda _: kept),
        )
        for name, (a, b) in bare.items()
    }
    found = together(linears, x, Adapter(pairs))
    factors = draw(7, 24), draw(7, 8)
    sum((y * f).sum() for y, f in zip(found, factors, strict=True)).backward()  # type: ignore[union-attr]
    change = {name: 0.5 * (x * kept) @ pair.a.t() @ pair.b.t() for name, pair in pairs.items()}
    wanted = (
        x @ linears[0].weight.t() + torch.cat([change["one"], change["two"]], 1),
        x @ linears[1].weight.t() + change["three"],
    )
    leaves = [x, *(t for pair in pairs.values() for t in (pair.a, pair.b))]
    plain = torch.autograd.grad(sum((y * f).sum() for y, f in zip(wanted, factors, strict=True)), leaves)
    grads = [x.grad, *(t for both in sums.values() for t in both)]
    for one, other in zip((*found, *grads), (*wanted, *plain), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
