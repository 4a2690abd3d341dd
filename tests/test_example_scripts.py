"""The public API and examples/, executed on a tiny random model."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_run import LETTERS, constitution, tiny_config, tiny_files

import engine
import redraft
from engine.control import Control
from engine.errors import Stopped

EXAMPLES = Path(__file__).parent.parent / "examples"

pytestmark = pytest.mark.usefixtures("redraft_home")


def example(name: str) -> Callable[..., None]:
    main: Callable[..., None] = runpy.run_path(str(EXAMPLES / name))["main"]
    return main


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[..., Path]) -> Path:
    """A run that trained."""
    rules = tmp_path_factory.mktemp("inputs") / "letters.toml"
    rules.write_text(constitution(LETTERS))
    return engine.run(tiny_config(tiny, rules), tmp_path_factory.mktemp("runs") / "from-python")


def test_importing_the_api_loads_no_torch() -> None:
    code = "import redraft, sys; redraft.RunConfig, redraft.Verdict, redraft.run; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_api_has_the_projects_name() -> None:
    assert sorted(redraft.__all__) == sorted(engine.__all__)
    assert redraft.__version__ == engine.__version__
    assert all(getattr(redraft, name) is getattr(engine, name) for name in redraft.__all__)


def test_every_public_name_exists_and_is_documented() -> None:
    for name in engine.__all__:
        value = getattr(engine, name)
        assert value.__doc__, name
        assert name == "__version__" or name in (engine.__doc__ or ""), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = engine.nothing  # type: ignore[attr-defined]


def test_run_from_python(tmp_path: Path, tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    example("run_from_python.py")(folder=str(tmp_path / "run"), config=tiny_files(tmp_path, tiny))
    assert "preference pairs kept" in capsys.readouterr().out
    example("journal_to_pandas.py")(str(tmp_path / "run"))
    assert "RUN-COMPLETE" in capsys.readouterr().out
    assert (tmp_path / "run" / "report.json").exists()


def test_settings_of_the_example_are_accepted() -> None:
    config = runpy.run_path(str(EXAMPLES / "run_from_python.py"))["settings"]()
    assert config.seed == 1
    assert config.train.num_train_epochs == 2


def test_journal_to_pandas(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("journal_to_pandas.py")(str(finished))
    printed = capsys.readouterr().out
    assert "RUN-START" in printed
    assert "mean" in printed


def test_own_judge(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("own_judge.py")(str(finished), "2")
    assert "at most 2 words, 2 prompts" in capsys.readouterr().out


def test_own_constitution(capsys: pytest.CaptureFixture[str]) -> None:
    example("own_constitution.py")()
    printed = capsys.readouterr().out
    assert "score 1.0  We utilize synergy" in printed
    assert "score 0.0  We work together" in printed


def test_run_refuses_a_folder_that_contains_a_run(finished: Path, tmp_path: Path, tiny: Callable[..., Path]) -> None:
    with pytest.raises(engine.RedraftError, match="contains a run"):
        engine.run(tiny_files(tmp_path, tiny), finished)


def test_a_refused_run_leaves_no_folder(tmp_path: Path, redraft_home: Path, tiny: Callable[..., Path]) -> None:
    import dataclasses

    config = dataclasses.replace(tiny_files(tmp_path, tiny), generator=str(tmp_path / "no-model"))
    with pytest.raises(engine.RedraftError):
        engine.run(config)
    assert not list(redraft_home.glob("**/runs/*"))


def test_a_stopped_run_is_resumed_by_its_folder(tmp_path: Path, tiny: Callable[..., Path]) -> None:
    control, folder = Control(), tmp_path / "run"
    control.stop()
    with pytest.raises(Stopped):
        engine.run(tiny_files(tmp_path, tiny), folder, control=control)
    assert engine.resume(folder) == folder
    assert engine.read_journal(folder)[-1].stage == "RUN-COMPLETE"


def test_verdicts_come_in_the_order_of_the_texts() -> None:
    texts = ["You must quit today.", "Thank you.", "You must obey me."]
    verdicts = engine.judge(*texts, by="rules")
    assert [verdict.key for verdict in verdicts] == ["0", "1", "2"]
    assert not verdicts[1].flagged


@pytest.mark.parametrize(("texts", "words"), [(("",), "empty"), (("x", engine.JudgeInput("0", "y")), "same key")])
def test_texts_that_cannot_be_judged_are_refused(texts: tuple[Any, ...], words: str) -> None:
    with pytest.raises(engine.RedraftError, match=words):
        engine.judge(*texts, by="rules")


def test_compare_counts_pairs_without_a_verdict() -> None:
    base = [engine.Verdict(str(i), True, score=1.0) for i in range(12)]
    trained = [engine.Verdict(str(i), False, score=0.0) for i in range(11)] + [engine.Verdict("11", None)]
    result = engine.compare(base, trained)
    assert (result.n, result.excluded, result.difference) == (11, 1, -1.0)
    assert result.significant
