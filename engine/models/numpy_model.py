"""The embedded model's hidden states under numpy, for a verdict or two in a process that has loaded no model.

Importing torch and transformers takes several times as long as such a verdict. The weights are mapped from the
converted copy (`engine.models.hub.embedded`), not read into memory, and the arithmetic is that of
`engine.models.nn.decoder` in float32, one sequence at a time; `tests/engine/models/test_numpy_model.py` holds the two
equal. Only what the embedded model's family needs is here: RMS norm, rotary positions, grouped-query attention, SwiGLU.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.control import Control
from engine.models import chat
from engine.models.hub import catalog, embedded, weights
from engine.models.inference.token_codec import well_formed
from engine.models.nn.config import ModelConfig, from_config

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class NumpyModel:
    """The embedded model, for reading hidden states only (`engine.judges.probe.features.StatesModel`).

    Args:
        config: sizes.
        inverse_frequencies: [head_dim / 2], of the rotary embedding.
        tensors: transformers' name -> matrix [out, in] or vector, float32.
        tokenizer: the model's own.
        marks: texts that mean something to the chat template or the tokenizer.
        mapped: the file that `tensors` lie in.
    """

    config: ModelConfig
    inverse_frequencies: Floats
    tensors: Mapping[str, Floats]
    tokenizer: Tokenizer
    marks: re.Pattern[str] | None
    mapped: mmap.mmap

    name = catalog.EMBEDDED

    @property
    def context(self) -> int:
        """Tokens that the model reads at most."""
        return self.config.context

    def encode_text(self, prompt: str) -> list[int]:
        """The tokens of a rendered prompt; nothing is added to it."""
        ids: list[int] = self.tokenizer.encode(well_formed(prompt), add_special_tokens=False).ids
        return ids

    def neutral(self, content: str) -> str:
        """The content, with a space inside everything that the template or the tokenizer would take for its own."""
        return chat.neutralized(content, self.marks)

    def hidden(
        self,
        sequences: Sequence[Sequence[int]],
        layers: Sequence[int],
        control: Control,
        *,
        pooling: Literal["mean+last"] = "mean+last",
        starts: Sequence[int] | None = None,
    ) -> Floats:
        """As `engine.models.local.LocalModel.hidden`: the mean over the tokens of a sequence from `starts` on but the
        last, and the last token's state behind it. Nothing is computed above the highest layer.

        Args:
            layers: below the last layer, which has the final norm after it.

        Returns:
            float32 [sequences, layers, 2 * width].

        Raises:
            Stopped: `control` requests it.
        """
        assert pooling == "mean+last"
        assert max(layers) < self.config.num_layers
        out = np.zeros((len(sequences), len(layers), 2 * self.config.hidden_size), dtype=np.float32)
        for row, sequence in enumerate(sequences):
            first = min(0 if starts is None else starts[row], len(sequence) - 1)
            for place, states in self._residual_streams(sequence, layers, control):
                mean = states[first : max(len(sequence) - 1, first + 1)].mean(0)
                out[row, place] = np.concatenate([mean, states[-1]])
        if hasattr(mmap, "MADV_DONTNEED"):
            # The weights stay in the system's cache, where they do not count as memory of this process.
            self.mapped.madvise(mmap.MADV_DONTNEED)
        return out

    def _residual_streams(
        self, sequence: Sequence[int], layers: Sequence[int], control: Control
    ) -> list[tuple[int, Floats]]:
        """(place in `layers`, residual stream [tokens, width] after that many blocks)."""
        found: list[tuple[int, Floats]] = []
        x = self.tensors["model.embed_tokens.weight"][np.asarray(sequence)]
        angles = np.arange(len(sequence), dtype=np.float32)[:, None] * self.inverse_frequencies
        rotation = np.cos(angles)[None], np.sin(angles)[None]
        # Added to the products of queries and keys: a token attends to itself and to those before it.
        mask = np.triu(np.full((len(sequence), len(sequence)), -np.inf, dtype=np.float32), 1)
        for number in range(max(layers) + 1):
            found += [(place, x) for place, layer in enumerate(layers) if layer == number]
            if number < max(layers):
                control.check()
                x = self._block(f"model.layers.{number}.", x, rotation, mask)
        return found

    def _block(self, prefix: str, x: Floats, rotation: tuple[Floats, Floats], mask: Floats) -> Floats:
        normed = self._norm(f"{prefix}input_layernorm.weight", x)
        x = x + self._linear(f"{prefix}self_attn.o_proj", self._attend(prefix, normed, rotation, mask))
        normed = self._norm(f"{prefix}post_attention_layernorm.weight", x)
        gate = self._linear(f"{prefix}mlp.gate_proj", normed)
        with np.errstate(over="ignore"):  # exp of a large number is inf, and x / inf the 0 that SiLU tends to
            gate /= 1 + np.exp(-gate)
        gate *= self._linear(f"{prefix}mlp.up_proj", normed)
        return x + self._linear(f"{prefix}mlp.down_proj", gate)

    def _attend(self, prefix: str, normed: Floats, rotation: tuple[Floats, Floats], mask: Floats) -> Floats:
        a = self.config
        q = _rotated(self._heads(f"{prefix}self_attn.q_proj", normed, a.num_heads), rotation)
        k = _rotated(self._heads(f"{prefix}self_attn.k_proj", normed, a.num_kv_heads), rotation)
        v = self._heads(f"{prefix}self_attn.v_proj", normed, a.num_kv_heads)
        grouped = q.reshape(a.num_kv_heads, a.group, *q.shape[1:])
        scores = grouped @ k.transpose(0, 2, 1)[:, None] * np.float32(a.attention_scale(0)) + mask
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        attended = (scores @ v[:, None]).reshape(q.shape)
        return np.ascontiguousarray(attended.transpose(1, 0, 2)).reshape(len(normed), -1)

    def _heads(self, name: str, normed: Floats, count: int) -> Floats:
        """[tokens, width] -> [heads, tokens, head_dim]."""
        return self._linear(name, normed).reshape(len(normed), count, -1).transpose(1, 0, 2)

    def _linear(self, name: str, x: Floats) -> Floats:
        y: Floats = x @ self.tensors[f"{name}.weight"].T
        return y

    def _norm(self, name: str, x: Floats) -> Floats:
        square = np.einsum("ij,ij->i", x, x)[:, None] / np.float32(x.shape[1])
        normed: Floats = x / np.sqrt(square + np.float32(self.config.norm_eps)) * self.tensors[name]
        return normed


def load() -> NumpyModel | None:
    """The embedded model from its converted copy; None where there is none yet, or the file is another one than this
    module computes with: then the model is loaded as usual, which converts it or says what is wrong."""
    place = embedded.folder()
    if not embedded.is_ready():
        return None
    from tokenizers import Tokenizer

    try:
        values = json.loads((place / "config.json").read_text("utf-8"))
        config = from_config(values)
        theta = values["rope_parameters"]["rope_theta"]
        usual = config.family == "llama" and values["rope_parameters"]["rope_type"] == "default"
        if not usual or config.attention_bias or config.mlp_bias:
            return None
        exponents = np.arange(0, config.head_dim, 2, dtype=np.float32) / np.float32(config.head_dim)
        tokens = json.loads((place / "tokenizer_config.json").read_text("utf-8"))
        tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
        added = {token.content: token.special for token in tokenizer.get_added_tokens_decoder().values()}
        special = [tokens[key] for key in ("bos_token", "eos_token", "pad_token", "unk_token")]
        marks = chat.find_marks((place / "chat_template.jinja").read_text("utf-8"), added, special)
        mapped, tensors = _mapped(place / weights.SINGLE)
        return NumpyModel(config, 1.0 / np.float32(theta) ** exponents, tensors, tokenizer, marks, mapped)
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _mapped(path: Path) -> tuple[mmap.mmap, dict[str, Floats]]:
    """A safetensors file of float32, mapped, and the tensors in it.

    Raises:
        ValueError: it holds another dtype.
    """
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8:start])
    header.pop("__metadata__", None)
    if any(entry["dtype"] != "F32" for entry in header.values()):
        raise ValueError(f"{path} holds another dtype than float32")
    return data, {
        name: np.frombuffer(
            data,
            np.float32,
            (entry["data_offsets"][1] - entry["data_offsets"][0]) // 4,
            start + entry["data_offsets"][0],
        ).reshape(entry["shape"])
        for name, entry in header.items()
    }


def _rotated(x: Floats, rotation: tuple[Floats, Floats]) -> Floats:
    """Heads [heads, tokens, head_dim] rotated by position: dimension i is paired with i + head_dim / 2."""
    cos, sin = rotation
    first, second = np.split(x, 2, -1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)
