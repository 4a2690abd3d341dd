"""Loaded models as the rest of the engine uses them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.control import Control
from engine.errors import ModelError, RedraftError, StorageError
from engine.models.inference.requests import LanguageModel, Message, Request, Sampling
from engine.models.local import LocalModel, check_model, load_model
from engine.models.nn.lora_weights import Adapter, LoraPair
from engine.pipeline.model_cache import ModelCache
from engine.training import lora

FAMILIES = ("llama", "qwen2", "gemma", "phi", "gpt2")
HELLO = [Message("user", "Hello, what is the answer?")]
Tiny = Callable[..., Path]


@pytest.fixture
def load(redraft_home: Path, tiny: Tiny) -> Callable[..., LocalModel]:
    return lambda family="llama", **options: load_model(str(tiny(family)), device="cpu", **options)


def write(model: LanguageModel, count: int = 1, **sampling: Any) -> list[str]:
    prompt = model.render(HELLO)
    asked = [Request(str(i), prompt, Sampling(**{"max_tokens": 12, **sampling}), seed=i) for i in range(count)]
    done = sorted(model.generate(asked, Control()), key=lambda completion: int(completion.key))
    assert not any(completion.error for completion in done)
    return [completion.raw for completion in done]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_family_writes(load: Callable[..., LocalModel], family: str, dtype: str) -> None:
    model = load(family, dtype=dtype)
    assert (model.dtype, model.device) == (dtype, "cpu")
    assert len(write(model, 3, temperature=1.0)) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_answers_are_those_of_transformers(load: Callable[..., LocalModel], tiny: Tiny, family: str) -> None:
    from transformers import AutoModelForCausalLM

    model = load(family, dtype="float32")
    theirs = AutoModelForCausalLM.from_pretrained(tiny(family), dtype=torch.float32)
    ids = torch.tensor([model.encode(HELLO)])
    tokens = theirs.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :].tolist()
    assert write(model)[0] == model.decode(tokens)


def test_the_plain_template_stops_before_the_next_question(load: Callable[..., LocalModel]) -> None:
    model = load("gpt2")
    asked = model._stopping(Request("a", "x", Sampling(stop=("###",))))
    assert asked.sampling.stop == ("###", "\nQuestion:")
    assert model._stopping(asked) is asked
    chatting = load("llama")
    request = Request("a", "x")
    assert chatting._stopping(request) is request


def test_a_prompt_longer_than_the_context_is_that_requests_error(load: Callable[..., LocalModel]) -> None:
    model = load()
    long = model.render([Message("user", "why " * 1_000)])
    done = {c.key: c for c in model.generate([Request("long", long), Request("ok", model.render(HELLO))], Control())}
    assert str(model.context) in done["long"].error.replace(",", "")
    assert not done["ok"].error


def test_prompt_and_answer_tokens_join_to_the_chat(load: Callable[..., LocalModel]) -> None:
    for family in ("llama", "gpt2"):
        model = load(family)
        prompt, answer = model.encode_pair(HELLO, "It is what it is.")
        assert prompt == model.encode(HELLO)
        assert answer[-1] in model.codec.ends
        assert model.decode(answer).strip() == "It is what it is."


def test_tokens_are_counted_without_additions(load: Callable[..., LocalModel]) -> None:
    model = load()
    assert model.count_tokens("") == 0
    assert model.count_tokens("the question") == len(model.encode_text("the question"))


def test_hidden_states_are_those_of_transformers(load: Callable[..., LocalModel], tiny: Tiny) -> None:
    from transformers import AutoModelForCausalLM

    model = load(dtype="float32")
    theirs = AutoModelForCausalLM.from_pretrained(tiny("llama"), dtype=torch.float32)
    prompt, answer = model.encode_pair(HELLO, "It is what it is.")
    with torch.inference_mode():
        out = theirs(torch.tensor([prompt + answer]), output_hidden_states=True)
    states = model.hidden([prompt + answer], [1], Control(), pooling="mean", starts=[len(prompt)])
    torch.testing.assert_close(states[0, 0], out.hidden_states[1][0, len(prompt) :].mean(0), atol=1e-4, rtol=1e-4)


def test_a_lone_surrogate_does_not_stop_a_run(load: Callable[..., LocalModel]) -> None:
    assert load().encode([Message("user", "broken \ud800 text")])


def an_adapter(model: LocalModel, scale: float) -> Adapter:
    torch.manual_seed(0)
    return Adapter(
        {
            name: LoraPair(torch.randn(2, inner), torch.randn(out, 2), scale)
            for name, (out, inner) in model.decoder.adaptable().items()
        }
    )


def test_a_merged_adapter_changes_answers_identity_and_name_and_leaves_the_base_alone(
    load: Callable[..., LocalModel],
) -> None:
    base = load(dtype="float32")
    before = write(base)
    trained = base.with_adapter(an_adapter(base, 1.0), "trained")
    assert write(trained) != before
    assert write(base) == before
    assert (trained.name, base.name) == ("trained", base.folder.name if base.folder else "")
    assert trained.sha256 != base.sha256
    assert trained.sha256 != base.with_adapter(an_adapter(base, 0.5)).sha256


def test_an_adapter_of_nothing_changes_no_answer(load: Callable[..., LocalModel]) -> None:
    base = load(dtype="float32")
    assert write(base.with_adapter(an_adapter(base, 0.0))) == write(base)


def test_adapters_are_merged_one_at_a_time_and_only_into_their_model(load: Callable[..., LocalModel]) -> None:
    base = load()
    adapter = an_adapter(base, 1.0)
    with pytest.raises(ModelError, match="already"):
        base.with_adapter(adapter).with_adapter(adapter)
    with pytest.raises(ModelError, match="not for this model"):
        load("gpt2").with_adapter(adapter)


def test_the_identity_is_that_of_the_files(load: Callable[..., LocalModel], tiny: Tiny, tmp_path: Path) -> None:
    first = load().sha256
    copy = Path(shutil.copytree(tiny("llama"), tmp_path / "copy"))
    assert load_model(str(copy)).sha256 == first
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    assert load_model(str(copy)).sha256 != first


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_model_without_special_tokens_writes_and_its_answers_show_no_end(
    tiny: Tiny, redraft_home: Path, tmp_path: Path, family: str
) -> None:
    """Of llama the chat template names the token that ends a turn; of gpt2 nothing does."""
    folder = Path(shutil.copytree(tiny(family), tmp_path / "model"))
    for name in ("tokenizer_config.json", "config.json", "generation_config.json"):
        values = json.loads((folder / name).read_text())
        kept = {key: value for key, value in values.items() if key[:3] not in ("bos", "eos", "pad", "unk")}
        (folder / name).write_text(json.dumps(kept | {"eos_token_id": None} if name == "config.json" else kept))
    model = load_model(str(folder), device="cpu", dtype="float32")
    (done,) = model.generate([Request("a", model.render(HELLO), Sampling(max_tokens=3))], Control())
    assert done.tokens == 3
    _, answer = model.encode_pair(HELLO, "yes")
    assert (bool(model.codec.ends), answer[-1] in model.codec.ends) == ((True, True), (False, False))[family == "gpt2"]


def write_gguf(path: Path, folder: Path) -> None:
    """A llama GGUF file with the tiny model's sizes and tokenizer, and random weights."""
    import numpy as np
    from gguf import GGUFWriter

    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())["model"]
    words = sorted(tokenizer["vocab"], key=tokenizer["vocab"].__getitem__)
    hidden, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    file = GGUFWriter(path, "llama")
    file.add_name("tiny")
    file.add_context_length(256)
    file.add_embedding_length(hidden)
    file.add_block_count(layers)
    file.add_feed_forward_length(inner)
    file.add_head_count(heads)
    file.add_head_count_kv(kv)
    file.add_layer_norm_rms_eps(1e-6)
    file.add_rope_freq_base(10_000.0)
    file.add_rope_dimension_count(hidden // heads)
    file.add_vocab_size(len(words))
    file.add_tokenizer_model("gpt2")
    file.add_token_list(words)
    file.add_token_types([3 if word.startswith("<|") else 1 for word in words])
    file.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["merges"]])
    file.add_bos_token_id(0)
    file.add_eos_token_id(2)
    random = np.random.default_rng(0)
    shapes = {"token_embd.weight": (len(words), hidden), "output_norm.weight": (hidden,)}
    for layer in range(layers):
        key = f"blk.{layer}."
        shapes |= {key + "attn_norm.weight": (hidden,), key + "ffn_norm.weight": (hidden,)}
        shapes |= {key + "attn_q.weight": (hidden, hidden), key + "attn_output.weight": (hidden, hidden)}
        shapes |= {key + f"attn_{part}.weight": (hidden * kv // heads, hidden) for part in "kv"}
        shapes |= {key + f"ffn_{part}.weight": (inner, hidden) for part in ("gate", "up")}
        shapes |= {key + "ffn_down.weight": (hidden, inner)}
    for name, shape in shapes.items():
        file.add_tensor(name, random.normal(0, 0.2, shape).astype(np.float32))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def test_a_gguf_file_is_loaded(tiny: Tiny, tmp_path: Path, redraft_home: Path, capfd: Any) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path, tiny("llama"))
    capfd.readouterr()
    model = load_model(str(path), dtype="float32")
    assert capfd.readouterr() == ("", "")
    assert (model.name, model.folder, model.context) == ("tiny", None, 256)
    assert model.codec.ends == {2}
    assert model.sha256
    assert model.encode_text("the question") == load_model(str(tiny("llama"))).encode_text("the question")
    assert len(write(model, max_tokens=4)) == 1


def test_the_second_load_of_a_gguf_file_reads_a_converted_copy(
    tiny: Tiny, tmp_path: Path, redraft_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.models.hub import gguf, gguf_copy

    path = tmp_path / "tiny.gguf"
    write_gguf(path, tiny("llama"))
    told: list[str] = []
    first = load_model(str(path), dtype="float32", progress=lambda _, sentence: told.append(sentence))
    assert told[0].startswith("Loading tiny")
    assert any("Unpacking tiny" in sentence for sentence in told)

    def never(*_: Any) -> None:
        raise AssertionError("unpacked again")

    monkeypatch.setattr(gguf, "read_tensors", never)
    second = load_model(str(path), dtype="float32")
    assert write(second) == write(first)
    assert (second.sha256, second.folder, second.codec.ends) == (first.sha256, None, first.codec.ends)
    copy = gguf_copy.find(path, "float32")
    assert copy is not None
    (copy / "model.safetensors").write_bytes(b"")
    assert gguf_copy.find(path, "float32") is None
    path.touch()
    assert gguf_copy.find(path, "float32") is None


def test_a_cut_gguf_file_is_refused(tiny: Tiny, tmp_path: Path, redraft_home: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path, tiny("llama"))
    whole = path.read_bytes()
    for keep in (3, 30, 300, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:keep])
        with pytest.raises(ModelError) as caught:
            load_model(str(path), dtype="float32")
        assert str(path) in str(caught.value)


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(
    tiny: Tiny, redraft_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.models.hub import memory

    monkeypatch.setattr(memory, "available", lambda: 100_000)
    with pytest.raises(ModelError, match=r"needs .* of 0 MB free"):
        load_model(str(tiny("llama")))


def test_unknown_devices_and_formats_are_refused_with_those_there_are(tiny: Tiny, redraft_home: Path) -> None:
    with pytest.raises(ModelError, match="cpu"):
        load_model(str(tiny("llama")), device="abacus")
    with pytest.raises(ModelError, match="bfloat16"):
        load_model(str(tiny("llama")), dtype="float8")


def test_a_hub_model_without_a_network_says_what_to_do(
    redraft_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises((ModelError, StorageError), match=r"(?s)hub could not be reached.*smollm2-135m-instruct"):
        load_model("nobody-at-all/no-such-model")


def test_loading_tells_what_goes_on(tiny: Tiny, redraft_home: Path) -> None:
    told: list[str] = []
    load_model(str(tiny("llama")), progress=lambda _, sentence: told.append(sentence))
    assert told[-1].startswith("Loading tiny-llama")


@given(data=st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_config_holds_gives_a_model_or_a_clear_error(
    tiny: Tiny, redraft_home: Path, tmp_path: Path, data: st.DataObject
) -> None:
    config = json.loads((tiny("llama") / "config.json").read_text())
    key = data.draw(st.sampled_from(sorted(config)))
    junk = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers())
    rope = st.dictionaries(st.sampled_from(["rope_type", "rope_theta", "factor", "original"]), junk)
    config[key] = data.draw(junk | rope)
    place = tmp_path / "junk"
    if not place.exists():
        shutil.copytree(tiny("llama"), place)
    (place / "config.json").write_text(json.dumps(config))
    with contextlib.suppress(RedraftError):
        load_model(str(place), dtype="float32")


def test_a_copy_under_another_name_shares_the_weights(load: Callable[..., LocalModel]) -> None:
    model = load()
    renamed = dataclasses.replace(model, name="other")
    assert (renamed.name, renamed.decoder) == ("other", model.decoder)


def an_adapter_folder(folder: Path, base: LocalModel, named: str) -> Path:
    lora.save(an_adapter(base, 0.5), folder, base_model=named, family=base.config.family)
    return folder


def test_an_adapter_folder_is_its_base_with_the_adapter_merged(
    load: Callable[..., LocalModel], tiny: Tiny, tmp_path: Path
) -> None:
    base = load(dtype="float32")
    folder = an_adapter_folder(tmp_path / "run" / "adapter", base, str(tiny("llama")))
    check_model(str(folder))
    made = load_model(str(folder), dtype="float32")
    trained = base.with_adapter(an_adapter(base, 0.5))
    assert write(made) == write(trained) != write(base)
    assert (made.name, made.sha256, made.adapter) == ("run/adapter", trained.sha256, None)
    assert any("merged into" in notice for notice in made.notices)


def test_another_adapter_can_be_trained_and_merged_on_top_of_one(
    load: Callable[..., LocalModel], tiny: Tiny, tmp_path: Path
) -> None:
    base = load(dtype="float32")
    first = an_adapter_folder(tmp_path / "first", base, str(tiny("llama")))
    second = load_model(str(an_adapter_folder(tmp_path / "second", base, str(first))), dtype="float32")
    expected = load_model(str(first), dtype="float32").with_adapter(an_adapter(base, 0.5))
    assert write(second) == write(expected)
    assert len(second.built_in) == 2


def test_adapters_of_one_base_share_its_copy(load: Callable[..., LocalModel], tiny: Tiny, tmp_path: Path) -> None:
    base, models = load(dtype="float32"), ModelCache()
    one, other = (
        models.get(str(an_adapter_folder(tmp_path / name, base, str(tiny("llama")))), dtype="float32") for name in "ab"
    )
    embeddings = [model.decoder.embedding for model in (one, other, models.get(str(tiny("llama")), dtype="float32"))]
    assert len({tensor.data_ptr() for tensor in embeddings}) == 1


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("/nowhere/model", "base model of this adapter, /nowhere/model, is missing"),
        ("unheard-of", "base model of this adapter, unheard-of, is missing"),
        ("", "does not say which model it belongs to"),
        (".", "name each other"),
    ],
)
def test_a_missing_base_is_named(
    load: Callable[..., LocalModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str, says: str
) -> None:
    folder = an_adapter_folder(tmp_path / "adapter", load(), base)
    monkeypatch.chdir(folder)
    for use in (check_model, load_model):
        with pytest.raises(ModelError, match=says):
            use(str(folder))


def test_an_adapter_of_another_size_is_refused(load: Callable[..., LocalModel], tiny: Tiny, tmp_path: Path) -> None:
    larger = str(tiny("llama", intermediate_size=128))
    with pytest.raises(ModelError, match=r"changes model\.layers\.0\.mlp\.\w+ as a matrix of"):
        load_model(str(an_adapter_folder(tmp_path / "adapter", load(), larger)))


def test_an_adapter_of_pickles_is_refused_unread(load: Callable[..., LocalModel], tiny: Tiny, tmp_path: Path) -> None:
    folder = an_adapter_folder(tmp_path / "adapter", load(), str(tiny("llama")))
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ModelError, match="pickle"):
        check_model(str(folder))
