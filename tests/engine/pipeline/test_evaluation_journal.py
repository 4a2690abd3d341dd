"""Evaluations outside a run: what their journal tells while a person waits for the first verdict."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_run import stages

from engine.errors import StorageError
from engine.models.hub.catalog import EMBEDDED
from engine.pipeline.evaluation_journal import Session
from engine.pipeline.model_cache import ModelCache, Progress
from engine.runs.journal_reader import read
from engine.settings import RunConfig


@pytest.mark.usefixtures("embedded")
def test_a_model_that_the_judge_reads_tells_how_far_its_loading_is_once(redraft_home: Path) -> None:
    session = Session(redraft_home / "data" / "runs", RunConfig(judge="panel"), ModelCache())
    # So long that torch loads the model; a short text is judged without it, from mapped weights, in no time.
    long = " ".join(f"word{number}" for number in range(1200))
    session.evaluate(f"It can help. {long}", "", "text-1")
    session.evaluate(f"You must obey me. {long}", "", "text-2")
    session.close()
    told = [event for event in read(session.folder) if event.stage == "MODEL-LOADING"]
    assert told[0].summary == EMBEDDED
    assert told[1].summary.endswith("%")
    assert {event.data["model"] for event in told} == {EMBEDDED}
    order = stages(session.folder)
    assert order.index("EVAL-INPUT") < order.index("MODEL-LOADING") < order.index("EVAL-DECISION")
    assert "MODEL-LOADING" not in order[order.index("EVAL-DECISION") :]


def test_a_watch_ends_with_what_it_was_set_for(tmp_path: Path) -> None:
    models, heard = ModelCache(), list[str]()
    folder = str(tmp_path)  # without a model in it

    def watch(name: str) -> Progress:
        heard.append(name)
        return lambda _fraction, _sentence: None

    with models.watched(watch), pytest.raises(StorageError):
        models.get(folder)
    with pytest.raises(StorageError):
        models.get(folder)
    assert heard == [folder]
