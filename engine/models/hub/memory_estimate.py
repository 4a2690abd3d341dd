"""Devices, dtypes, and how much memory a task will take, estimated from a model's config alone.

The formulas count what is kept at the same time at the worst moment of a piece of work. `python -m benchmarks.memory`
checks them against measured peaks at full size, `tests/engine/models/hub/test_memory_estimate.py` at the embedded
model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.errors import ModelError
from engine.models.hub import memory
from engine.models.nn.config import ModelConfig, Quantization

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

PROCESS = 350_000_000
"""Bytes that Python, torch and transformers hold before any model."""

_QUANTIZED_BYTES = {"int8": 1.01, "nf4": 0.52}
"""Bytes of a number that is quantized, with its share of the factors."""

_GAPS = 0.1
"""Part of the transposed weights that stays with the C library beside them: they are made among activations."""

_TOKENIZER = 1_700
"""Bytes that a tokenizer takes for each token that it knows (measured: 49,152 tokens, 84 MB)."""

_KERNELS = {"float32": 90_000_000, "bfloat16": 30_000_000, "float16": 30_000_000}
"""Bytes that oneDNN and the threads keep for themselves once a model has run: compiled kernels, scratch memory."""

LOGIT_ROWS = 128
"""Rows of logits that training holds at a time (`engine.training.losses.CHUNK`)."""

_QUESTIONS = 8
"""Rows of logits of a judge: one for each question about a text."""

PREFILL_TOKENS = 512
"""Most tokens of prompts that go through the model in one pass of generation."""

_SPARE = 0.03
"""Part of the free memory that is left alone, for what other processes do meanwhile."""


@dataclass(frozen=True)
class MemoryEstimate:
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
    def additional_bytes(self) -> int:
        """What is still to be taken once the model is loaded."""
        return self.total - self.weights

    @property
    def peak_rss(self) -> int:
        """What the process as a whole will have held at most."""
        return PROCESS + self.total


@dataclass(frozen=True)
class FitResult:
    """Whether a piece of work goes into memory: `need` and `free` in bytes."""

    need: int
    free: int

    @property
    def fits(self) -> bool:
        return self.need <= self.free * (1 - _SPARE)

    def __str__(self) -> str:
        return f"needs {_amount(self.need)} of {_amount(self.free)} free"


def weights(config: ModelConfig, dtype: str, device: str = "cpu", quantization: Quantization = "") -> int:
    """Bytes of the weights as the decoder keeps them, and of the tokenizer. On a CPU a tied output matrix is stored
    apart, since it is packed for the matrix product and the embedding is not."""
    packed = device == "cpu" and dtype in ("float32", "bfloat16") and config.tied
    numbers = config.parameters + (config.vocab_size * config.hidden_size if packed else 0)
    saved = int(layer_numbers(config) * (BYTES[dtype] - _QUANTIZED_BYTES[quantization])) if quantization else 0
    if device != "cpu":
        return numbers * BYTES[dtype] - saved
    return numbers * BYTES[dtype] - saved + tokenizer_bytes(config)


def tokenizer_bytes(config: ModelConfig) -> int:
    """Bytes of the tokenizer."""
    return config.vocab_size * _TOKENIZER


def layer_numbers(config: ModelConfig) -> int:
    """Numbers of the layers' matrices: all but embeddings and the output matrix."""
    embeddings = config.vocab_size * (1 if config.tied else 2) + (config.context if config.family == "gpt2" else 0)
    return config.parameters - embeddings * config.hidden_size


def load(config: ModelConfig, dtype: str, device: str = "cpu", quantization: Quantization = "") -> MemoryEstimate:
    """Loading: the weights, and the largest matrix twice for the moment in which it is rearranged. (A tied output
    matrix stays twice, which `weights` counts.) What is quantized is read in 16 bits first, where its files hold no
    more."""
    if quantization:
        held = weights(config, dtype, device, quantization)
        read = 2 * config.parameters + config.vocab_size * (config.hidden_size * BYTES[dtype] + _TOKENIZER)
        return MemoryEstimate(held, work=max(0, read - held) + 2 * _cast(config, "float32", quantization))
    largest = (
        2 * config.hidden_size * config.intermediate_size if config.tied else config.vocab_size * config.hidden_size
    )
    return MemoryEstimate(weights(config, dtype, device), work=largest * BYTES[dtype])


def generate(
    config: ModelConfig, dtype: str, rows: int, tokens: int, device: str = "cpu", quantization: Quantization = ""
) -> MemoryEstimate:
    """Writing `rows` texts at a time of at most `tokens` tokens each, prompt included."""
    size = BYTES[dtype]
    cache = rows * tokens * config.kv_elements * size
    # Logits in the model's format, in float32, and a copy for the choice of a token.
    logits = rows * config.vocab_size * (size + 8)
    prefill = min(rows * tokens, PREFILL_TOKENS) * _per_token(config) * size
    # Attention in half precision copies one layer's keys and values to float32, more than once.
    copies = 0 if dtype == "float32" else 3 * cache // config.num_layers
    work = logits + prefill + copies + _cast(config, dtype, quantization) + _KERNELS[dtype]
    return MemoryEstimate(weights(config, dtype, device, quantization), cache=cache, work=work)


def score(
    config: ModelConfig, dtype: str, tokens: int, device: str = "cpu", quantization: Quantization = ""
) -> MemoryEstimate:
    """Judging by the likelihood of a few words, or reading hidden states, in batches of `tokens` tokens."""
    logits = _QUESTIONS * config.vocab_size * (BYTES[dtype] + 8)
    work = tokens * _per_token(config) * BYTES[dtype] + logits + _cast(config, dtype, quantization) + _KERNELS[dtype]
    return MemoryEstimate(weights(config, dtype, device, quantization), work=work)


def train_lora(
    config: ModelConfig,
    dtype: str,
    tokens: int,
    rank: int = 16,
    device: str = "cpu",
    *,
    length: int = 256,
    quantization: Quantization = "",
) -> MemoryEstimate:
    """LoRA on all linear layers, with micro-batches of `tokens` tokens in rows of about `length`."""
    size = BYTES[dtype]
    # float32 values, gradients and two moments; and a transposed copy of the weights for the backward pass: of the
    # output matrix alone where the layers are quantized.
    transposed = config.parameters - _embedding_only(config) - (layer_numbers(config) if quantization else 0)
    kept = 16 * lora_parameters(config, rank) + int((1 + _GAPS) * transposed * size)
    activations = tokens * config.num_layers * _kept_per_token(config, length) * size
    work = _logits(config, dtype, tokens) + _cast(config, dtype, quantization) + _KERNELS[dtype]
    return MemoryEstimate(weights(config, dtype, device, quantization), work=work, training=kept + activations)


def compare(
    config: ModelConfig, dtype: str, writing: MemoryEstimate, quantization: Quantization = ""
) -> MemoryEstimate:
    """Writing texts with the trained model beside the base model: what an adapter leaves alone they share, and all of
    what is quantized."""
    trained = 0 if quantization else layer_numbers(config) * BYTES[dtype]
    return replace(writing, weights=writing.weights + trained)


def _cast(config: ModelConfig, dtype: str, quantization: Quantization) -> int:
    """Bytes of the largest matrix of a layer, which is cast for a product where it is quantized."""
    return config.hidden_size * config.intermediate_size * BYTES[dtype] if quantization else 0


def lora_parameters(config: ModelConfig, rank: int) -> int:
    """Numbers of an adapter on all linear layers."""
    h, q, kv, i = (
        config.hidden_size,
        config.num_heads * config.head_dim,
        config.num_kv_heads * config.head_dim,
        config.intermediate_size,
    )
    attention = (h + 3 * h) + 2 * h if config.family == "gpt2" else (h + q) + 2 * (h + kv) + (q + h)
    return config.num_layers * rank * (attention + (3 if config.gated else 2) * (h + i))


def _embedding_only(config: ModelConfig) -> int:
    """Weights that no matrix product reads: an embedding that is not the output matrix too."""
    return 0 if config.tied else config.vocab_size * config.hidden_size


def _logits(config: ModelConfig, dtype: str, tokens: int) -> int:
    return min(tokens, LOGIT_ROWS) * config.vocab_size * (BYTES[dtype] + 8)


def _per_token(config: ModelConfig) -> int:
    """Numbers that one token holds at once in a forward pass that keeps nothing."""
    return (
        3 * config.hidden_size
        + (config.num_heads + 2 * config.num_kv_heads) * config.head_dim
        + 3 * config.intermediate_size
    )


def _kept_per_token(config: ModelConfig, length: int) -> int:
    """Numbers of one token and layer that the backward pass comes back to (measured family by family)."""
    inner = {"gemma": 4.1, "gpt2": 1.0, "phi": 0.6}.get(config.family, 2.2)
    attention = (
        3 * config.num_heads * config.head_dim + 2 * config.num_kv_heads * config.head_dim + config.num_heads * length
    )
    return (4 if config.parallel else 3) * config.hidden_size + attention + int(inner * config.intermediate_size)


def cache_bytes(device: str = "cpu") -> int:
    """Bytes that the keys and values of one generation may take now: a quarter of what is free, at most 4 GB."""
    return cache_bytes_of(free(device))


def cache_bytes_of(room: int) -> int:
    """As `cache_bytes`, where `room` bytes are free."""
    return min(4_000_000_000, max(64_000_000, room // 4))


def fits(need: MemoryEstimate | int, device: str = "cpu") -> FitResult:
    """How a need compares with what is free on the device now."""
    wanted = need.total if isinstance(need, MemoryEstimate) else need
    return FitResult(wanted, free(device))


def check(need: MemoryEstimate | int, what: str, device: str = "cpu") -> None:
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


def check_load(name: str, config: ModelConfig, dtype: str, device: str, quantization: Quantization = "") -> None:
    """As `check`, for loading one model."""
    check(load(config, dtype, device, quantization), name, device)


def together(configs: Sequence[ModelConfig], dtype: str, device: str = "cpu") -> int:
    """Bytes of several models in memory at once, with the work of the largest: what a profile needs."""
    each = [generate(config, dtype, rows=16, tokens=512, device=device) for config in configs]
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
