"""A lean causal decoder over packed tokens: one forward pass for generation, scoring and training.

It holds weights and arithmetic and knows nothing of caches, sampling or losses. transformers' own modules are not used
for the forward pass because of their cost a call; `engine.models.nn.families` takes their weights over.

How to use it::

    decoder = families.from_transformers(model)                     # takes the weights over; `model` is emptied
    lengths = [len(s) for s in sequences]
    tokens, positions = pack(sequences, device=decoder.device)      # [N], [N]
    hidden = decoder.forward(tokens, positions, decoder.causal(lengths), adapter=adapter).last    # [N, width]
    logits = decoder.logits(hidden[wanted])                         # [M, vocab]; ask only for the rows you need

Training: `adapter` carries the tensors that learn (`requires_grad`), under the original modules' names, see
`Decoder.adaptable()`, and attention is `engine.models.nn.attention.SharedPacked`. The base weights are frozen;
everything is differentiable towards the adapter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.nn.attention import Attention, CausalPacked
from engine.models.nn.config import ModelConfig
from engine.models.nn.linear import Linear, Recompute, activate, together
from engine.models.nn.lora_weights import Adapter
from engine.models.nn.ops import Norm, RotaryEmbedding, gated, split_heads


@dataclass(frozen=True)
class Block:
    """One layer's weights. `gate` and `up` where the model is gated, else `up` alone; `ffn_norm` is None in a
    parallel block; `q_norm` and `k_norm` only with `qk_norm`."""

    attention_norm: Norm
    qkv: Linear
    out: Linear
    ffn_norm: Norm | None
    gate: Linear | None
    up: Linear
    down: Linear
    q_norm: Norm | None = None
    k_norm: Norm | None = None

    def linears(self) -> tuple[Linear, ...]:
        found = (self.qkv, self.out, self.gate, self.up, self.down)
        return tuple(linear for linear in found if linear is not None)


@dataclass(frozen=True)
class DecoderOutput:
    """What a forward pass gives.

    Args:
        last: [N, width], after the final norm; what `Decoder.logits` takes. Empty where the pass ended early.
        layers: by layer number the residual stream after that many blocks [N, width], as transformers'
            `hidden_states` numbers them: 0 is the embedding; the last one is after the final norm.
    """

    last: Tensor
    layers: dict[int, Tensor] = field(default_factory=dict)


class LanguageDecoder(Protocol):
    """What generation, scoring and training ask of a model: `Decoder`, or `engine.models.nn.modules.ModuleDecoder`."""

    @property
    def config(self) -> ModelConfig: ...

    @property
    def embedding(self) -> Tensor:
        """[vocab, width]."""
        ...

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def packs(self) -> bool:
        """Whether sequences can share a beginning, and generation runs by `engine.models.inference.kv_cache`."""
        ...

    @property
    def head(self) -> Any:
        """The vocabulary matrix as `engine.training.losses.token_logps` takes it."""
        ...

    def matrices(self) -> Iterator[Tensor]:
        """What identifies the weights, in a fixed order."""
        ...

    def description(self) -> str:
        """What identifies sizes and arithmetic, in words that do not change between versions."""
        ...

    def adaptable(self) -> dict[str, tuple[int, int]]: ...

    def causal(self, lengths: Sequence[int]) -> CausalPacked: ...

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        attention: Attention,
        *,
        adapter: Adapter | None = None,
        layers: Collection[int] = (),
        only_layers: bool = False,
    ) -> DecoderOutput: ...

    def logits(self, hidden: Tensor) -> Tensor: ...

    def merged(self, adapter: Adapter) -> LanguageDecoder: ...

    def drop_training_memory(self) -> None: ...


@dataclass(frozen=True)
class Decoder:
    """A model's weights with their arithmetic. Frozen: an adapter is an argument, `merged` gives a new decoder.

    Args:
        config: sizes, and how the family computes.
        embedding: [vocab, width].
        learned_positions: [context, width] (gpt2), else None.
        inverse_frequencies: fp32 [rotary_dims / 2], with rope scaling applied; empty where positions are learned.
        rotation_factor: what cosines and sines are multiplied by (yarn), else 1.
        blocks: the layers.
        final_norm: before the head.
        head: width to vocab. Shares no memory with `embedding` where it is packed (see `Linear`).
    """

    config: ModelConfig
    embedding: Tensor
    learned_positions: Tensor | None
    inverse_frequencies: Tensor
    rotation_factor: float
    blocks: tuple[Block, ...]
    final_norm: Norm
    head: Linear

    @property
    def device(self) -> torch.device:
        return self.embedding.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.dtype

    @property
    def packs(self) -> bool:
        """See `LanguageDecoder.packs`."""
        return True

    def matrices(self) -> Iterator[Tensor]:
        """See `LanguageDecoder.matrices`."""
        yield from (self.embedding, self.head.weight)
        for block in self.blocks:
            yield from (linear.weight for linear in block.linears())

    def description(self) -> str:
        """What version 0.1 called the model, letter by letter: its checkpoints are resumed by it."""
        c = self.config
        scales = tuple(c.attention_scale(layer) for layer in range(c.num_layers))
        return (
            f"(Architecture(family={c.family!r}, layers={c.num_layers}, width={c.hidden_size}, heads={c.num_heads}, "
            f"kv_heads={c.num_kv_heads}, head_dim={c.head_dim}, ffn={c.intermediate_size}, vocab={c.vocab_size}, "
            f"context={c.context}, norm={c.norm!r}, norm_eps={c.norm_eps!r}, activation={c.activation!r}, "
            f"gated={c.gated}, parallel={c.parallel}, rotary_dims={c.rotary_dims}, embed_scale={c.embed_scale!r}, "
            f"attention_scales={scales!r}, qk_norm={c.qk_norm}), {self.dtype!r})"
        )

    def nbytes(self) -> int:
        """Bytes of all weights."""
        linears = sum(linear.nbytes() for block in self.blocks for linear in block.linears())
        shared = self.head.shares(self.embedding)
        return linears + self.embedding.nbytes + (0 if shared else self.head.nbytes())

    def adaptable(self) -> dict[str, tuple[int, int]]:
        """The original modules that an adapter may change: full name -> (out features, in features)."""
        return {
            part.name: (part.stop - part.start, linear.in_features)
            for block in self.blocks
            for linear in block.linears()
            for part in linear.projections
        }

    def causal(self, lengths: Sequence[int]) -> CausalPacked:
        """Plain causal attention for packed sequences of these lengths, for passes without gradients."""
        return CausalPacked(lengths, self.config.group, device=self.device, dtype=self.dtype)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        attention: Attention,
        *,
        adapter: Adapter | None = None,
        layers: Collection[int] = (),
        only_layers: bool = False,
    ) -> DecoderOutput:
        """One pass over packed tokens.

        Args:
            tokens: long [N], sequences one after another.
            positions: long [N], each token's place in its sequence.
            attention: who holds keys and values: `causal(lengths)`, a prefill or a decode step.
            adapter: low-rank changes to add, or None.
            layers: residual streams to return, 0 (embedding) to `config.num_layers` (after the final norm).
            only_layers: stop after the highest of `layers`; `last` is then empty.
        """
        a = self.config
        x = functional.embedding(tokens, self.embedding)
        if a.embed_scale != 1.0:
            x = x * torch.tensor(a.embed_scale, dtype=x.dtype)
        if self.learned_positions is not None:
            x = x + self.learned_positions[positions]
        rotation = self._rotation(positions)
        kept = {0: x} if 0 in layers else {}
        depth = max(layers, default=0) if only_layers else a.num_layers
        for number, block in enumerate(self.blocks[:depth]):
            x = self._block(number, block, x, rotation, attention, adapter)
            if number + 1 in layers and number + 1 < a.num_layers:
                kept[number + 1] = x
        if depth < a.num_layers:
            return DecoderOutput(x[:0], kept)
        last = self.final_norm(x)
        if a.num_layers in layers:
            kept[a.num_layers] = last
        return DecoderOutput(last, kept)

    def logits(self, hidden: Tensor) -> Tensor:
        """[M, width] after the final norm -> [M, vocab], in the decoder's dtype."""
        return self.head(hidden)

    def merged(self, adapter: Adapter) -> Decoder:
        """A decoder with the adapter folded into its weights (fp32 sum, then cast); shares all that is unchanged.

        Raises:
            ValueError: if the adapter names a module that this decoder has not.
        """
        unknown = sorted(set(adapter.pairs) - set(self.adaptable()))
        if unknown:
            raise ValueError(f"the adapter changes modules that the model has not: {', '.join(unknown[:3])}")
        blocks = tuple(
            replace(
                b,
                qkv=b.qkv.merged(adapter),
                out=b.out.merged(adapter),
                gate=None if b.gate is None else b.gate.merged(adapter),
                up=b.up.merged(adapter),
                down=b.down.merged(adapter),
            )
            for b in self.blocks
        )
        return replace(self, blocks=blocks)

    def drop_training_memory(self) -> None:
        """Give back what the backward pass keeps beside the weights (`Linear.input_grad`)."""
        for linear in (*(linear for block in self.blocks for linear in block.linears()), self.head):
            linear.drop_transpose()

    def _rotation(self, positions: Tensor) -> RotaryEmbedding | None:
        if not self.config.rotary_dims:
            return None
        angles = positions.to(torch.float32)[:, None] * self.inverse_frequencies
        cos, sin = angles.cos(), angles.sin()
        if self.rotation_factor != 1.0:
            cos, sin = cos * self.rotation_factor, sin * self.rotation_factor
        return RotaryEmbedding(cos.to(self.dtype)[:, None], sin.to(self.dtype)[:, None])

    def _block(
        self,
        number: int,
        block: Block,
        x: Tensor,
        rotation: RotaryEmbedding | None,
        attention: Attention,
        adapter: Adapter | None,
    ) -> Tensor:
        normed, again = block.attention_norm(x), Recompute(block.attention_norm, (x,))
        attended = self._attend(number, block, normed, again, rotation, attention, adapter)
        x = block.out(attended, adapter, plus=x)
        if block.ffn_norm is not None:
            normed, again = block.ffn_norm(x), Recompute(block.ffn_norm, (x,))
        return self._feed_forward(block, normed, again, adapter, x)

    def _attend(
        self,
        number: int,
        block: Block,
        normed: Tensor,
        again: Recompute,
        rotation: RotaryEmbedding | None,
        attention: Attention,
        adapter: Adapter | None,
    ) -> Tensor:
        a = self.config
        heads = block.qkv(normed, adapter, again=again).view(-1, a.num_heads + 2 * a.num_kv_heads, a.head_dim)
        if block.q_norm is not None and block.k_norm is not None:
            both = a.num_heads + a.num_kv_heads
            q, k = block.q_norm(heads[:, : a.num_heads]), block.k_norm(heads[:, a.num_heads : both])
            heads = torch.cat([q, k, heads[:, both:]], 1)
        q, k, v = split_heads(heads, a.num_heads, a.num_kv_heads, rotation)
        return attention(number, q, k, v, a.attention_scale(number))

    def _feed_forward(
        self, block: Block, normed: Tensor, again: Recompute, adapter: Adapter | None, x: Tensor
    ) -> Tensor:
        """The block's second half, added to `x`."""
        kind, up = self.config.activation, block.up
        if adapter is None and not torch.is_grad_enabled():
            if block.gate is None:
                return block.down(up.linear_activation(normed, kind), plus=x)
            return block.down(up.linear_mul(normed, block.gate.linear_activation(normed, kind)), plus=x)
        wide = together((up,) if block.gate is None else (block.gate, up), normed, adapter, again)
        inner = Recompute(partial(activate if block.gate is None else gated, activation=kind), wide)
        return block.down(inner.function(*wide), adapter, x, inner)


def pack(
    sequences: Sequence[Sequence[int]], *, start: int = 0, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Token lists as one: (tokens [N], positions [N] from `start` in each sequence)."""
    tokens = torch.tensor([token for sequence in sequences for token in sequence], dtype=torch.long)
    positions = torch.tensor([p for s in sequences for p in range(start, start + len(s))], dtype=torch.long)
    return tokens.to(device), positions.to(device)
