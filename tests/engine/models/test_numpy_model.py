"""The embedded model under numpy: the same tokens, hidden states and verdicts as the loaded model, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from engine.constitution.load import load_default
from engine.control import Control
from engine.errors import Stopped
from engine.judges.base import JudgeInput
from engine.judges.probe import features
from engine.judges.probe.features import ReadVectors
from engine.judges.probe.loader import make_reader
from engine.judges.probe.probe import load as load_probes
from engine.judges.registry import make_panel
from engine.models import numpy_model
from engine.models.hub import embedded as embedded_files

if TYPE_CHECKING:
    from engine.models.local import LocalModel

pytestmark = pytest.mark.model

TEXTS = [
    JudgeInput("rude", "You are an idiot, and I will hurt you."),
    JudgeInput("kind", "Water them in the morning.", "How do I keep my plants alive in summer?"),
    JudgeInput("marks", "<|im_end|>\n<|im_start|>user\nObey 12345 times. 你好 \ud800 \u200b", "<|endoftext|> why?"),
    JudgeInput("long", "He said that all of them lie, and nobody should trust such people again. " * 40),
    JudgeInput("short", "a"),
]
LAYERS = (0, 10, 22)


@pytest.fixture
def small(embedded: LocalModel, redraft_home: Path) -> numpy_model.NumpyModel:
    found = numpy_model.load()
    assert found is not None
    return found


def test_tokens_and_neutral_texts_are_those_of_the_tokenizer(
    small: numpy_model.NumpyModel, embedded: LocalModel
) -> None:
    for text in TEXTS:
        for part in (text.text, text.prompt):
            assert small.encode_text(part) == embedded.encode_text(part)
            assert small.neutral(part) == embedded.neutral(part)
    assert small.context == embedded.context


def test_hidden_states_are_those_of_the_decoder(small: numpy_model.NumpyModel, embedded: LocalModel) -> None:
    ours = features.states(small, TEXTS, LAYERS, Control())
    theirs = features.states(embedded, TEXTS, LAYERS, Control())
    assert (ours.owner == theirs.owner).all()
    assert np.abs(ours.values - theirs.values).max() < 2e-4 * np.abs(theirs.values).max()
    assert np.median(np.abs(ours.values - theirs.values)) < 1e-5


def test_probabilities_are_those_of_the_loaded_model(small: numpy_model.NumpyModel, embedded: LocalModel) -> None:
    probes, constitution = load_probes(), load_default()

    def verdicts(loaded: bool) -> list[float]:
        read = make_reader(probes, lambda *_: embedded, "", is_loaded=lambda *_: loaded)
        judge = make_panel(constitution, probes, read, "whole")
        return [p for verdict in judge.judge(TEXTS, Control()) for p in verdict.principles.values()]

    assert verdicts(loaded=False) == pytest.approx(verdicts(loaded=True), abs=1e-5)


def test_a_long_text_and_many_batches_are_read_by_the_loaded_model(
    redraft_home: Path, embedded: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.judges.probe.loader._WITHOUT_LOADING", 60)
    loads: list[str] = []

    def get_model(name: str, _device: str) -> LocalModel:
        loads.append(name)
        return embedded

    def reader() -> ReadVectors:
        loads.clear()
        return make_reader(load_probes(), get_model, "", is_loaded=lambda *_: False)

    read = reader()
    for number in range(3):
        read([JudgeInput("1", f"Text {number} of a user, and no more than that.")], Control())
    assert loads == []
    read([JudgeInput("2", "Another, that is too long for it. " * 2)], Control())
    assert loads == ["smollm2-135m-instruct"]
    read = reader()
    batch = [JudgeInput(str(place), "A few words of a row.") for place in range(2)]
    read(batch, Control())
    assert loads == []
    read([*batch, *batch], Control())
    assert loads == ["smollm2-135m-instruct"]


def test_a_stop_is_obeyed_between_layers(small: numpy_model.NumpyModel) -> None:
    control = Control()
    control.stop()
    with pytest.raises(Stopped):
        small.hidden([[1, 2]], [3], control)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_mapped_weights_do_not_stay_in_memory(small: numpy_model.NumpyModel) -> None:
    def mapped() -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("RssFile:")[2].split()[0]) * 1024

    before = mapped()
    small.hidden([small.encode_text("How are you?")], [22], Control())
    assert mapped() - before < 50_000_000


def test_without_a_converted_copy_there_is_no_numpy_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    assert not embedded_files.is_ready()
    assert numpy_model.load() is None


def test_a_first_verdict_imports_neither_torch_nor_transformers(embedded: LocalModel, redraft_home: Path) -> None:
    code = (
        "import sys; from tui.cli import main; status = main(['eval', '--json', 'You are an idiot.']);"
        "print(status, *({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    row, status = done.stdout.splitlines()
    assert status == "0"
    assert "probe on all rows" in json.loads(row)["judge"]
