"""What each stage of a run needs in memory, by dtype, before anything is loaded: fits, tight, does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.errors import ModelError
from engine.models.hub import adapter, catalog, memory_estimate
from engine.models.hub.memory_estimate import MemoryEstimate
from engine.models.nn.config import ModelConfig, Quantization

FITS, TIGHT, TOO_LARGE = "fits", "tight", "does not fit"
_TIGHT = 0.8
"""Part of the free memory from which on a stage is called tight."""
_ROWS, _TOKENS = 64, 384
"""Rows of a batch, and tokens of a prompt with its answer, of the presets."""
_JUDGED = 1024
"""Tokens of one pass of scoring."""


@dataclass(frozen=True)
class StagePlan:
    """One stage in one dtype.

    Args:
        stage: as the user knows it.
        model: whose work it is.
        dtype: of the weights, or what is computed in where they are quantized.
        quantization: of the layers' matrices, "" for none.
        need: bytes in all, with every model of the run loaded.
        free: bytes that are free now.
        verdict: `FITS`, `TIGHT` or `TOO_LARGE`.
        change: what to do where it does not fit, else "".
    """

    stage: str
    model: str
    dtype: str
    need: int
    free: int
    verdict: str
    change: str = ""
    quantization: Quantization = ""


def config_of(name: str) -> ModelConfig:
    """The sizes of a model, from its files' headers or the catalog; nothing is loaded or fetched.

    Raises:
        ModelError, StorageError: there is no such model, or its sizes are not known before it is fetched.
    """
    source = adapter.whole(name)
    if source.entry is not None:
        return source.entry.config
    if source.kind == "folder":
        from engine.models.hub import checkpoint

        assert source.path is not None
        return checkpoint.check_folder(source.path).config
    if source.kind == "gguf":
        from engine.models.hub import gguf

        assert source.path is not None
        return gguf.check(source.path).config
    raise ModelError(
        "The sizes of this model are not known before it is fetched.",
        where=source.name,
        next_step="Name a model of the catalog (`redraft models`), a folder or a GGUF file.",
    )


def plan(
    generator: str,
    critic: str = "",
    *,
    dtypes: Sequence[str] = ("float32", "bfloat16"),
    quantizations: Sequence[Quantization] = ("",),
    free: int | None = None,
    rank: int = 16,
    micro_batch_tokens: int = 1024,
) -> list[StagePlan]:
    """Every stage of a run by dtype, in the order of the run.

    Args:
        generator, critic: names of models; no critic, or the same name, shares one copy.
        quantizations: of the layers' matrices; a quantized one is planned for the first dtype alone.
        free: bytes; what is free on the CPU now where None.
        rank, micro_batch_tokens: of the training.

    Raises:
        ModelError, StorageError: as `config_of`.
    """
    names = list(dict.fromkeys((generator, critic or generator)))
    configs = {name: config_of(name) for name in names}
    room = memory_estimate.free() if free is None else free
    found: list[StagePlan] = []
    kinds = [(dtype, kind) for kind in quantizations for dtype in (dtypes[:1] if kind else dtypes)]
    for dtype, kind in kinds:
        needs = _stages(configs, generator, critic or generator, dtype, kind, rank, micro_batch_tokens, room)
        for stage, model, need in needs:
            total = need.total + sum(
                memory_estimate.weights(config, dtype, quantization=kind)
                for name, config in configs.items()
                if name != model
            )
            found.append(StagePlan(stage, model, dtype, total, room, _verdict(total, room), quantization=kind))
    return [_advised(row, found) for row in found]


def _stages(
    configs: dict[str, ModelConfig],
    generator: str,
    critic: str,
    dtype: str,
    kind: Quantization,
    rank: int,
    micro: int,
    room: int,
) -> list[tuple[str, str, MemoryEstimate]]:
    trained, judging = configs[generator], configs[critic]
    writing = _writing(trained, dtype, kind, room)

    def training(length: int) -> MemoryEstimate:
        return memory_estimate.train_lora(trained, dtype, micro, rank, length=length, quantization=kind)

    return [
        ("load", generator, memory_estimate.load(trained, dtype, quantization=kind)),
        *([("load", critic, memory_estimate.load(judging, dtype, quantization=kind))] if critic != generator else []),
        ("draft", generator, writing),
        ("judge", critic, memory_estimate.score(judging, dtype, _JUDGED, quantization=kind)),
        ("critique, revise", critic, _writing(judging, dtype, kind, room)),
        ("train (LoRA, SFT)", generator, training(_TOKENS // 2)),
        # A micro-batch of pairs holds both completions of each row.
        ("train (LoRA, DPO)", generator, training(_TOKENS)),
        ("compare", generator, memory_estimate.compare(trained, dtype, writing, kind)),
    ]


def _writing(config: ModelConfig, dtype: str, kind: Quantization, room: int) -> MemoryEstimate:
    """Writing texts, as many at a time as the cache has memory for."""
    row = _TOKENS * config.kv_elements * memory_estimate.BYTES[dtype]
    rows = max(1, min(_ROWS, memory_estimate.cache_bytes_of(room) // row))
    return memory_estimate.generate(config, dtype, rows, _TOKENS, quantization=kind)


def _verdict(need: int, free: int) -> str:
    if not memory_estimate.FitResult(need, free).fits:
        return TOO_LARGE
    return TIGHT if need > _TIGHT * free else FITS


def _advised(row: StagePlan, rows: Sequence[StagePlan]) -> StagePlan:
    """The stage with what to change where it does not fit."""
    if row.verdict == FITS:
        return row
    same = [other for other in rows if (other.stage, other.model) == (row.stage, row.model)]
    smaller = [other for other in same if other.need < row.need and other.verdict != TOO_LARGE]
    if smaller:
        change = "--load-in-8bit" if smaller[0].quantization else f"--dtype {smaller[0].dtype}"
    elif row.verdict == TIGHT:
        change = "End other programs."
    elif row.stage.startswith("train"):
        change = "--micro-batch-tokens 256, or a smaller generator"
    else:
        change = "a smaller model, or end other programs"
    return replace(row, change=change)


def proposed_profile(free: int | None = None, dtype: str = "float32") -> tuple[str, str]:
    """The profile that suits this machine's free memory, and why, in one sentence.

    Args:
        free: bytes; what is free now where None.
        dtype: that models would be loaded in.
    """
    room = memory_estimate.free() if free is None else free
    rows = plan(catalog.RECOMMENDED, dtypes=(dtype,), free=room)
    need = max(row.need for row in rows)
    if all(row.verdict != TOO_LARGE for row in rows):
        return "single", f"single fits: it needs up to {need / 1e9:.0f} GB of {room / 1e9:.0f} GB free."
    return "embedded", f"embedded fits: single would need {need / 1e9:.0f} GB, and {room / 1e9:.0f} GB are free."
