"""Devices, number formats, and how much memory a piece of work will take, told from a model's config alone.

The formulas count what is kept at the same time at the worst moment of a piece of work. They are checked against
measured peaks in `tests/engine/models/test_budget.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import ModelError
from engine.models.hub import memory
from engine.models.hub.shape import Shape

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

PROCESS = 440_000_000
"""Bytes that Python, torch and transformers hold before any model."""

_TOKENIZER = 1_700
"""Bytes that a tokenizer takes for each token that it knows (measured: 49,152 tokens, 84 MB)."""

_KERNELS = 90_000_000
"""Bytes that oneDNN and the threads keep for themselves once a model has run: compiled kernels, scratch memory."""

LOGIT_ROWS = 128
"""Rows of logits that training holds at a time (`engine.training.losses.CHUNK`); scoring holds half as many."""

PREFILL_TOKENS = 512
"""Most tokens of prompts that go through the model in one pass of generation."""

_SPARE = 0.03
"""Part of the free memory that is left alone, for what other processes do meanwhile."""


@dataclass(frozen=True)
class Need:
    """Memory of one piece of work, in bytes, beyond what the bare process holds.

    Args:
        weights: of the model, as the decoder keeps them, and its tokenizer.
        cache: keys and values while texts are written.
        work: what the largest step holds for a moment: activations, logits.
        training: adapter, gradients, optimizer and what the backward pass keeps.
    """

    weights: int
    cache: int = 0
    work: int = 0
    training: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.work + self.training

    @property
    def beyond_loaded(self) -> int:
        """What is still to be taken once the model is loaded."""
        return self.total - self.weights

    @property
    def peak_rss(self) -> int:
        """What the process as a whole will have held at most."""
        return PROCESS + self.total


@dataclass(frozen=True)
class Fit:
    """Whether a piece of work goes into memory: `need` and `free` in bytes."""

    need: int
    free: int

    @property
    def fits(self) -> bool:
        return self.need <= self.free * (1 - _SPARE)

    def __str__(self) -> str:
        return f"needs {_amount(self.need)} of {_amount(self.free)} free"


def weights(shape: Shape, dtype: str, device: str = "cpu") -> int:
    """Bytes of the weights as the decoder keeps them, and of the tokenizer. On a CPU a tied output matrix is stored
    apart, since it is packed for the matrix product and the embedding is not."""
    packed = device == "cpu" and dtype in ("float32", "bfloat16") and shape.tied
    numbers = shape.parameters + (shape.vocab * shape.hidden if packed else 0)
    return numbers * BYTES[dtype] + (shape.vocab * _TOKENIZER if device == "cpu" else 0)


def load(shape: Shape, dtype: str, device: str = "cpu") -> Need:
    """Loading: the weights, and the largest matrix twice for the moment in which it is rearranged. (A tied output
    matrix stays twice, which `weights` counts.)"""
    largest = 2 * shape.hidden * shape.inner if shape.tied else shape.vocab * shape.hidden
    return Need(weights(shape, dtype, device), work=largest * BYTES[dtype])


def generate(shape: Shape, dtype: str, rows: int, tokens: int, device: str = "cpu") -> Need:
    """Writing `rows` texts at a time of at most `tokens` tokens each, prompt included."""
    size = BYTES[dtype]
    cache = rows * tokens * shape.cache_per_token * size
    # Logits in the model's format, in float32, and a copy for the choice of a token.
    logits = rows * shape.vocab * (size + 8)
    prefill = min(rows * tokens, PREFILL_TOKENS) * _per_token(shape) * size
    # Attention in half precision copies one layer's keys and values to float32, more than once.
    copies = 0 if dtype == "float32" else 5 * cache // shape.layers
    return Need(weights(shape, dtype, device), cache=cache, work=logits + prefill + copies + _KERNELS)


def score(shape: Shape, dtype: str, tokens: int, device: str = "cpu") -> Need:
    """Scoring completions, or reading hidden states, in batches of `tokens` tokens."""
    work = tokens * _per_token(shape) * BYTES[dtype] + _logits(shape, dtype, tokens) + _KERNELS
    return Need(weights(shape, dtype, device), work=work)


def train_lora(
    shape: Shape, dtype: str, tokens: int, rank: int = 16, device: str = "cpu", *, length: int = 256
) -> Need:
    """LoRA on all linear layers, with micro-batches of `tokens` tokens in rows of about `length`."""
    size = BYTES[dtype]
    # float32 values, gradients and two moments; and a transposed copy of the weights for the backward pass.
    kept = 16 * lora_parameters(shape, rank) + (shape.parameters - _embedding_only(shape)) * size
    activations = tokens * shape.layers * _kept_per_token(shape, length) * size
    work = _logits(shape, dtype, tokens) + _KERNELS
    return Need(weights(shape, dtype, device), work=work, training=kept + activations)


def lora_parameters(shape: Shape, rank: int) -> int:
    """Numbers of an adapter on all linear layers."""
    h, q, kv, i = shape.hidden, shape.heads * shape.head_size, shape.kv_heads * shape.head_size, shape.inner
    attention = (h + 3 * h) + 2 * h if shape.family == "gpt2" else (h + q) + 2 * (h + kv) + (q + h)
    return shape.layers * rank * (attention + (3 if _gated(shape) else 2) * (h + i))


def _gated(shape: Shape) -> bool:
    return shape.family not in ("gpt2", "phi")


def _embedding_only(shape: Shape) -> int:
    """Weights that no matrix product reads: an embedding that is not the output matrix too."""
    return 0 if shape.tied else shape.vocab * shape.hidden


def _logits(shape: Shape, dtype: str, tokens: int) -> int:
    return min(tokens, LOGIT_ROWS) * shape.vocab * (BYTES[dtype] + 8)


def _per_token(shape: Shape) -> int:
    """Numbers that one token holds at once in a forward pass that keeps nothing."""
    return 3 * shape.hidden + (shape.heads + 2 * shape.kv_heads) * shape.head_size + 3 * shape.inner


def _kept_per_token(shape: Shape, length: int) -> int:
    """Numbers of one token and layer that the backward pass comes back to (measured family by family)."""
    inner = {"gemma": 5.1, "gpt2": 2.0, "phi": 1.6}.get(shape.family, 3.2)
    attention = 3 * shape.heads * shape.head_size + 2 * shape.kv_heads * shape.head_size + shape.heads * length
    return 5 * shape.hidden + attention + int(inner * shape.inner)


def cache_bytes(device: str = "cpu") -> int:
    """Bytes that the keys and values of one generation may take now: a quarter of what is free, at most 4 GB."""
    return min(4_000_000_000, max(64_000_000, free(device) // 4))


def fits(need: Need | int, device: str = "cpu") -> Fit:
    """How a need compares with what is free on the device now."""
    wanted = need.total if isinstance(need, Need) else need
    return Fit(wanted, free(device))


def check(need: Need | int, what: str, device: str = "cpu") -> None:
    """Refuse work that cannot fit, before it begins.

    Raises:
        ModelError: with the numbers, as in "needs 8.9 GB of 22.1 GB free".
    """
    found = fits(need, device)
    if not found.fits:
        raise ModelError(
            f"{what} does not fit into memory: it {found}.",
            next_step="Choose a smaller model or a smaller batch, or end other programs.",
        )


def check_load(name: str, shape: Shape, dtype: str, device: str) -> None:
    """As `check`, for loading one model."""
    check(load(shape, dtype, device), name, device)


def together(shapes: Sequence[Shape], dtype: str, device: str = "cpu") -> int:
    """Bytes of several models in memory at once, with the work of the largest: what a profile needs."""
    each = [generate(shape, dtype, rows=16, tokens=512, device=device) for shape in shapes]
    return sum(need.weights for need in each) + max((need.cache + need.work for need in each), default=0)


def free(device: str = "cpu") -> int:
    """Bytes that are free on a device: memory of the machine (or container), or of the graphics card."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    # Apple's graphics processor shares the machine's memory.
    return memory.available()


@dataclass(frozen=True)
class Device:
    """Something that can compute: its name as torch knows it, what it is, free bytes, and the number format that suits
    it when none is asked for."""

    name: str
    title: str
    free: int
    dtype: str


def devices() -> list[Device]:
    """What this machine can compute on, the best first. May measure the processor (about 2 s, once a machine)."""
    import torch

    def title(name: str) -> str:
        if name.startswith("cuda"):
            return str(torch.cuda.get_device_name(name))
        threads = torch.get_num_threads()
        return "Apple graphics processor" if name == "mps" else f"{threads} thread{'s' * (threads != 1)}"

    return [Device(name, title(name), free(name), default_dtype(name)) for name in _names()]


def _names() -> list[str]:
    import torch

    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"cuda:{number}" for number in range(cards)] + ["mps"] * torch.backends.mps.is_available() + ["cpu"]


def device(name: str = "") -> str:
    """The device of that name, or the best there is for "".

    Raises:
        ModelError: if this machine has no such device; names those that it has.
    """
    known = _names()
    if not name:
        return known[0]
    # "cuda" is the first of several cards.
    for candidate in known:
        if name in (candidate, candidate.partition(":")[0]):
            return candidate
    raise ModelError(f"This machine has no device {name[:40]!r}.", next_step=f"Choose one of {', '.join(known)}.")


def default_dtype(device: str) -> str:
    """The number format for a device when none is asked for.

    On a CPU the faster one by `engine.models.machine_profile`, which measures it once a machine: bfloat16 is several
    times faster where the processor has instructions for it, and many times slower where it has none.
    """
    import torch

    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    if device == "cpu":
        from engine.models.machine_profile import machine_profile

        return machine_profile().dtype
    return "float32"


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
