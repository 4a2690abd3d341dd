"""Memory as it is predicted before a model is loaded, and as it is: each stage in a process of its own.

    python -m benchmarks.memory [MODEL ...] [--stage NAME ...] [--dtype NAME] [--load-in-8bit] [--rows N] [--tokens N]
                                [--micro N] [--json]

Models are shapes of the catalog with random weights, written to a temporary folder as bfloat16 (the form that most are
published in) and deleted at the end. Their tokenizer is the embedded model's. Work is as short as the peak allows: a
few tokens are written after long prompts, and one step is trained. The exit code is 1 where a stage is off by more than
10 %, and a stage that would not fit is not run.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from engine.models.hub.memory_estimate import MemoryEstimate
    from engine.models.nn.config import ModelConfig, Quantization
    from engine.models.nn.decoder import LanguageDecoder

MODELS = ("gpt2", "gpt2-xl", "qwen2-1.5b-instruct", "phi-2")
WITHIN = 0.10
"""The goal: the largest share by which a prediction may be off."""

_CHILD_SECONDS = 1_800.0


@dataclass(frozen=True)
class Work:
    """What a stage does: rows and tokens of its texts, tokens of a micro-batch, bits."""

    dtype: str = "bfloat16"
    quantization: Quantization = ""
    rows: int = 16
    tokens: int = 256
    micro: int = 512


@dataclass(frozen=True)
class Measured:
    """One stage of one model; bytes of the whole process."""

    model: str
    stage: str
    predicted: int
    measured: int
    seconds: float

    @property
    def off(self) -> float:
        """By which share the prediction is too high, or (negative) too low."""
        return self.predicted / self.measured - 1


def write_random(config: ModelConfig, values: Mapping[str, Any], folder: Path) -> None:
    """A folder with a model of these sizes: random weights in bfloat16, and the embedded model's tokenizer."""
    import shutil

    import torch

    from engine.models.hub import embedded, weights
    from engine.models.nn.tensor_names import tensor_shapes

    folder.mkdir(parents=True, exist_ok=True)
    for path in embedded.prepare().glob("*token*"):
        shutil.copy(path, folder)
    (folder / "config.json").write_text(json.dumps(values))
    noise = (0.02 * torch.randn(1 << 20, generator=torch.Generator().manual_seed(0))).bfloat16()
    tensors = {}
    for name, shape in tensor_shapes(config).items():
        count = 1
        for size in shape:
            count *= size
        tensors[name] = noise.repeat(-(-count // len(noise)))[:count].reshape(shape)
    weights.write(folder / weights.SINGLE, tensors)


def stages() -> dict[str, tuple[Callable[[LanguageDecoder, Work], None], Callable[..., MemoryEstimate]]]:
    """Stage -> what it does once the model is loaded, and what it is predicted to need (config, work)."""
    from engine.models.hub import memory_estimate as estimate

    def training(config: ModelConfig, work: Work, length: int) -> MemoryEstimate:
        return estimate.train_lora(config, work.dtype, work.micro, length=length, quantization=work.quantization)

    def writing(config: ModelConfig, work: Work) -> MemoryEstimate:
        return estimate.generate(config, work.dtype, work.rows, work.tokens, quantization=work.quantization)

    return {
        "load": (
            lambda _decoder, _work: None,
            lambda c, w: estimate.load(c, w.dtype, quantization=w.quantization),
        ),
        "draft": (_write, writing),
        "judge": (_score, lambda c, w: estimate.score(c, w.dtype, 2 * w.micro, quantization=w.quantization)),
        "train (SFT)": (_train_sft, lambda c, w: training(c, w, w.tokens)),
        "train (DPO)": (_train_dpo, lambda c, w: training(c, w, w.tokens)),
        "compare": (_compare, lambda c, w: estimate.compare(c, w.dtype, writing(c, w), quantization=w.quantization)),
    }


def _write(decoder: LanguageDecoder, work: Work) -> None:
    from engine.control import Control
    from engine.models.hub import embedded, load
    from engine.models.inference.generate import generate
    from engine.models.inference.requests import Request, Sampling
    from engine.models.inference.token_codec import Codec

    codec = Codec(load.folder_tokenizer(embedded.prepare()), frozenset())
    chance, new = random.Random(0), 4
    words = ["river", "stone", "cloud", "paper", "green", "seven"]
    prompts = [" ".join(chance.choices(words, k=work.tokens - new)) for _ in range(work.rows)]
    sampling = Sampling(max_tokens=new, temperature=1.0)
    requests = [Request(str(place), prompt, sampling, place) for place, prompt in enumerate(prompts)]
    for _ in generate(decoder, codec, requests, Control(), rows=work.rows, memory=1 << 40):
        pass


def _tokens(count: int, seed: int) -> tuple[int, ...]:
    return tuple(random.Random(seed).choices(range(1_000), k=count))


def _score(decoder: LanguageDecoder, work: Work) -> None:
    from engine.control import Control
    from engine.models.inference.choice_logprobs import choice_logprobs

    questions = [_tokens(2 * work.micro // 4, seed) for seed in range(4)]
    choice_logprobs(decoder, questions, [[1], [2]], Control())


def _train_sft(decoder: LanguageDecoder, work: Work) -> None:
    from engine.training.config import TrainConfig
    from engine.training.data import SftRow
    from engine.training.loop import train

    half, count = work.tokens // 2, max(1, work.micro // work.tokens)
    rows = [SftRow(_tokens(half, n), _tokens(half, n + 100)) for n in range(2 * count)]
    # Two steps: from the second on the transposed weights are there beside all activations.
    train(
        decoder,
        rows,
        TrainConfig.sft(num_train_epochs=1, train_batch_size=count, micro_batch_tokens=work.micro),
    )


def _train_dpo(decoder: LanguageDecoder, work: Work) -> None:
    from engine.training.config import TrainConfig
    from engine.training.data import PairRow
    from engine.training.loop import train

    half = work.tokens // 2
    count = max(1, work.micro // (3 * half))
    rows = [PairRow(_tokens(half, n), _tokens(half, n + 100), _tokens(half, n + 200)) for n in range(2 * count)]
    train(
        decoder,
        rows,
        TrainConfig.dpo(num_train_epochs=1, train_batch_size=count, micro_batch_tokens=work.micro),
    )


def _compare(decoder: LanguageDecoder, work: Work) -> None:
    import torch

    from engine.models.nn.lora_weights import Adapter, LoraPair

    pairs = {
        name: LoraPair(torch.full((16, columns), 1e-4), torch.full((rows, 16), 1e-4), 1.0)
        for name, (rows, columns) in decoder.adaptable().items()
    }
    _write(decoder.merged(Adapter(pairs)), work)


def measure_stage(folder: Path, stage: str, work: Work) -> tuple[int, float]:
    """Load the model of a folder in this process and do one stage. Returns the process's peak in bytes, and seconds."""
    from engine.models import machine_profile

    machine_profile.prepare_environment()
    from engine.models.hub import memory
    from engine.models.local import load_model

    began = time.monotonic()
    model = load_model(str(folder), device="cpu", dtype=work.dtype, quantization=work.quantization)
    stages()[stage][0](model.decoder, work)
    return memory.peak_rss(), time.monotonic() - began


def predicted(config: ModelConfig, stage: str, work: Work) -> int:
    """Bytes that a process with this stage is predicted to hold at most, with the embedded model's tokenizer."""
    from engine.models.hub import catalog, memory_estimate

    small = catalog.find(catalog.EMBEDDED)
    assert small is not None
    other = memory_estimate.tokenizer_bytes(small.config) - memory_estimate.tokenizer_bytes(config)
    # A process that does a stage has loaded the model before.
    needs: list[MemoryEstimate] = [stages()[one][1](config, work) for one in ("load", stage)]
    return max(need.peak_rss for need in needs) + other


def measure(
    name: str, config: ModelConfig, values: Mapping[str, Any], work: Work, wanted: Sequence[str] = ()
) -> Iterator[Measured]:
    """The stages (all, or those wanted) of a model of these sizes; those that would not fit are left out."""
    from engine.models.hub import memory, memory_estimate

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / name
        write_random(config, values, folder)
        memory.release()
        for stage in wanted or stages():
            need = predicted(config, stage, work)
            if not memory_estimate.fits(need).fits:
                sys.stderr.write(f"{name}, {stage}: {memory_estimate.fits(need)}, not run.\n")
                continue
            peak, seconds = _in_a_process(folder, stage, work)
            yield Measured(name, stage, need, peak, seconds)


def _in_a_process(folder: Path, stage: str, work: Work) -> tuple[int, float]:
    task = json.dumps([str(folder), stage, vars(work)])
    command = [sys.executable, "-m", "benchmarks.memory", "--child", task]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_CHILD_SECONDS)
    if done.returncode:
        raise RuntimeError(f"{folder.name}, {stage}: {done.stderr[-1_000:]}")
    peak, seconds = json.loads(done.stdout.splitlines()[-1])
    return peak, seconds


def config_values(config: ModelConfig) -> dict[str, Any]:
    """A `config.json` of these sizes.

    Raises:
        KeyError: the family is not one of `MODELS`.
    """
    common = {"vocab_size": config.vocab_size, "tie_word_embeddings": config.tied, "torch_dtype": "bfloat16"}
    if config.family == "gpt2":
        sizes = {"n_embd": config.hidden_size, "n_layer": config.num_layers, "n_head": config.num_heads}
        return {"model_type": "gpt2", **common, **sizes, "n_positions": config.context}
    named = {
        "model_type": config.family,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.context,
    }
    more = {"phi": {"partial_rotary_factor": 0.4}, "qwen2": {}, "llama": {}}[config.family]
    return {**common, **named, **more}


def main(
    model: Annotated[list[str] | None, typer.Argument(metavar="MODEL", help="Names of the catalog.")] = None,
    stage: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this stage; may be repeated.")] = None,
    dtype: Annotated[str, typer.Option(metavar="NAME", help="Compute in this dtype.")] = "bfloat16",
    load_in_8bit: Annotated[bool, typer.Option("--load-in-8bit", help="Keep the layers in 8 bits.")] = False,
    rows: Annotated[int, typer.Option(metavar="N", min=1, help="Write so many texts at a time.")] = 16,
    tokens: Annotated[int, typer.Option(metavar="N", min=8, help="Tokens of a text.")] = 256,
    micro: Annotated[int, typer.Option(metavar="N", min=8, help="Tokens of a micro-batch.")] = 512,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a stage.")] = False,
    child: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Print predicted and measured peak memory of each stage, for models with random weights."""
    if child:
        folder, one_stage, values = json.loads(child)
        sys.stdout.write(json.dumps(measure_stage(Path(folder), one_stage, Work(**values))) + "\n")
        return
    from engine.models.hub import catalog

    if unknown := set(stage or ()) - set(stages()):
        raise typer.BadParameter(f"no stage {', '.join(sorted(unknown))}; choose of {', '.join(stages())}")
    work = Work(dtype, "int8" if load_in_8bit else "", rows, tokens, micro)
    worst = 0.0
    for name in model or MODELS:
        entry = catalog.find(name)
        if entry is None:
            raise typer.BadParameter(f"{name!r} is not in the catalog")
        for one in measure(name, entry.config, config_values(entry.config), work, stage or ()):
            worst = max(worst, abs(one.off))
            line = (
                f"{one.model:22} {one.stage:12} predicted {one.predicted / 1e6:6,.0f} MB   "
                f"measured {one.measured / 1e6:6,.0f} MB   {one.off:+6.1%}   {one.seconds:5.0f} s"
            )
            sys.stdout.write((json.dumps({**vars(one), "off": one.off}) if as_json else line) + "\n")
            sys.stdout.flush()
    raise typer.Exit(int(worst > WITHIN))


if __name__ == "__main__":
    typer.run(main)
