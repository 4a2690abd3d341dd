"""What a model's name means, and what the catalog and the profiles say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import ModelError, RedraftError
from engine.models.hub import catalog

PUBLISHED = {
    "smollm2-135m-instruct": 134_515_008,
    "smollm2-360m-instruct": 361_821_120,
    "qwen2-0.5b-instruct": 494_032_768,
    "tinyllama-1.1b-chat": 1_100_048_384,
    "qwen2-1.5b-instruct": 1_543_714_304,
    "smollm2-1.7b-instruct": 1_711_376_384,
    "phi-2": 2_779_683_840,
    "gpt2": 124_439_808,
    "gpt2-xl": 1_557_611_200,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "smollm3-3b": 3_075_098_624,
    "gemma-3-270m-it": 268_098_176,
    "gemma-3-1b-it": 999_885_952,
    "llama-3.2-1b-instruct": 1_235_814_400,
}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_parameter_counts_follow_from_the_sizes_and_are_those_published(name: str, parameters: int) -> None:
    entry = catalog.find(name)
    assert entry is not None
    assert entry.parameters == parameters


def test_names_and_repositories_are_unique() -> None:
    assert len({e.name for e in catalog.CATALOG}) == len(catalog.CATALOG)
    assert len({e.repo for e in catalog.CATALOG}) == len(catalog.CATALOG)


def test_every_profile_names_models_of_the_catalogue() -> None:
    for profile in catalog.PROFILES:
        assert all(catalog.find(name) for name in profile.models)
    assert [p.name for p in catalog.PROFILES] == ["embedded", "single", "dual", "conservative-dual"]
    assert catalog.profile("embedded").models == (catalog.EMBEDDED,)
    assert catalog.profile("single").models == (catalog.RECOMMENDED,)
    assert len(catalog.profile("dual").models) == 2


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(ModelError, match="embedded, single, dual, conservative-dual"):
        catalog.profile("triple")


def test_the_embedded_model_is_found_by_name_and_by_hub_id() -> None:
    for name in ("smollm2-135m-instruct", "SmolLM2-135M-Instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"):
        assert catalog.resolve(name).kind == "embedded"


def test_a_hub_id_may_name_a_revision() -> None:
    source = catalog.resolve("someone/some-model@v1.0")
    assert (source.kind, source.repo, source.revision) == ("hub", "someone/some-model", "v1.0")


def test_a_folder_and_a_gguf_file_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    monkeypatch.chdir(tmp_path)
    folder = catalog.resolve("models/mine")
    assert (folder.kind, folder.name) == ("folder", "mine")
    assert catalog.resolve(str(tmp_path / "mine.gguf")).kind == "gguf"


def test_a_misspelt_name_gives_the_closest_ones_and_how_to_list_them() -> None:
    with pytest.raises(ModelError, match=r"qwen2-1\.5b-instruct.*`redraft models`"):
        catalog.resolve("qwen2-1.5-instruct")


@pytest.mark.parametrize(
    "name",
    ["", "   ", "no-such-model", "./no/such/folder", "../x", "a/b/c", "x.gguf", "a\0b", "x" * 5_000, "~~/y", "é/è"],
)
def test_what_is_no_model_is_refused_with_a_next_step(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        catalog.resolve(name)
    assert caught.value.next_step
    assert "\0" not in str(caught.value)


def test_the_catalogue_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, engine.models.hub.catalog, engine.models.inference.requests\n"
        "import engine.models.hub.memory, engine.models.hub.embedded\n"
        "sys.exit(bool({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        "https://huggingface.co/Qwen/Qwen2-0.5B",
        "hf.co/Qwen/Qwen2-0.5B",
        "hf:Qwen/Qwen2-0.5B",
        "hf://Qwen/Qwen2-0.5B",
    ],
)
def test_the_address_of_a_model_page_is_answered_with_the_hub_id(name: str) -> None:
    with pytest.raises(ModelError, match=r"Name Qwen/Qwen2-0\.5B\."):
        catalog.resolve(name)


@pytest.mark.parametrize("address", ["http://localhost/v1", "https://api.example.com/v1", "http://127.0.0.1:8000/v1"])
def test_the_address_of_a_server_is_no_model(address: str) -> None:
    with pytest.raises(ModelError, match="address of a server") as raised:
        catalog.resolve(address)
    assert "--endpoint URL" in raised.value.next_step


def test_a_folder_is_taken_before_the_hub_model_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.models.local import check_model

    monkeypatch.chdir(tmp_path)
    assert catalog.resolve("Qwen/Qwen3-0.6B").kind == "hub"
    for name in ("Qwen/Qwen3-0.6B", "some/model"):
        Path(name).mkdir(parents=True)
        assert catalog.resolve(name).kind == "folder"
        with pytest.raises(RedraftError, match=f"no model in this folder, which is taken before a model {name}"):
            check_model(name, device="cpu", dtype="float32")
    assert catalog.resolve("gpt2").kind == "hub"


def test_a_revision_may_follow_a_name_of_the_catalog() -> None:
    source = catalog.resolve("gpt2@e7da7f2")
    assert (source.kind, source.repo, source.revision) == ("hub", "openai-community/gpt2", "e7da7f2")


def test_a_gguf_file_of_the_hub_is_to_be_downloaded_first() -> None:
    with pytest.raises(ModelError, match=r"hf download a/b-GGUF x/q4\.gguf --local-dir"):
        catalog.resolve("a/b-GGUF/x/q4.gguf")
