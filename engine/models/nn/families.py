"""Converts the weights of a loaded transformers model into a `Decoder`, and back under their own names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import ModelError
from engine.models.nn.config import FAMILIES, ConfigError, ModelConfig, Quantization, from_config
from engine.models.nn.decoder import Block, Decoder
from engine.models.nn.linear import Linear, Projection
from engine.models.nn.ops import Norm
from engine.models.nn.tensor_names import MODULES, ModuleNames, qk_norm_names


def check_config(config: Any) -> ModelConfig:
    """The model that a transformers config describes.

    Raises:
        ModelError: if the family, or a feature that the config switches on, is not supported; names it.
    """
    family = str(getattr(config, "model_type", "unknown"))
    if family not in FAMILIES:
        raise ModelError(
            f"models of the family '{family}' are not supported.",
            next_step=f"Choose one of the families {', '.join(FAMILIES)}.",
        )
    try:
        return from_config(config.to_dict())
    except ConfigError as problem:
        raise ModelError(f"`{problem.field}` {problem}.") from None


def from_transformers(
    model: nn.Module,
    *,
    dtype: torch.dtype | None = None,
    quantization: Quantization = "",
    after_layer: Callable[[], None] = lambda: None,
) -> Decoder:
    """A decoder with the weights of a loaded `*ForCausalLM`; the device is the model's.

    The model is emptied on the way (its parameters become zero-size), so that no weight is in memory twice.

    Args:
        dtype: to compute in; None for the model's.
        quantization: of the layers' matrices.
        after_layer: called when a layer's matrices were packed and its own were freed.

    Raises:
        ModelError: see `check_config`; also where weights are quantized or shared between devices.
    """
    config: Any = model.config
    described = check_config(config)
    names = MODULES[described.family]
    base = model.get_submodule(names.base)
    head: Any = model.get_submodule("lm_head")
    embedded: Any = base.get_submodule(names.embedding)
    tied = head.weight.data_ptr() == embedded.weight.data_ptr()
    source = _Source(model, names, dtype or embedded.weight.dtype, quantization)
    embedding = source.take(f"{names.base}.{names.embedding}", keep=True)
    positions = source.take(f"{names.base}.{names.positions}") if names.positions is not None else None
    frequencies, factor = torch.empty(0), 1.0
    if described.rotary_dims:
        rotary: Any = base.get_submodule("rotary_emb")
        frequencies, factor = rotary.inv_freq.detach().float().clone(), float(rotary.attention_scaling)
    blocks = []
    for layer in range(described.num_layers):
        blocks.append(_block(source, names, described, layer))
        after_layer()
    final_norm = source.norm(f"{names.base}.{names.final_norm}", described)
    weight = embedding if tied else source.take("lm_head", keep=True)
    bias = None if head.bias is None else head.bias.detach().to(embedding.dtype)
    decoder = Decoder(
        config=replace(described, tied=tied),
        embedding=embedding,
        learned_positions=positions,
        inverse_frequencies=frequencies.to(embedding.device),
        rotation_factor=factor,
        blocks=tuple(blocks),
        final_norm=final_norm,
        head=Linear(weight, bias, [Projection("lm_head", 0, described.vocab_size)]),
    )
    for parameter in model.parameters():
        parameter.data = parameter.data.new_empty(0)
    return decoder


class _Source:
    """Hands the model's tensors out and empties the places that they came from."""

    def __init__(self, model: nn.Module, names: ModuleNames, dtype: torch.dtype, quantization: Quantization) -> None:
        self._model = model
        self._names = names
        self._dtype = dtype
        self._quantization = quantization

    def take(self, name: str, *, keep: bool = False) -> Tensor:
        """The weight of the module `name`; removed from the module unless `keep`."""
        module: Any = self._model.get_submodule(name)
        weight = self._floating(name, module.weight)
        if not keep:
            module.weight.data = weight.new_empty(0)
        return weight

    def linear(self, prefix: str, modules: tuple[str, ...]) -> Linear:
        weights: list[Tensor] = []
        biases: list[Tensor] = []
        projections: list[Projection] = []
        stop = 0
        for name in (f"{prefix}.{module}" for module in modules):
            module: Any = self._model.get_submodule(name)
            weight = self.take(name)
            weight = weight.t() if self._names.transposed else weight
            weights.append(weight)
            if getattr(module, "bias", None) is not None:
                biases.append(module.bias.detach().to(self._dtype))
            projections.append(Projection(name, stop, stop + weight.shape[0]))
            stop += weight.shape[0]
        joined = weights[0].contiguous() if len(weights) == 1 else torch.cat(weights)
        bias = torch.cat(biases) if biases else None
        linear = Linear(joined, bias, projections, pack=not self._quantization)
        if self._quantization:
            linear.quantize(self._quantization)
        return linear

    def norm(self, name: str, config: ModelConfig) -> Norm:
        module: Any = self._model.get_submodule(name)
        weight = self._floating(name, module.weight)
        if self._names.norm_offset:
            # In fp32, as the family computes it: 1 + w loses bits of w in bf16.
            weight = weight.float() + self._names.norm_offset
        bias = getattr(module, "bias", None)
        return Norm(
            weight=weight,
            bias=None if bias is None else bias.detach().to(self._dtype),
            eps=config.norm_eps,
            rms=config.norm == "rms",
        )

    def _floating(self, name: str, weight: Tensor) -> Tensor:
        if not weight.is_floating_point() or weight.is_meta or weight.dim() > 2:
            raise ModelError(
                f"the weight of {name} is quantized or not loaded.", next_step="Load the model in bfloat16 or float32."
            )
        return weight.detach().to(self._dtype)


def _block(source: _Source, names: ModuleNames, config: ModelConfig, layer: int) -> Block:
    at = f"{names.base}.{names.blocks}.{layer}"
    q_norm, k_norm = qk_norm_names(config) if config.qk_norm else (None, None)
    return Block(
        attention_norm=source.norm(f"{at}.{names.attention_norm}", config),
        qkv=source.linear(at, names.qkv),
        out=source.linear(at, (names.out,)),
        ffn_norm=source.norm(f"{at}.{names.ffn_norm}", config) if names.ffn_norm is not None else None,
        gate=source.linear(at, (names.gate,)) if names.gate is not None else None,
        up=source.linear(at, (names.up,)),
        down=source.linear(at, (names.down,)),
        q_norm=source.norm(f"{at}.{q_norm}", config) if q_norm is not None else None,
        k_norm=source.norm(f"{at}.{k_norm}", config) if k_norm is not None else None,
    )
