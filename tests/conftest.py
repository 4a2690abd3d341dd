"""Fixtures for the whole suite: a home of its own for each test, the embedded model, and tiny models of each family."""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from engine.models.local import LocalModel

# A suite that a shell started in its background has Ctrl-C ignored, and so would every process that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How fast inputs are generated says how busy the machine is, nothing about the code.
settings.register_profile("redraft", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("redraft")

TINY: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 2},
    "gemma": {"num_key_value_heads": 1, "head_dim": 16},
    "phi": {"partial_rotary_factor": 0.5},
    "gpt2": {},
    "mistral": {"num_key_value_heads": 2, "sliding_window": None},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 16},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 16, "query_pre_attn_scalar": 16},
    "qwen3_moe": {
        "num_key_value_heads": 2,
        "head_dim": 16,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
    },
    "falcon": {"multi_query": True},
    "phi3": {"num_key_value_heads": 2, "sliding_window": 16},
    "gemma3_text": {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 16, "query_pre_attn_scalar": 16},
    "gpt_neox": {},
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 64},
    "olmo2": {"num_key_value_heads": 2},
    "smollm3": {"num_key_value_heads": 2},
    "granite": {"num_key_value_heads": 2, "logits_scaling": 4.0, "embedding_multiplier": 3.0},
    "stablelm": {"num_key_value_heads": 2},
    "starcoder2": {"num_key_value_heads": 2, "sliding_window": 16},
    "mixtral": {"num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2},
}
"""Family -> settings beside the common ones."""

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


SHARED = ("models", "machine")
"""Folders of the cache that are kept from one test run to the next: converted models, and what was measured of this
machine. Both are made again where they are missing."""


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """What a test has signals do ends with it. The app's handlers outlive its loop, as hang-ups come in any number;
    left in place they would keep SIGTERM from ending the tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def shared_cache() -> Path:
    """Where the shared folders are: the user's own cache, or a temporary folder where that cannot be written."""
    place = Path(platformdirs.user_cache_dir("redraft", appauthor=False))
    try:
        for name in SHARED:
            (place / name).mkdir(parents=True, exist_ok=True)
            (place / name / ".test").touch()
    except OSError:
        place = Path(tempfile.mkdtemp(prefix="redraft-cache-"))
    return place


def make_home(home: Path, shared: Path) -> Path:
    """A REDRAFT_HOME with nothing in it but links to the shared folders."""
    (home / "cache").mkdir(parents=True)
    for name in SHARED:
        (shared / name).mkdir(exist_ok=True)
        (home / "cache" / name).symlink_to(shared / name)
    return home


@pytest.fixture
def redraft_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_cache: Path) -> Path:
    """A REDRAFT_HOME that only this test uses; converted models and measurements alone are shared with other tests."""
    home = make_home(tmp_path / "home", shared_cache)
    monkeypatch.setenv("REDRAFT_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def embedded(shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    """The embedded model on the CPU in float32, converted on a machine's first test run (about 15 s)."""
    from engine.models.hub.catalog import EMBEDDED
    from engine.models.local import load_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDRAFT_HOME", str(make_home(tmp_path_factory.mktemp("embedded") / "home", shared_cache)))
        return load_model(EMBEDDED, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function family -> folder of a tiny random model of that family with a tokenizer; keyword arguments change its
    config. llama, qwen2 and gemma have a chat template, phi and gpt2 have none."""
    made: dict[str, Path] = {}

    def make(family: str, **changes: Any) -> Path:
        key = family + json.dumps(changes, sort_keys=True)
        if key not in made:
            made[key] = tmp_path_factory.mktemp(f"tiny-{family}")
            _write_tiny(made[key], family, changes)
        return made[key]

    return make


def _write_tiny(folder: Path, family: str, changes: dict[str, Any]) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = _tiny_tokenizer(family in ("llama", "qwen2", "gemma"))
    ids = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    ids["pad_token_id"] = tokenizer.eos_token_id
    if family == "gpt2":
        sizes = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}
    else:
        sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
        sizes["max_position_embeddings"] = 256
    settings = {"vocab_size": len(tokenizer), **sizes, **TINY[family], **ids, **changes}
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **settings))
    with torch.no_grad():
        for parameter in model.parameters():
            # transformers starts with weights so small that all tokens are nearly equally likely.
            parameter.normal_(0.0, 0.2) if parameter.dim() > 1 else parameter.add_(0.1 * torch.randn_like(parameter))
    torch.random.set_rng_state(state)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tiny_tokenizer(chat: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] if chat else ["<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(["the question is what the answer should be, and why", "Question: Answer:"] * 8, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token=special[0], eos_token=special[-1], pad_token=special[-1]
    )
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
