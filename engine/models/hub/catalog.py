"""The models that Redraft knows by name, the profiles that give them roles, and what a name that a person typed means.

Plain data; needs no torch and no network.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InputError, ModelError
from engine.files import expanded
from engine.models.nn.config import ModelConfig

EMBEDDED = "smollm2-135m-instruct"
"""Name of the model that comes with the installation and needs no network."""

RECOMMENDED = "qwen2-1.5b-instruct"
"""Name of the model to use where memory and a network allow it."""


@dataclass(frozen=True)
class Entry:
    """A model known by name.

    Args:
        name: what a person types.
        repo: id on the Hugging Face hub, "owner/name".
        license: SPDX identifier, as the model's own page names it.
        chat: whether its tokenizer brings a chat template; without one the plain template is used
            (`engine.models.chat`).
        config: its sizes and arithmetic, so that memory is known before anything is fetched.
        summary: what it is good for, one sentence.
    """

    name: str
    repo: str
    license: str
    chat: bool
    config: ModelConfig
    summary: str

    @property
    def parameters(self) -> int:
        return self.config.parameters

    @property
    def context(self) -> int:
        """Most tokens of prompt and completion together."""
        return self.config.context

    @property
    def embedded(self) -> bool:
        return self.name == EMBEDDED


def _llama(
    vocab: int, hidden: int, layers: int, heads: int, kv: int, inner: int, context: int, tied: bool
) -> ModelConfig:
    size = hidden // heads
    return ModelConfig(
        "llama", vocab, hidden, layers, heads, kv, size, inner, context, tied, norm_eps=1e-5, rotary_dims=size
    )


def _qwen2(hidden: int, layers: int, heads: int, kv: int, inner: int) -> ModelConfig:
    size = hidden // heads
    return ModelConfig("qwen2", 151_936, hidden, layers, heads, kv, size, inner, 32_768, True, rotary_dims=size)


def _gpt2(hidden: int, layers: int, heads: int) -> ModelConfig:
    size = hidden // heads
    return ModelConfig(
        "gpt2",
        50_257,
        hidden,
        layers,
        heads,
        heads,
        size,
        4 * hidden,
        1_024,
        True,
        norm_eps=1e-5,
        activation="gelu_tanh",
    )


def _qwen3(hidden: int, inner: int) -> ModelConfig:
    return ModelConfig("qwen3", 151_936, hidden, 28, 16, 8, 128, inner, 40_960, True, rotary_dims=128, qk_norm=True)


def _gemma3(hidden: int, layers: int, inner: int, parameters: int) -> ModelConfig:
    return ModelConfig(
        "gemma3_text", 262_144, hidden, layers, 4, 1, 256, inner, 32_768, True, parameter_count=parameters
    )


_SMOL_135M = _llama(49_152, 576, 30, 9, 3, 1_536, 8_192, True)
_SMOL_360M = _llama(49_152, 960, 32, 15, 5, 2_560, 8_192, True)
_SMOL_1B7 = _llama(49_152, 2_048, 24, 32, 32, 8_192, 8_192, True)
_TINYLLAMA = _llama(32_000, 2_048, 22, 32, 4, 5_632, 2_048, False)
_QWEN_500M = _qwen2(896, 24, 14, 2, 4_864)
_QWEN_1B5 = _qwen2(1_536, 28, 12, 2, 8_960)
_PHI_2 = ModelConfig(
    "phi",
    51_200,
    2_560,
    32,
    32,
    32,
    80,
    10_240,
    2_048,
    False,
    norm_eps=1e-5,
    activation="gelu_tanh",
    rotary_dims=32,
)
_LLAMA_3_2_1B = _llama(128_256, 2_048, 16, 32, 8, 8_192, 131_072, True)
_SMOL3_3B = ModelConfig("smollm3", 128_256, 2_048, 36, 16, 4, 128, 11_008, 65_536, True, parameter_count=3_075_098_624)
_GEMMA_2B = ModelConfig(
    "gemma", 256_000, 2_048, 18, 8, 1, 256, 16_384, 8_192, True, activation="gelu_tanh", rotary_dims=256
)

CATALOG: tuple[Entry, ...] = (
    Entry(
        EMBEDDED,
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "Apache-2.0",
        True,
        _SMOL_135M,
        "Embedded: needs no network, answers within seconds on a laptop.",
    ),
    Entry(
        "smollm2-360m-instruct",
        "HuggingFaceTB/SmolLM2-360M-Instruct",
        "Apache-2.0",
        True,
        _SMOL_360M,
        "The embedded model's larger sister.",
    ),
    Entry(
        "qwen2-0.5b-instruct",
        "Qwen/Qwen2-0.5B-Instruct",
        "Apache-2.0",
        True,
        _QWEN_500M,
        "A small generator that follows instructions in many languages.",
    ),
    Entry(
        "qwen2.5-0.5b-instruct",
        "Qwen/Qwen2.5-0.5B-Instruct",
        "Apache-2.0",
        True,
        _QWEN_500M,
        "The newer generation at the same size.",
    ),
    Entry(
        "tinyllama-1.1b-chat",
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        "Apache-2.0",
        True,
        _TINYLLAMA,
        "A chat model of the llama family with a short context.",
    ),
    Entry(
        RECOMMENDED,
        "Qwen/Qwen2-1.5B-Instruct",
        "Apache-2.0",
        True,
        _QWEN_1B5,
        "Recommended: the smallest that judges and criticizes usefully.",
    ),
    Entry(
        "qwen2.5-1.5b-instruct",
        "Qwen/Qwen2.5-1.5B-Instruct",
        "Apache-2.0",
        True,
        _QWEN_1B5,
        "The newer generation at the same size.",
    ),
    Entry(
        "smollm2-1.7b-instruct",
        "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        "Apache-2.0",
        True,
        _SMOL_1B7,
        "The largest of the embedded model's family.",
    ),
    Entry(
        "gemma-2b-it",
        "google/gemma-2b-it",
        "LicenseRef-Gemma",
        True,
        _GEMMA_2B,
        "Tuned for chat; the hub asks for an account that has accepted its license.",
    ),
    Entry(
        "gemma-2b",
        "google/gemma-2b",
        "LicenseRef-Gemma",
        False,
        _GEMMA_2B,
        "A base model; the hub asks for an account that has accepted its license.",
    ),
    Entry(
        "gemma-3-270m-it",
        "google/gemma-3-270m-it",
        "LicenseRef-Gemma",
        True,
        _gemma3(640, 18, 2_048, 268_098_176),
        "Very small and recent; the hub asks for an account that has accepted its license.",
    ),
    Entry(
        "gemma-3-1b-it",
        "google/gemma-3-1b-it",
        "LicenseRef-Gemma",
        True,
        _gemma3(1_152, 26, 6_912, 999_885_952),
        "Small and recent; the hub asks for an account that has accepted its license.",
    ),
    Entry(
        "llama-3.2-1b-instruct",
        "meta-llama/Llama-3.2-1B-Instruct",
        "LicenseRef-Llama-3.2",
        True,
        _LLAMA_3_2_1B,
        "A chat model with a long context; the hub asks for an account that has accepted its license.",
    ),
    Entry(
        "qwen3-0.6b",
        "Qwen/Qwen3-0.6B",
        "Apache-2.0",
        True,
        _qwen3(1_024, 3_072),
        "A recent small model; its thinking is switched off.",
    ),
    Entry(
        "qwen3-1.7b",
        "Qwen/Qwen3-1.7B",
        "Apache-2.0",
        True,
        _qwen3(2_048, 6_144),
        "A recent model that judges and criticizes usefully; its thinking is switched off.",
    ),
    Entry(
        "smollm3-3b",
        "HuggingFaceTB/SmolLM3-3B",
        "Apache-2.0",
        True,
        _SMOL3_3B,
        "The newest of the embedded model's family; its thinking is switched off.",
    ),
    Entry("phi-2", "microsoft/phi-2", "MIT", False, _PHI_2, "A strong base model for its size; not tuned for chat."),
    Entry("gpt2", "openai-community/gpt2", "MIT", False, _gpt2(768, 12, 12), "A base model from 2019, for comparison."),
    Entry(
        "gpt2-medium",
        "openai-community/gpt2-medium",
        "MIT",
        False,
        _gpt2(1_024, 24, 16),
        "A base model from 2019, for comparison.",
    ),
    Entry(
        "gpt2-large",
        "openai-community/gpt2-large",
        "MIT",
        False,
        _gpt2(1_280, 36, 20),
        "A base model from 2019, for comparison.",
    ),
    Entry(
        "gpt2-xl",
        "openai-community/gpt2-xl",
        "MIT",
        False,
        _gpt2(1_600, 48, 25),
        "The largest base model of 2019's family; untuned, so it has much to learn.",
    ),
)


@dataclass(frozen=True)
class Profile:
    """Which model fills which role.

    Args:
        name: "embedded", "single", "dual" or "conservative-dual".
        generator: name of the model that drafts and is trained.
        critic: name of the model that critiques, revises and judges; the same name shares one copy in memory.
        judge: the kind of judge, as in `RunConfig.judge`.
        summary: when to choose it, one sentence.
    """

    name: str
    generator: str
    critic: str
    judge: str
    summary: str

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models that are in memory together, each once."""
        return tuple(dict.fromkeys((self.generator, self.critic)))


PROFILES: tuple[Profile, ...] = (
    Profile(
        "embedded", EMBEDDED, EMBEDDED, "panel", "The embedded model in every role: the least memory, works offline."
    ),
    Profile(
        "single", RECOMMENDED, RECOMMENDED, "likelihood", "Recommended: Qwen2-1.5B-Instruct in every role, one copy."
    ),
    Profile("dual", "phi-2", RECOMMENDED, "likelihood", "Phi-2 is trained; Qwen2-1.5B-Instruct judges and criticizes."),
    Profile(
        "conservative-dual",
        "gpt2-xl",
        RECOMMENDED,
        "likelihood",
        "GPT-2 XL is trained, untuned before; Qwen2-1.5B-Instruct judges and criticizes.",
    ),
)


@dataclass(frozen=True)
class Source:
    """Where a model's files are.

    Args:
        kind: "embedded", "hub", "folder", "gguf"; "adapter", a folder that changes another model
            (`engine.models.hub.adapter`); or "checkpoint", that of a training (`engine.pipeline.checkpoint_model`).
        name: what is shown for it: the catalog's name, the hub id, or the last part of the path (of an adapter the last
            two: "adapter" alone says little).
        repo: id on the hub; "" where there is none.
        revision: branch, tag or commit on the hub; "" for the default branch.
        path: folder or GGUF file; None where it is not known yet.
        entry: the catalog's entry, where there is one.
    """

    kind: str
    name: str
    repo: str = ""
    revision: str = ""
    path: Path | None = None
    entry: Entry | None = None


_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[\w][\w./-]{0,199}", re.ASCII)


def find(name: str) -> Entry | None:
    """The entry of that name or hub id, in any case; None where there is none."""
    folded = name.casefold()
    return next((e for e in CATALOG if folded in (e.name, e.repo.casefold())), None)


def profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        ModelError: naming the profiles there are.
    """
    for candidate in PROFILES:
        if candidate.name == name:
            return candidate
    raise ModelError(
        f"Unknown profile {shown(name)}.", next_step=f"Choose one of {', '.join(p.name for p in PROFILES)}."
    )


def resolve(name: str) -> Source:
    """What a name means: a name of the catalog, a folder with a model or an adapter, a `.gguf` file, or an id
    "owner/name" on the hub, with "@revision" where a certain one is wanted. Looks at the local disk only.

    Raises:
        ModelError: if it is none of these, with the names that come closest.
    """
    wanted = name.strip()
    if not wanted or "\0" in wanted or len(wanted) > 4_096:
        raise ModelError("No model is named.", next_step=_LISTING)
    entry = find(wanted)
    # A folder here is taken before the hub's model of that id, as transformers does.
    local = _local(wanted) if entry is None or "/" in wanted else None
    if entry is not None and local is None:
        return Source("embedded" if entry.embedded else "hub", entry.name, entry.repo, entry=entry)
    if local is not None:
        return local
    repo, _, revision = wanted.partition("@")
    named = find(repo)
    if named is not None and revision:
        repo = named.repo
    # "./x", "~/x" and "../x" can only be meant as paths, though some have the form of a hub id.
    if _HUB_ID.fullmatch(repo) and ".." not in wanted and (not revision or _REVISION.fullmatch(revision)):
        known = find(repo)
        return Source("hub", wanted if known is None else known.name, repo, revision, entry=known)
    raise _unknown(wanted)


def _unknown(wanted: str) -> ModelError:
    """What is wrong with a name that means nothing: an address, a path, or a misspelled name."""
    if page := re.match(r"(?:(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/|hf:(?://)?)([\w.-]+/[\w.-]+)", wanted):
        return ModelError("A model is named by its hub id.", where=shown(wanted), next_step=f"Name {page[1]}.")
    if re.match(r"https?://", wanted):
        return ModelError(
            "This is the address of a server, and what is trained runs on this machine.",
            where=shown(wanted),
            next_step="Name a model here; a server can judge (--judge endpoint --endpoint URL) or write texts "
            "(--endpoint-texts).",
        )
    if "/" in wanted or wanted.endswith(".gguf"):
        if file := re.fullmatch(r"([\w-][\w.-]*/[\w.-]+)/([\w./-]+\.gguf)", wanted):
            return ModelError(
                "There is no such GGUF file.",
                where=shown(wanted),
                next_step=f"Check the path, or download a file of the hub first: hf download {file[1]} {file[2]} "
                "--local-dir .",
            )
        return ModelError(
            "There is no such model folder or GGUF file.",
            where=shown(wanted),
            next_step="Check the path, or name a model of the catalog: `redraft models` lists them.",
        )
    return ModelError(f"There is no model {shown(wanted)}{_closest(wanted)}.", next_step=_LISTING)


_LISTING = (
    "`redraft models` lists the names; a folder, a .gguf file or a hub id such as Qwen/Qwen2-1.5B-Instruct works too."
)


def _local(wanted: str) -> Source | None:
    try:
        path = expanded(wanted)
        if path.is_dir():
            place = path.resolve()
            if (path / "adapter_config.json").exists() and not (path / "config.json").exists():
                return Source("adapter", f"{place.parent.name}/{place.name}", path=path)
            if (path / "state.safetensors").exists() and (path / "state.json").exists():
                return Source("checkpoint", f"{place.parent.parent.name}/{place.name}", path=path)
            return Source("folder", place.name or str(path), path=path)
        if path.suffix.lower() == ".gguf" and path.exists():
            return Source("gguf", path.stem, path=path)
        if path.is_file():
            raise _not_a_model(path)
    except InputError as error:
        raise ModelError(error.what, where=shown(wanted), next_step=error.next_step) from None
    except OSError:
        # A path that cannot even be looked at (too long, a loop of links) is no path.
        return None
    return None


def _not_a_model(path: Path) -> ModelError:
    """The error for a file that is there and is neither: the hub is not asked for it."""
    try:
        with path.open("rb") as file:
            is_gguf = file.read(4) == b"GGUF"
    except OSError:
        is_gguf = False
    if is_gguf:
        step = "It is a GGUF file: rename it so that its name ends in .gguf."
    elif path.suffix in (".safetensors", ".bin", ".pt", ".pth"):
        step = "Name the folder that holds it together with config.json and tokenizer.json."
    else:
        step = "Name a folder with config.json, tokenizer.json and *.safetensors, or a GGUF file."
    return ModelError("This is a file, but not one whose name ends in .gguf.", where=shown(str(path)), next_step=step)


def _closest(wanted: str) -> str:
    names: Sequence[str] = [e.name for e in CATALOG]
    near = difflib.get_close_matches(wanted.casefold(), names, n=3, cutoff=0.5)
    near = near or [n for n in names if wanted.casefold() in n][:3]
    return f"; the closest names are {', '.join(near)}" if near else ""


def shown(text: str) -> str:
    """A name that a user typed, as messages show it: printable, and not too long."""
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable if len(printable) <= 120 else printable[:120] + "…"
