"""Models from GGUF files give the numbers and tokens of the models that they were made from, or are refused by name."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf_files import LLAMA3, write_gguf
from transformers import AutoModelForCausalLM

from engine.errors import ModelError
from engine.models.hub import gguf, load
from engine.models.local import check_model
from engine.models.nn import families
from engine.models.nn.decoder import pack

Tiny = Callable[..., Path]
TEXTS = ["Step 1:\n\n1. Do it 12345", "don't  pay $99.50!\n", "naïve 日本 Ünder\t x1+100", "I'LL go, he'd  \n\n say"]


@pytest.fixture(autouse=True)
def home(redraft_home: Path) -> Path:
    return redraft_home


def difference(path: Path, folder: Path) -> float:
    """The largest difference of logits from transformers' model of the folder, in float32."""
    decoder = families.from_transformers(load.read_gguf(path, "float32"))
    theirs: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    vocab = decoder.config.vocab_size
    sequences = [[(7 * i + n) % vocab for i in range(n)] for n in (5, 40, min(150, decoder.config.context - 1))]
    tokens, positions = pack(sequences)
    with torch.inference_mode():
        ours = decoder.logits(decoder.forward(tokens, positions, decoder.causal([len(s) for s in sequences])).last)
        expected = torch.cat([theirs(torch.tensor([s])).logits[0] for s in sequences])
    return float((ours - expected).abs().max())


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True}),
        ("llama", {"head_dim": 32}),
        ("llama", {"attention_bias": True}),
        ("llama", {"mlp_bias": True}),
        ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
        ("mistral", {"num_key_value_heads": 2, "sliding_window": None}),
        ("qwen2", {}),
        ("qwen2", {"tie_word_embeddings": True}),
        ("qwen3", {"head_dim": 16, "num_key_value_heads": 2}),
        ("qwen3", {"head_dim": 16, "num_key_value_heads": 2, "attention_bias": True}),
        ("gpt2", {}),
    ],
)
def test_a_gguf_file_gives_its_models_logits(tiny: Tiny, tmp_path: Path, family: str, changes: dict[str, Any]) -> None:
    folder = tiny(family, **changes)
    assert difference(write_gguf(tmp_path / "model.gguf", folder), folder) < 1e-4


def _llama3_divisors(head_dim: int, rope: dict[str, Any]) -> list[float]:
    """What llama.cpp's converter stores as `rope_freqs.weight` for a model of Llama 3.1's kind."""
    found = []
    low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    for i in range(0, head_dim, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (i / head_dim)
        if wave < high:
            found.append(1.0)
        elif wave > low:
            found.append(rope["factor"])
        else:
            smooth = (rope["original_max_position_embeddings"] / wave - rope["low_freq_factor"]) / (
                rope["high_freq_factor"] - rope["low_freq_factor"]
            )
            found.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return found


ROPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "linear": (
        {"rope_type": "linear", "factor": 4.0},
        {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
    ),
    "linear without its type": ({"rope_type": "linear", "factor": 2.0}, {"rope.scaling.factor": 2.0}),
    "linear under its old key": ({"rope_type": "linear", "factor": 8.0}, {"rope.scale_linear": 8.0}),
    "yarn": (
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 64,
        },
    ),
    "none": ({"rope_type": "default"}, {"rope.scaling.type": "none", "rope.scaling.factor": 4.0}),
}


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("kind", ROPES)
def test_the_rope_scaling_of_a_gguf_file_is_computed(tiny: Tiny, tmp_path: Path, kind: str, family: str) -> None:
    rope, values = ROPES[kind]
    folder = tiny(family, rope_parameters={"rope_theta": 500.0, **rope})
    assert difference(write_gguf(tmp_path / "model.gguf", folder, values=values), folder) < 1e-4


@pytest.mark.parametrize("tied", [True, False])
def test_frequencies_that_a_gguf_file_divides_are_divided(tiny: Tiny, tmp_path: Path, tied: bool) -> None:
    folder = tiny("llama", rope_parameters=LLAMA3, tie_word_embeddings=tied)
    path = write_gguf(tmp_path / "model.gguf", folder, tensors={gguf.ROPE_FREQS: _llama3_divisors(16, LLAMA3)})
    assert difference(path, folder) < 1e-4
    plain = write_gguf(tmp_path / "plain.gguf", folder)
    assert difference(plain, folder) > 0.01


def test_projections_without_the_biases_of_others_have_none(tiny: Tiny, tmp_path: Path) -> None:
    """Some models have biases on queries, keys and values alone."""
    source = tiny("llama", attention_bias=True)
    folder = Path(shutil.copytree(source, tmp_path / "model"))
    model: Any = AutoModelForCausalLM.from_pretrained(source)
    names = []
    for layer, block in enumerate(model.model.layers):
        torch.nn.init.zeros_(block.self_attn.o_proj.bias)
        names.append(f"blk.{layer}.attn_output.bias")
    model.save_pretrained(folder)
    assert difference(write_gguf(tmp_path / "model.gguf", folder, leave_out=names), folder) < 1e-4


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "longrope": ({"rope.scaling.type": "longrope"}, {}, "rope scaling 'longrope'"),
    "long factors": ({}, {"rope_factors_long.weight": [1.0] * 8}, "rope scaling 'longrope'"),
    "unknown scaling": ({"rope.scaling.type": "spiral", "rope.scaling.factor": 2.0}, {}, "rope scaling 'spiral'"),
    "experts": ({"expert_count": 8}, {}, "8 experts"),
    "scaled logits": ({"logit_scale": 8.0}, {}, "llama.logit_scale"),
    "not causal": ({"attention.causal": False}, {}, "llama.attention.causal"),
    "alibi": ({"attention.max_alibi_bias": 8.0}, {}, "llama.attention.max_alibi_bias"),
    "clamped": ({"attention.clamp_kqv": 8.0}, {}, "llama.attention.clamp_kqv"),
    "capped": ({"final_logit_softcapping": 30.0}, {}, "llama.final_logit_softcapping"),
    "parallel": ({"use_parallel_residual": True}, {}, "llama.use_parallel_residual"),
    "more predictions": ({"nextn_predict_layers": 1}, {}, "llama.nextn_predict_layers"),
    "alpha": ({"rope.scaling.alpha": 1000.0}, {}, "llama.rope.scaling.alpha"),
    "windows by layer": ({"attention.sliding_window_pattern": [True, False]}, {}, "sliding_window_pattern"),
    "fused": ({}, {"blk.0.attn_qkv.weight": [[1.0] * 64] * 128}, r"blk\.0\.attn_qkv\.weight"),
    "norm after attention": ({}, {"blk.0.post_attention_norm.weight": [1.0] * 64}, "post_attention_norm"),
    "part of heads rotated": ({"rope.dimension_count": 8}, {}, "rope.dimension_count"),
    "unknown tensor": ({}, {"blk.0.attn_sinks.weight": [1.0] * 4}, r"a tensor that is .*blk\.0\.attn_sinks\.weight"),
    "lora": ({}, {"blk.0.attn_q.weight.lora_a": [[1.0] * 64]}, "lora_a"),
    "bias of a norm": ({}, {"output_norm.bias": [0.0] * 64}, r"output_norm\.bias"),
    "split": ({"split.count": 3}, {}, "llama-gguf-split --merge"),
    "adapter": ({"general.type": "adapter"}, {}, "adapter"),
    "tokenizer": ({"tokenizer.ggml.model": "rwkv"}, {}, "tokenizer 'rwkv'"),
    "an end out of range": ({"tokenizer.ggml.eot_token_id": 99999}, {}, r"eot_token_id` .* is 99999, and .* tokens"),
    "pre-tokenizer": ({"tokenizer.ggml.pre": "klingon"}, {}, "pre-tokenizer 'klingon'"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_computed_is_refused_by_name_from_the_header(tiny: Tiny, tmp_path: Path, kind: str) -> None:
    values, tensors, words = REFUSED[kind]
    own = {"rope.dimension_count", "tokenizer.ggml.model", "tokenizer.ggml.pre"} & set(values)
    path = tmp_path / "model.gguf"
    if own:
        pytest.importorskip("gguf")
        _write_changed(path, tiny("llama"), values)
    else:
        write_gguf(path, tiny("llama"), values=values, tensors=tensors)
    with pytest.raises(ModelError, match=words) as caught:
        check_model(str(path))
    assert str(path) in str(caught.value)
    assert "again" not in str(caught.value), "a new copy would be the same"


def _write_changed(path: Path, folder: Path, values: dict[str, Any]) -> None:
    """A file whose keys, which the writer sets once, have other values."""
    import gguf_files

    class Changed(pytest.MonkeyPatch):
        pass

    with Changed.context() as patch:
        if "tokenizer.ggml.pre" in values:
            write_gguf(path, folder, pre=values["tokenizer.ggml.pre"])
            return
        import gguf as package

        if "tokenizer.ggml.model" in values:
            name = values["tokenizer.ggml.model"]
            before = package.GGUFWriter.add_tokenizer_model
            patch.setattr(package.GGUFWriter, "add_tokenizer_model", lambda self, _: before(self, name))
        else:
            count = values["rope.dimension_count"]
            rotated = package.GGUFWriter.add_rope_dimension_count
            patch.setattr(package.GGUFWriter, "add_rope_dimension_count", lambda self, _: rotated(self, count))
        gguf_files.write_gguf(path, folder)


@pytest.mark.parametrize("family", ["qwen2", "gpt2"])
def test_a_lost_bias_of_a_family_that_has_them_is_refused_as_by_llama_cpp(
    tiny: Tiny, tmp_path: Path, family: str
) -> None:
    name = "blk.0.attn_q.bias" if family == "qwen2" else "blk.0.attn_qkv.bias"
    with pytest.raises(ModelError, match=r"The GGUF file lacks .*0\..*\.bias"):
        gguf.check(write_gguf(tmp_path / "model.gguf", tiny(family), leave_out=[name]))


def test_divided_frequencies_of_other_families_are_refused_as_by_llama_cpp(tiny: Tiny, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", tiny("qwen2"), tensors={gguf.ROPE_FREQS: [2.0] * 8})
    with pytest.raises(ModelError, match="rope_freqs"):
        gguf.check(path)


def test_keys_that_are_not_used_are_named_once(tiny: Tiny, tmp_path: Path) -> None:
    neutral = {"logit_scale": 1.0, "use_parallel_residual": False, "attention.causal": True, "expert_group_count": 0}
    path = write_gguf(tmp_path / "model.gguf", tiny("llama"), values={**neutral, "pooling_type": 1, "shoe_size": 43})
    assert gguf.check(path).notices == (
        "Keys of the GGUF file that are not used: llama.pooling_type, llama.shoe_size.",
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.replace(b"GGUF\x03\0\0\0", b"GGUF\0\0\0\x03", 1), "big-endian"),
        (lambda data: data.replace(b"norm_rms_epsilon", b"norm_rms_epsilun"), "lacks the key .*norm_rms_epsilon`"),
        (lambda data: data.replace(b"blk.0.ffn_up", b"blk.1.ffn_up"), "header of this GGUF file is damaged"),
    ],
)
def test_a_damaged_or_foreign_header_is_refused(
    tiny: Tiny, tmp_path: Path, change: Callable[[bytes], bytes], words: str
) -> None:
    path = write_gguf(tmp_path / "model.gguf", tiny("llama"))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ModelError, match=words):
        check_model(str(path))


@pytest.mark.parametrize(("kind", "words"), [(28, "type F64"), (4242, "type number 4242")])
def test_weights_of_a_type_that_is_not_read_are_refused_from_the_header(
    tiny: Tiny, tmp_path: Path, kind: int, words: str
) -> None:
    path = write_gguf(tmp_path / "model.gguf", tiny("llama"))
    data, name = path.read_bytes(), b"output_norm.weight"
    at = data.index(name) + len(name) + 4 + 8  # behind the number of dimensions, and the one dimension
    path.write_bytes(data[:at] + kind.to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(ModelError, match=f"weights of the {words} .output_norm"):
        check_model(str(path))


@pytest.mark.parametrize("kind", [1, 3, 4, 5])
def test_marks_of_turns_are_tokens_whatever_the_file_calls_them(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int
) -> None:
    import gguf as package

    write = package.GGUFWriter.add_token_types
    monkeypatch.setattr(package.GGUFWriter, "add_token_types", lambda self, kinds: write(self, [3, kind, *kinds[2:]]))
    tokenizer = load.gguf_tokenizer(write_gguf(tmp_path / "model.gguf", tiny("llama")))
    assert tokenizer.backend_tokenizer.encode("<|im_start|>user", add_special_tokens=False).ids[0] == 1


def test_an_architecture_that_is_not_read_is_named(tiny: Tiny, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", tiny("llama"))
    path.write_bytes(path.read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0mamba", 1))
    with pytest.raises(ModelError, match=r"architecture 'mamba'; llama, qwen2"):
        check_model(str(path))


def test_weights_that_are_not_finite_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    import numpy as np

    broken = np.zeros((96, 64), np.float32)
    broken[3, 4] = np.nan
    path = write_gguf(tmp_path / "model.gguf", tiny("llama"), tensors={"blk.1.ffn_up.weight": broken})
    with pytest.raises(ModelError, match=r"not finite: blk\.1\.ffn_up\.weight holds 1 value"):
        load.read_gguf(path, "float32")


def test_every_token_that_ends_a_turn_ends_an_answer(tiny: Tiny, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", tiny("llama"), values={"tokenizer.ggml.eot_token_id": 0})
    assert load.end_tokens(load.read_gguf(path, "float32"), load.gguf_tokenizer(path)) == {0, 2}


def _with_splitting(folder: Path, place: Path, pre_tokenizer: Any, ignore_merges: bool = False) -> Path:
    """A copy of a folder whose tokenizer splits otherwise."""
    from tokenizers import Tokenizer

    shutil.copytree(folder, place)
    tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.save(str(place / "tokenizer.json"))
    if ignore_merges:
        values = json.loads((place / "tokenizer.json").read_text())
        values["model"]["ignore_merges"] = True
        (place / "tokenizer.json").write_text(json.dumps(values))
    return place


def _splits() -> dict[str, Any]:
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

    contractions = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
    rest = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    plain, whole = ByteLevel(add_prefix_space=False, use_regex=False), ByteLevel(add_prefix_space=False)

    def isolated(*patterns: str) -> Any:
        return Sequence([*(Split(Regex(pattern), behavior="isolated") for pattern in patterns), plain])

    llama3, qwen2 = contractions + r"|\p{N}{1,3}" + rest, contractions + r"|\p{N}" + rest
    digits = Sequence([Digits(individual_digits=True), whole])
    return {
        "gpt-2": whole,
        "smollm": digits,
        "starcoder": digits,
        "refact": digits,
        "llama-bpe": isolated(llama3),
        "smaug-bpe": isolated(llama3),
        "qwen2": isolated(qwen2),
        "stablelm2": isolated(qwen2),
        "deepseek-coder": isolated(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}"),
    }


@pytest.mark.parametrize("name", _splits())
def test_a_gguf_files_texts_are_split_as_it_says(tiny: Tiny, tmp_path: Path, name: str) -> None:
    folder = _with_splitting(tiny("llama"), tmp_path / "model", _splits()[name], name == "llama-bpe")
    path = write_gguf(tmp_path / "model.gguf", folder, pre=name)
    ours, theirs = load.gguf_tokenizer(path).backend_tokenizer, load.folder_tokenizer(folder).backend_tokenizer
    for text in TEXTS:
        assert ours.encode(text, add_special_tokens=False).ids == theirs.encode(text, add_special_tokens=False).ids
        pieces = [piece for piece, _ in ours.pre_tokenizer.pre_tokenize_str(text)]
        assert pieces == [piece for piece, _ in theirs.pre_tokenizer.pre_tokenize_str(text)]
    assert gguf.check(path).notices == ()


def test_a_gguf_file_without_a_pre_tokenizer_is_reported(tiny: Tiny, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", tiny("llama"), pre=None)
    (notice,) = gguf.check(path).notices
    assert "pre-tokenizer" in notice


@pytest.mark.model
def test_the_packages_own_file_gives_the_embedded_models_tokens(embedded: Any) -> None:
    from engine.models.hub import embedded as source

    named = load.gguf_tokenizer(source.gguf_file()).backend_tokenizer
    for text in TEXTS:
        assert named.encode(text, add_special_tokens=False).ids == embedded.encode_text(text)
