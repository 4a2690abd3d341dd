"""Runs transformers' own modules, of any family, as a decoder: our packing, cache, adapters and products around them.

For every family that `engine.models.nn.decoder` does not know. Attention comes back to us through transformers'
`AttentionInterface`; windows, soft caps and sinks arrive as its keyword arguments and through the mask functions that
the model asks for. Matrices become `engine.models.nn.linear.Linear`, so adapters and packed products work as in our
own decoder.

Whether a family can run this way is measured when it is loaded, not looked up: a short text must get the logits that
the untouched model gives, in one pass and token by token. A family that fails (recurrent layers, positions by alibi,
keys of unlike sizes) runs `padded`: each sequence a row of a padded batch, without our cache.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import ModelError
from engine.models.nn.attention import Attention, CausalPacked, Prefix
from engine.models.nn.attention_rules import Rules
from engine.models.nn.config import ModelConfig, Quantization
from engine.models.nn.decoder import DecoderOutput, pack
from engine.models.nn.linear import Linear, Projection
from engine.models.nn.lora_weights import Adapter

NAME = "redraft"
"""What our attention is called among transformers' implementations."""

_IGNORED = frozenset({"dropout", "position_ids", "cache_position", "use_cache", "return_dict", "is_causal",
                      "output_attentions", "output_hidden_states", "output_router_logits", "position_embeddings",
                      "past_key_values", "past_key_value", "logits_to_keep", "labels"})  # fmt: skip
"""Keyword arguments of attention that change nothing for a text without padding."""

_PROBE = (13, 5)
"""Tokens of the texts that both ways of computing are compared on."""
_TOLERANCE = {torch.float32: 2e-4, torch.float64: 2e-4, torch.bfloat16: 0.05, torch.float16: 0.02}
"""Largest distance of the logits, relative to their norm, by dtype."""


class Unsupported(Exception):
    """A model asks for something that our attention does not compute."""


class _Current(threading.local):
    """What the pass that this thread computes runs with."""

    attention: Attention | None = None
    adapter: Adapter | None = None
    linears: Mapping[str, Linear] | None = None


_current = _Current()


class PackedLinear(nn.Module):
    """Stands where a model had a matrix; multiplies by the running decoder's matrix of that name."""

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.linear = linear
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.called = self.read = False

    @property
    def running(self) -> Linear:
        """The running decoder's matrix of this name."""
        held = _current.linears
        return self.linear if held is None else held.get(self.linear.name, self.linear)

    @property
    def weight(self) -> Tensor:
        """[out, in], dense; for modules that look at a neighbor's dtype, or multiply by its weight themselves."""
        self.read = True
        return self.running.weight

    @property
    def bias(self) -> Tensor | None:
        return self.linear.bias

    def forward(self, x: Tensor) -> Tensor:
        self.called = True
        linear = self.running
        flat = x.reshape(-1, x.shape[-1])
        if flat.dtype != linear.dtype:
            flat = flat.to(linear.dtype)
        return linear(flat.contiguous(), _current.adapter).view(*x.shape[:-1], linear.out_features)


class _Given(nn.Module):
    """Stands where a model had its layers, and returns what it is given: what comes after them is left to the model."""

    @property
    def decoder(self) -> _Given:
        """Some families keep their layers one module deeper (opt)."""
        return self

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> _GivenOutput:
        return _GivenOutput(inputs_embeds)


class _GivenOutput:
    """What `_Given` returns: hidden states, and None for whatever else a family looks for (caches, router logits)."""

    def __init__(self, hidden: Tensor) -> None:
        self.last_hidden_state = hidden

    def __getitem__(self, place: int) -> Tensor:
        return (self.last_hidden_state,)[place]

    def __getattr__(self, name: str) -> None:
        return None


class _Head:
    """The logits of a model that does more than multiply by its output matrix (soft caps, scales)."""

    def __init__(self, logits: Callable[[Tensor], Tensor], weight: Callable[[], Tensor]) -> None:
        self.linear = logits
        self._weight = weight

    @property
    def weight(self) -> Tensor:
        return self._weight()


@dataclass(frozen=True)
class ModuleDecoder:
    """A transformers model with the interface of `engine.models.nn.decoder.Decoder`.

    Args:
        config: sizes; keys and heads as the model was seen to use them.
        model: the `*ForCausalLM`, its matrices replaced by `PackedLinear`.
        after: the model without its layers: hidden states in, logits out.
        linears: the matrices by name; `merged` returns a decoder with others and the same modules.
        embedding: [vocab, width].
        padded: rows are computed in padded batches by the model's own attention, as ours does not fit it.
        left_padding: whether padding before a text leaves the text's numbers alone; for generation when `padded`.
        plain_head: whether logits are the output matrix's product and nothing else.
        head_name: name of the output matrix.
        fixed: matrices that the model reads without calling their modules, so that no adapter can change them (mamba's
            `dt_proj`).
    """

    config: ModelConfig
    model: Any
    after: Any
    linears: Mapping[str, Linear]
    embedding: Tensor
    padded: bool = False
    left_padding: bool = False
    plain_head: bool = False
    head_name: str = field(default="lm_head")
    fixed: frozenset[str] = frozenset()

    @property
    def device(self) -> torch.device:
        return self.embedding.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.dtype

    @property
    def packs(self) -> bool:
        """Whether sequences can share a beginning, and a cache of ours serves generation."""
        return not self.padded

    @property
    def head(self) -> Any:
        """The vocabulary matrix as training's loss uses it (`engine.training.losses.token_logps`)."""
        return self.linears[self.head_name] if self.plain_head else _Head(self.logits, self._head_weight)

    def _head_weight(self) -> Tensor:
        held = self.linears.get(self.head_name)
        return self.embedding if held is None else held.weight

    def nbytes(self) -> int:
        """Bytes of all weights."""
        rest = sum(t.nbytes for t in self.model.parameters())
        return int(rest) + sum(linear.nbytes() for linear in self.linears.values())

    def matrices(self) -> Iterator[Tensor]:
        """Every matrix that could be trained, in a fixed order: what identifies the weights."""
        yield self.embedding
        for name in sorted(self.linears):
            yield self.linears[name].weight
        for _, parameter in sorted(self.model.named_parameters()):
            if parameter.dim() > 1 and parameter is not self.embedding and parameter.numel():
                yield parameter

    def description(self) -> str:
        """Family, sizes and dtype, in words that do not change between versions."""
        c = self.config
        sizes = (c.family, c.num_layers, c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, c.vocab_size)
        return f"(modules {sizes!r}, {self.dtype!r})"

    def adaptable(self) -> dict[str, tuple[int, int]]:
        """The modules that an adapter may change: full name -> (out features, in features)."""
        return {
            name: (linear.out_features, linear.in_features)
            for name, linear in self.linears.items()
            if name != self.head_name and name not in self.fixed
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
        only_layers: bool = False,  # noqa: ARG002 - the model computes all of its layers
    ) -> DecoderOutput:
        """As `Decoder.forward`."""
        with self.running(attention, adapter):
            if self.padded:
                return self._forward_padded(tokens, attention.lengths, layers)
            out = _base(self.model)(
                input_ids=tokens[None],
                position_ids=positions[None],
                # Without it transformers looks for packed texts by itself, and builds masks that we do not need.
                attention_mask=torch.ones_like(tokens)[None],
                use_cache=False,
                output_hidden_states=bool(layers),
            )
        return DecoderOutput(out.last_hidden_state[0], {layer: out.hidden_states[layer][0] for layer in layers})

    def _forward_padded(self, tokens: Tensor, lengths: Sequence[int], layers: Collection[int]) -> DecoderOutput:
        sizes = torch.tensor(list(lengths), device=tokens.device)
        mask = torch.arange(max(lengths), device=tokens.device)[None] < sizes[:, None]
        ids = torch.zeros_like(mask, dtype=torch.long).masked_scatter(mask, tokens)
        # Padding behind a text cannot reach it, whatever the layers are.
        out = _base(self.model)(
            input_ids=ids, attention_mask=mask.long(), use_cache=False, output_hidden_states=bool(layers)
        )
        kept = {layer: out.hidden_states[layer][mask] for layer in layers}
        return DecoderOutput(out.last_hidden_state[mask], kept)

    def logits(self, hidden: Tensor) -> Tensor:
        """[M, width] after the final norm -> [M, vocab], with what the family does to them."""
        with self.running(None, None):
            found: Tensor = self.after(input_ids=None, inputs_embeds=hidden[None], use_cache=False).logits[0]
        return found

    @contextmanager
    def running(self, attention: Attention | None, adapter: Adapter | None) -> Iterator[None]:
        """Have the modules compute with this decoder's matrices, an attention and an adapter."""
        before = (_current.attention, _current.adapter, _current.linears)
        _current.attention, _current.adapter, _current.linears = attention, adapter, self.linears
        try:
            yield
        finally:
            _current.attention, _current.adapter, _current.linears = before

    def merged(self, adapter: Adapter) -> ModuleDecoder:
        """As `Decoder.merged`; the modules are shared.

        Raises:
            ValueError: if the adapter names a module that this decoder has not.
        """
        unknown = sorted(set(adapter.pairs) - set(self.adaptable()))
        if unknown:
            raise ValueError(f"the adapter changes modules that the model has not: {', '.join(unknown[:3])}")
        return replace(self, linears={name: linear.merged(adapter) for name, linear in self.linears.items()})

    def drop_training_memory(self) -> None:
        """As `Decoder.drop_training_memory`."""
        for linear in self.linears.values():
            linear.drop_transpose()


def from_transformers(model: Any, config: ModelConfig, *, quantization: Quantization = "") -> ModuleDecoder:
    """A decoder that runs the modules of a loaded `*ForCausalLM`; it takes the model over.

    Args:
        config: as read from the folder; heads are corrected to what the model uses.
        quantization: of the layers' matrices, once it is sure that the unquantized ones give the model's numbers.

    Raises:
        ModelError: the model's numbers change when its matrices are replaced.
    """
    decoder = _take_over(model, config)
    if quantization:
        for name in decoder.adaptable():
            decoder.linears[name].quantize(quantization)
    return decoder


def _take_over(model: Any, config: ModelConfig) -> ModuleDecoder:
    from transformers import GenerationConfig

    model = model.eval().requires_grad_(False)
    # A generation config of the model's own would change what `generate` does beside what it is asked for.
    model.generation_config = GenerationConfig()
    # The one implementation that every family has right: sdpa leaves soft caps out.
    model.set_attn_implementation("eager")
    texts = _probe_texts(int(model.get_input_embeddings().weight.shape[0]))
    with torch.inference_mode():
        expected = [_own_logits(model, text) for text in texts]
    head_name = _name_of(model, model.get_output_embeddings())
    linears = _take_linears(model)
    decoder = ModuleDecoder(
        config=replace(config, vocab_size=int(expected[0].shape[-1])),
        model=model,
        after=_without_layers(model),
        linears=linears,
        embedding=model.get_input_embeddings().weight.detach(),
        head_name=head_name,
    )
    with torch.inference_mode():
        decoder = replace(decoder, plain_head=_is_plain(decoder))
        found = _packed(decoder, texts, expected)
        if found is not None:
            return replace(found, fixed=_fixed(model))
        padded = replace(decoder, padded=True)
        _same_or_raise(padded, texts, expected)
        left = _left_padding_works(padded, texts, expected)
        return replace(padded, left_padding=left, fixed=_fixed(model))


def _fixed(model: Any) -> frozenset[str]:
    """The matrices that the texts so far were computed with, but not by their modules."""
    packed = [module for module in model.modules() if isinstance(module, PackedLinear)]
    return frozenset(module.linear.name for module in packed if module.read and not module.called)


def _probe_texts(vocab: int) -> list[list[int]]:
    return [[(place * 7919 + 31 * n) % vocab for place in range(n)] for n in _PROBE]


def _own_logits(model: Any, text: Sequence[int]) -> Tensor:
    found: Tensor = model(input_ids=torch.tensor([list(text)], device=model.device), use_cache=False).logits[0]
    return found


def _base(model: Any) -> Any:
    return getattr(model, model.base_model_prefix)


def _name_of(model: Any, wanted: Any) -> str:
    return next((name for name, module in model.named_modules() if module is wanted), "")


def _take_linears(model: Any) -> dict[str, Linear]:
    """Replace each plain matrix by one of ours, one at a time; the model gives its own up."""
    from transformers.pytorch_utils import Conv1D

    found: dict[str, Linear] = {}
    for name, module in list(model.named_modules()):
        if type(module) is not Conv1D and not _is_linear(module):
            continue
        weight = module.weight.detach()
        if type(module) is Conv1D:
            weight = weight.t().contiguous()
        bias = None if module.bias is None else module.bias.detach()
        linear = Linear(weight, bias, [Projection(name, 0, weight.shape[0])])
        model.set_submodule(name, PackedLinear(linear))
        found[name] = linear
    return found


def _is_linear(module: Any) -> bool:
    """Whether a module multiplies by its weight and does nothing else; some families have a class of their own for it
    (falcon)."""
    if type(module) is nn.Linear:
        return True
    if not isinstance(module, nn.Linear) or not module.weight.is_floating_point():
        return False
    with torch.inference_mode():
        x = torch.linspace(-1, 1, module.in_features, dtype=module.weight.dtype, device=module.weight.device)[None]
        return torch.allclose(module(x), nn.functional.linear(x, module.weight, module.bias), rtol=1e-2, atol=1e-5)


def _without_layers(model: Any) -> Any:
    """The same model with its layers replaced by what returns its input."""
    after = copy.copy(model)
    after._modules = {**model._modules, model.base_model_prefix: _Given()}
    return after


def _is_plain(decoder: ModuleDecoder) -> bool:
    """Whether logits are the output matrix's product and nothing else."""
    head = decoder.linears.get(decoder.head_name)
    if head is None:
        return False
    generator = torch.Generator().manual_seed(0)
    # Large numbers, so that a soft cap shows.
    probe = 30 * torch.randn(2, head.in_features, generator=generator)
    probe = probe.to(decoder.device, decoder.dtype)
    return torch.equal(decoder.logits(probe).to(decoder.dtype), head(probe))


def _packed(decoder: ModuleDecoder, texts: Sequence[Sequence[int]], expected: Sequence[Tensor]) -> ModuleDecoder | None:
    """The decoder with our attention; None where it does not compute what the model does."""
    try:
        _register()
        decoder.model.set_attn_implementation(NAME)
        seen = _Shapes(len(texts[0]))
        positions = torch.arange(len(texts[0]), device=decoder.device)
        decoder.forward(torch.tensor(list(texts[0]), device=decoder.device), positions, seen)
        if not seen.calls:
            raise Unsupported
        heads, kv_heads, dim = seen.shape
        sizes = replace(decoder.config, num_heads=heads, num_kv_heads=kv_heads, head_dim=dim)
        decoder = replace(decoder, config=replace(sizes, num_layers=max(seen.calls) + 1))
        _same_or_raise(decoder, texts, expected)
        _steps_or_raise(decoder, texts, expected)
    except (Unsupported, ModelError, RuntimeError, ValueError, TypeError, AttributeError, LookupError):
        decoder.model.set_attn_implementation("eager")
        return None
    return decoder


class _Shapes:
    """An attention that only looks: sizes of heads and keys, which must be the same in every layer."""

    def __init__(self, tokens: int) -> None:
        self.lengths = (tokens,)
        self.calls: list[int] = []
        self.shape = (0, 0, 0)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, rules: Rules | None = None) -> Tensor:
        shape = (q.shape[1], k.shape[1], k.shape[2])
        if layer in self.calls or v.shape != k.shape or shape[0] % shape[1]:
            raise Unsupported
        if self.calls and shape != self.shape:
            raise Unsupported
        self.calls.append(layer)
        self.shape = shape
        return CausalPacked(self.lengths, shape[0] // shape[1], device=q.device, dtype=q.dtype)(
            layer, q, k, v, scale, rules
        )


def _same_or_raise(decoder: ModuleDecoder, texts: Sequence[Sequence[int]], expected: Sequence[Tensor]) -> None:
    tokens, positions = pack(texts, device=decoder.device)
    found = decoder.forward(tokens, positions, decoder.causal([len(text) for text in texts]))
    _close_or_raise(decoder.logits(found.last), torch.cat(list(expected)))


def _steps_or_raise(decoder: ModuleDecoder, texts: Sequence[Sequence[int]], expected: Sequence[Tensor]) -> None:
    """The first text again, its last tokens one at a time after what a cache holds."""
    text, logits = texts[0], expected[0]
    for start in (len(text) - 2, len(text) - 1):
        before = _keys_and_values(decoder, text[:start])
        tokens, positions = pack([text[start : start + 1]], start=start, device=decoder.device)
        attention = CausalPacked([1], decoder.config.group, prefix=before, device=decoder.device, dtype=decoder.dtype)
        found = decoder.forward(tokens, positions, attention)
        _close_or_raise(decoder.logits(found.last), logits[start : start + 1])


def _keys_and_values(decoder: ModuleDecoder, text: Sequence[int]) -> Prefix:
    keys: list[Tensor] = []
    values: list[Tensor] = []

    def store(layer: int, k: Tensor, v: Tensor) -> None:  # noqa: ARG001 - layers come in order
        keys.append(k.transpose(0, 1).contiguous())
        values.append(v.transpose(0, 1).contiguous())

    tokens, positions = pack([text], device=decoder.device)
    group, device = decoder.config.group, decoder.device
    decoder.forward(
        tokens, positions, CausalPacked([len(text)], group, store=store, device=device, dtype=decoder.dtype)
    )
    return Prefix(tuple(keys), tuple(values))


def _close_or_raise(found: Tensor, expected: Tensor) -> None:
    distance = torch.linalg.vector_norm(found.float() - expected.float())
    if not bool(distance <= _TOLERANCE[expected.dtype] * torch.linalg.vector_norm(expected.float())):
        raise ModelError("Its numbers change when its matrices are replaced.")


def _left_padding_works(decoder: ModuleDecoder, texts: Sequence[Sequence[int]], expected: Sequence[Tensor]) -> bool:
    """Whether a padded batch, as `generate` wants it, gives each text the numbers that it has alone."""
    longest = max(len(text) for text in texts)
    ids = torch.tensor([[0] * (longest - len(text)) + list(text) for text in texts], device=decoder.device)
    mask = torch.tensor([[0] * (longest - len(text)) + [1] * len(text) for text in texts], device=decoder.device)
    with decoder.running(None, None):
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        try:
            out = decoder.model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits
            for row, logits in zip(out, expected, strict=True):
                _close_or_raise(row[-len(logits) :], logits)
        except (ModelError, RuntimeError, ValueError, TypeError):
            return False
    return True


def _register() -> None:
    """Make our attention known to transformers under `NAME`; again is harmless."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **given: Any
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: [1, heads, N, dim] thrice -> ([1, N, heads, dim], None)."""
    attention = _current.attention
    if attention is None or query.shape[0] != 1 or key.shape[2] != query.shape[2]:
        raise Unsupported
    scaling, window = given.pop("scaling", None), given.pop("sliding_window", None)
    softcap, sinks = given.pop("softcap", None), given.pop("s_aux", None)
    if any(value is not None and name not in _IGNORED for name, value in given.items()):
        raise Unsupported
    if attention_mask is not None:
        # What `_mask` made: no mask, but the number of tokens that a window holds.
        window = int(attention_mask)
    rules = Rules(int(window or 0), float(softcap or 0.0), sinks)
    q, k, v = (t[0].transpose(0, 1).contiguous() for t in (query, key, value))
    scale = float(query.shape[-1] ** -0.5 if scaling is None else scaling)
    plain = not rules.window and not rules.softcap and sinks is None
    out = attention(module.layer_idx, q, k, v, scale, None if plain else rules)
    return out.view(1, query.shape[2], query.shape[1], -1), None


def _mask(*_: Any, mask_function: Callable[..., Any], local_size: int | None = None, **given: Any) -> Tensor | None:
    """What a model is given for a mask: nothing for causal attention, the window's size for a sliding one."""
    from transformers.masking_utils import causal_mask_function

    if given.get("use_vmap"):
        raise Unsupported
    if local_size is None:
        if mask_function is not causal_mask_function:
            raise Unsupported
        return None
    zero, last = torch.zeros((), dtype=torch.long), torch.tensor(local_size)
    seen = [bool(mask_function(zero, zero, last, torch.tensor(key))) for key in (0, 1)]
    if seen != [False, local_size > 0]:
        # A window by chunks, which moves in steps.
        raise Unsupported
    return torch.full((1, 1, 1, 1), local_size)
