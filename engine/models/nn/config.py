"""How the supported model families differ, as one frozen description; knows nothing of weights or of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]


@dataclass(frozen=True)
class Architecture:
    """A causal decoder, as far as its arithmetic goes.

    Args:
        family: transformers' `model_type`.
        layers: blocks.
        width: size of the residual stream.
        heads: query heads.
        kv_heads: key and value heads; `heads` is a multiple of it.
        head_dim: size of one head.
        ffn: inner size of the feed-forward part.
        vocab: rows of the embedding.
        context: most positions that the model was made for.
        norm: "rms" (no mean, no bias) or "layer" (mean and bias).
        norm_eps: added to the variance.
        activation: of the feed-forward part.
        gated: the activation's output is multiplied by a second projection (SwiGLU, GeGLU).
        parallel: attention and feed-forward read the same normalised input and are added together (phi).
        rotary_dims: leading dimensions of a head that are rotated by position; 0 where positions are learned.
        embed_scale: the embedding is multiplied by it (gemma: the square root of the width).
        attention_scales: one a layer: what query-key products are multiplied by.
        qk_norm: queries and keys are normalised a head at a time before rotation (qwen3).
    """

    family: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    context: int
    norm: Literal["rms", "layer"]
    norm_eps: float
    activation: Activation
    gated: bool
    parallel: bool
    rotary_dims: int
    embed_scale: float
    attention_scales: tuple[float, ...]
    qk_norm: bool = False

    @property
    def group(self) -> int:
        """Query heads that share one key head."""
        return self.heads // self.kv_heads

    @property
    def kv_elements(self) -> int:
        """Numbers that one token adds to the cache, over all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim
