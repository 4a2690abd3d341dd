"""Faults inside a stage: memory that runs out, checkpoints and journals that are damaged, clocks that are set wrong."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_run import break_stage, last, stages, stopping_at, tiny_files

from engine.control import Control
from engine.errors import InputError, InputsChanged, ModelError, Stopped, StorageError
from engine.events.codec import decode, encode
from engine.judges.base import JudgeInput, Verdict
from engine.judges.rules.judge import RulesJudge
from engine.models.hub import memory_estimate
from engine.pipeline.runner import perform
from engine.runs.journal_reader import JOURNAL, JournalReader, read
from engine.runs.journal_writer import JournalWriter
from engine.runs.store import find_run, inspect, list_runs
from engine.settings import RunConfig
from engine.training.config import TrainConfig

OUT = "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"


@pytest.fixture
def config(tmp_path: Path, tiny: Callable[..., Path], redraft_home: Path) -> RunConfig:
    made = tiny_files(tmp_path, tiny)
    return dataclasses.replace(
        made, candidates=8, train=TrainConfig.sft(num_train_epochs=2, train_batch_size=1, save_steps=1)
    )


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"train": TrainConfig.sft(target_modules=("nosuch_proj",))}, InputError),
        ({"generator": ""}, ModelError),
    ],
)
def test_what_the_model_lacks_is_refused_before_the_first_stage(
    config: RunConfig, tmp_path: Path, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        perform(dataclasses.replace(config, **changes), tmp_path / "run", Control())
    assert "nosuch_proj" in str(caught.value) or "no model" in str(caught.value).lower()
    assert not (tmp_path / "run").exists() or "STAGE-START" not in stages(tmp_path / "run")


def scarce_judging(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Judges have memory for so many texts at a time. Gives the list of how many each was asked for."""
    asked: list[int] = []
    judge = RulesJudge.judge

    def judging(self: RulesJudge, texts: Sequence[JudgeInput], control: Control) -> Iterator[Verdict]:
        asked.append(len(texts))
        for number, verdict in enumerate(judge(self, texts, control)):
            if number >= most:
                raise RuntimeError(OUT)
            yield verdict

    monkeypatch.setattr(RulesJudge, "judge", judging)
    return asked


def test_where_memory_runs_out_while_judging_fewer_texts_are_judged_at_a_time(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = perform(config, tmp_path / "usual", Control())
    asked = scarce_judging(monkeypatch, 2)
    scarce = perform(config, tmp_path / "scarce", Control())
    assert max(asked) > 2
    assert any("Memory ran out; continuing with" in event.summary for event in read(scarce))
    verdicts = [
        {e.item: e.data["flagged"] for e in read(folder) if e.stage == "INITIAL-EVALUATION"}
        for folder in (usual, scarce)
    ]
    assert verdicts[0] == verdicts[1]
    assert stages(scarce).count("INITIAL-EVALUATION") == 3
    assert stages(scarce)[-1] == "RUN-COMPLETE"


@pytest.mark.parametrize("stage", ["verdict", "candidate verdict", "revision verdict"])
def test_where_no_text_can_be_judged_the_stage_fails_with_the_budgets_numbers_and_the_run_can_be_resumed(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    folder = tmp_path / "run"
    before = {"verdict": b"INITIAL-GENERATION", "candidate verdict": b"REVISION-CANDIDATE"}.get(stage)
    if before is None:
        control = stopping_at(folder, b"CANDIDATE-EVALUATION")
    else:
        control = stopping_at(folder, before)
    with pytest.raises(Stopped):
        perform(config, folder, control)
    with monkeypatch.context() as patch:
        scarce_judging(patch, 0)
        with pytest.raises(ModelError, match=r"memory for .*verdict.*needs about [\d,]+ MB, and [\d,]+ MB are free"):
            perform(config, folder, Control())
    assert stages(folder)[-1] == "ERROR"
    perform(config, folder, Control())
    assert stages(folder)[-1] == "RUN-COMPLETE"
    assert stages(folder).count("INITIAL-EVALUATION") == 3


def scarce_training(monkeypatch: pytest.MonkeyPatch, most: int, after: int = 0) -> list[int]:
    """Training has memory for micro-batches of at most `most` tokens once `after` steps are done."""
    from engine.training import data as rows

    asked: list[int] = []
    split = rows.split

    def splitting(some: Sequence[Any], micro_tokens: int) -> Any:
        asked.append(micro_tokens)
        if micro_tokens > most and len(asked) > after:
            raise RuntimeError(OUT)
        return split(some, micro_tokens)

    monkeypatch.setattr(rows, "split", splitting)
    return asked


def losses(folder: Path) -> dict[int, float]:
    """Step -> loss; of a step that was done again, the last."""
    events = [e for e in read(folder) if e.stage.startswith("EPOCH-") and "loss" in e.data and "step" in e.data]
    return {e.data["step"]: e.data["loss"] for e in events}


def test_where_memory_runs_out_while_training_it_goes_on_from_its_checkpoint_with_smaller_batches(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = perform(config, tmp_path / "usual", Control())
    asked = scarce_training(monkeypatch, 256, after=2)
    scarce = perform(config, tmp_path / "scarce", Control())
    assert asked[:6] == [1024, 1024, 1024, 512, 256, 256][: len(asked[:6])]
    assert any("training continues with 256 tokens" in event.summary for event in read(scarce))
    assert stages(scarce)[-1] == "RUN-COMPLETE"
    assert last(scarce, "TRAIN-COMPLETE").data["resumed_from"] == 2, "finished steps are not done again"
    assert losses(scarce) == pytest.approx(losses(usual), abs=1e-6)


def test_where_not_one_row_can_be_trained_on_the_stage_fails_with_the_budgets_numbers_and_can_be_resumed(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        scarce_training(patch, -1)
        with pytest.raises(ModelError, match=r"memory for training: it needs about [\d,]+ MB, and [\d,]+ MB are free"):
            perform(config, folder, Control())
    assert stages(folder)[-1] == "ERROR"
    assert "traceback" in last(folder, "ERROR").raw
    perform(config, folder, Control())
    assert stages(folder)[-1] == "RUN-COMPLETE"
    assert stages(folder).count("INITIAL-GENERATION") == 3


def test_training_that_cannot_fit_is_refused_before_it_begins_with_the_budgets_numbers(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(
            memory_estimate, "train_lora", lambda *_, **__: memory_estimate.MemoryEstimate(0, training=9 * 10**15)
        )
        with pytest.raises(
            ModelError, match=r"Training does not fit into memory: it needs 9000000.0 GB of [\d.]+ GB free"
        ):
            perform(config, folder, Control())
    assert "TRAIN-START" not in stages(folder)
    perform(config, folder, Control())
    assert stages(folder)[-1] == "RUN-COMPLETE"


def test_training_for_which_memory_is_short_begins_with_smaller_batches_and_learns_the_same(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, train_batch_size=2))
    usual = perform(config, tmp_path / "usual", Control())
    asked: list[int] = []

    def need(_shape: object, _dtype: str, tokens: int, *_: object, **__: object) -> memory_estimate.MemoryEstimate:
        asked.append(tokens)
        return memory_estimate.MemoryEstimate(0, training=9 * 10**15 if tokens > min(asked[0] - 1, 600) else 1)

    monkeypatch.setattr(memory_estimate, "train_lora", need)
    short = perform(config, tmp_path / "short", Control())
    assert any("Memory is short; training with" in event.summary for event in read(short))
    assert last(short, "TRAIN-START").data["config"]["micro_batch_tokens"] < 1024
    assert losses(short) == pytest.approx(losses(usual), abs=1e-6)


@pytest.mark.parametrize("harm", ["cut", "flipped", "gone", "both"])
def test_a_run_with_a_damaged_checkpoint_goes_on_from_the_one_before_and_says_so(
    config: RunConfig, tmp_path: Path, harm: str
) -> None:
    usual = perform(config, tmp_path / "usual", Control())
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        perform(config, folder, stopping_at(folder, b"EPOCH-2-BATCH-1"))
    places = sorted((folder / "checkpoints").glob("step-*"))
    assert len(places) == 2
    for place in places if harm == "both" else places[-1:]:
        file = place / "state.safetensors"
        data = bytearray(file.read_bytes())
        if harm == "cut":
            file.write_bytes(data[: len(data) // 2])
        elif harm == "gone":
            shutil.rmtree(place)
        else:
            data[len(data) // 2] ^= 4
            file.write_bytes(data)
    perform(config, folder, Control())
    assert stages(folder)[-1] == "RUN-COMPLETE"
    notices = [event.summary for event in read(folder) if event.stage == "NOTICE"]
    assert any("checkpoint is damaged" in notice for notice in notices) is (harm != "gone")
    assert losses(folder) == pytest.approx(losses(usual), abs=1e-6)


def test_a_damaged_journal_is_told_and_what_was_lost_is_done_again(config: RunConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        perform(config, folder, stopping_at(folder, b"REVISION-CANDIDATE"))
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if b'"stage":"INITIAL-GENERATION"' in line)
    lines[place] = lines[place].replace(b"INITIAL", b"INITIAX")
    foreign = next(n for n, line in enumerate(lines) if b'"stage":"CRITIQUE-GENERATION"' in line)
    event = decode(lines[foreign])
    lines[foreign] = encode(dataclasses.replace(event, data={}))  # whole, but not what we write
    (folder / JOURNAL).write_bytes(b"".join(lines) + b'{"v":1,"seq":99')
    perform(config, folder, Control())
    said = " ".join(event.summary for event in read(folder) if event.stage == "NOTICE")
    assert "bytes of a record that was cut off were moved to journal.torn-" in said
    assert f"damaged in 1 place, first at byte {sum(map(len, lines[:place]))}: checksum" in said
    assert "1 of its records could not be used" in said
    assert stages(folder).count("INITIAL-GENERATION") == 3  # two were left, one was done again
    assert stages(folder)[-1] == "RUN-COMPLETE"


def newer(line: bytes) -> bytes:
    """The same record in a version of the format that is not known yet."""
    import zlib

    head = line.rstrip(b"\n")[: -len(b',"crc":"00000000"}')].replace(b'{"v":1,', b'{"v":2,', 1)
    return head + b',"crc":"%08x"}\n' % zlib.crc32(head)


def test_a_journal_of_a_newer_version_is_told_and_never_written_to(tmp_path: Path, redraft_home: Path) -> None:
    folder = tmp_path / "run"
    with JournalWriter(folder) as journal:
        journal.append("RUN-START", 1, "begins")
        journal.append("NOTICE", 1, "x")
    path = folder / JOURNAL
    path.write_bytes(b"".join(map(newer, path.read_bytes().splitlines(keepends=True))) + b"torn")
    before = path.read_bytes()
    reader = JournalReader(folder)
    assert reader.poll() == []
    assert all("version '2' of the journal is not known" in damage.reason for damage in reader.damage)
    assert inspect(folder).note == "the journal was written by a newer version of Redraft"
    with pytest.raises(StorageError, match="newer version"):
        JournalWriter(folder)
    assert path.read_bytes() == before
    assert [p.name for p in folder.glob("journal.torn-*")] == []


def test_a_clock_that_jumps_neither_loses_records_nor_their_order(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, jumps = time.time, iter([0.0, 7e8, -7e8, -1e10, 1e12, 3.0] * 10_000)
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    folder = perform(config, tmp_path / "run", Control())
    monkeypatch.undo()
    reader = JournalReader(folder)
    events = reader.poll()
    assert reader.damage == []
    assert [event.seq for event in events] == list(range(len(events)))
    assert events[-1].stage == "RUN-COMPLETE"
    assert min(event.time for event in events) >= 0
    for event in events:
        for name in ("seconds", "share"):
            value = event.data.get(name)
            assert value is None or 0 <= value < 600, (event.stage, name)
    from engine.runs.state import RunState

    state = RunState()
    for number, event in enumerate(events[: stages(folder).index("TRAIN-COMPLETE")]):
        state.apply(event, number)
        assert 0 <= state.progress.seconds < 600 or "seconds" not in event.data


def test_a_run_from_the_future_is_not_the_last_one_for_years(
    redraft_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = redraft_home / "data" / "runs"
    for name, ahead in (("past", -9e8), ("wrong", 9e8), ("now", 0.0)):
        with monkeypatch.context() as patch:
            now = time.time() + ahead
            patch.setattr(time, "time", lambda now=now: now)
            with JournalWriter(runs / name) as journal:
                journal.append("RUN-START", 1, "begins")
    assert [run.id for run in list_runs()] == ["now", "past", "wrong"]
    assert find_run("last").name == "now"


def test_a_text_whose_judging_fails_in_an_unforeseen_way_ends_neither_run_nor_thread(
    config: RunConfig, redraft_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.worker import Evaluate, StartRun, Worker, WorkerStatus

    judge = RulesJudge.judge

    def judging(self: RulesJudge, texts: Sequence[JudgeInput], control: Control) -> Iterator[Verdict]:
        if any(text.text == "XYZZY" for text in texts):
            raise ZeroDivisionError("XYZZY")
        return judge(self, texts, control)

    monkeypatch.setattr(RulesJudge, "judge", judging)
    worker = Worker(settings=dataclasses.replace(config, n_train=3))
    worker.start()

    def until(met: Callable[[], object]) -> None:
        end = time.monotonic() + 120
        while not met():
            assert time.monotonic() < end, worker.state
            time.sleep(0.02)

    worker.send(Evaluate("XYZZY"))
    until(lambda: worker.state.folder)
    session = worker.state.folder
    assert session is not None
    until(lambda: "NOTICE" in stages(session))
    notice = last(session, "NOTICE")
    assert notice.summary == "Redraft failed with ZeroDivisionError; the traceback is in the journal."
    assert "ZeroDivisionError" in notice.raw["traceback"]
    worker.send(StartRun(config))
    until(lambda: worker.state.folder != session)
    run = worker.state.folder
    assert run is not None
    until(lambda: "INITIAL-GENERATION" in stages(run))
    worker.send(Evaluate("XYZZY"))
    until(lambda: worker.state.status is WorkerStatus.IDLE)
    assert stages(run)[-1] in {"RUN-COMPLETE", "NOTICE"}
    assert "RUN-COMPLETE" in stages(run)
    assert worker.shutdown(30)


def test_a_stage_that_raises_leaves_its_traceback_in_the_journal_and_a_sentence_for_the_person(
    config: RunConfig, redraft_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.pipeline.critique import critique
    from engine.worker import ResumeRun, StartRun, Worker, WorkerStatus

    with monkeypatch.context() as patch:
        break_stage(patch, critique, ZeroDivisionError("a prompt: XYZZY"))
        worker = Worker()
        worker.start()
        worker.send(StartRun(config))
        end = time.monotonic() + 120
        while not worker.state.error:
            assert time.monotonic() < end
            time.sleep(0.02)
    folder = worker.state.folder
    assert folder is not None
    assert worker.state.error == "Redraft failed with ZeroDivisionError; the traceback is in the journal."
    error = last(folder, "ERROR")
    assert "in broken" in error.raw["traceback"]
    assert "XYZZY" not in error.summary
    assert inspect(folder).state == "stopped"
    worker.send(ResumeRun(folder))
    while "RUN-COMPLETE" not in stages(folder):
        assert time.monotonic() < end, worker.state
        time.sleep(0.05)
    assert worker.state.status in {WorkerStatus.RUNNING, WorkerStatus.IDLE}
    assert worker.shutdown(30)


def test_the_worker_says_which_run_was_refused_since_something_changed_and_goes_on_where_that_is_wanted(
    config: RunConfig, tmp_path: Path
) -> None:
    from engine.worker import ResumeRun, Worker

    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        perform(config, folder, stopping_at(folder, b"CRITIQUE"))
    Path(config.train_prompts).write_text("What is one?\nWhat is four?\nWhat is three?\n")
    with pytest.raises(InputsChanged, match="training prompts"):
        perform(config, folder, Control())
    worker = Worker()
    worker.start()
    worker.send(ResumeRun(folder))
    end = time.monotonic() + 120
    while worker.state.changed is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert worker.state.changed == folder
    assert "the training prompts" in worker.state.error
    worker.send(ResumeRun(folder, force=True))
    while "RUN-COMPLETE" not in stages(folder):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert worker.state.changed is None
    assert last(folder, "RUN-RESUMED").data["changed"] == ["train_prompts"]
    assert json.dumps(last(folder, "RUN-COMPLETE").data)
    assert worker.shutdown(30)


def test_the_command_line_refuses_a_changed_run_and_goes_on_where_that_is_wanted(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tui.cli import main

    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        perform(config, folder, stopping_at(folder, b"CRITIQUE"))
    path = folder / "run.json"
    record = json.loads(path.read_text())
    record["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(record))
    Path(config.constitution).write_text(Path(config.constitution).read_text() + "# another comment\n")
    before = (folder / JOURNAL).read_bytes()
    assert main(["resume", str(folder), "--json"]) == 2
    told = capsys.readouterr()
    assert json.loads(told.out)["error"]["type"] == "InputsChanged"
    assert "the constitution" in told.err
    assert "torch 1.0 →" in told.err
    assert "--force" in told.err
    assert not told.err.startswith("run "), "what is refused is not said to begin"
    assert (folder / JOURNAL).read_bytes() == before
    assert main(["resume", str(folder), "--force"]) == 0
    assert last(folder, "RUN-RESUMED").data["changed"] == ["constitution", "torch"]
    assert stages(folder)[-1] == "RUN-COMPLETE"
