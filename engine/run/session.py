"""Evaluations outside a run: they go to a journal of their own, so that they are read like everything else."""

from __future__ import annotations

import time
from pathlib import Path

from engine.control import Control
from engine.journal.event import SUMMARY
from engine.journal.writer import JournalWriter
from engine.judge.verdict import Verdict
from engine.run.evaluate import evaluate_text
from engine.run.folder import write_run
from engine.run.judging import make_judge, needs_model
from engine.run.models import Models
from engine.run.prepare import constitution_of
from engine.run.record import Recorder
from engine.settings import RunConfig


def open_session(runs: Path, settings: RunConfig) -> Recorder:
    """A new session's journal.

    Raises:
        StorageError: the folder cannot be written.
    """
    stamp = time.strftime("%m%d-%H%M%S")
    folder = runs / f"session-{stamp}"
    number = 2
    while folder.exists():
        folder = runs / f"session-{stamp}-{number}"
        number += 1
    journal = JournalWriter(folder, texts=settings.keep_texts)
    write_run(folder, settings, {"kind": "session"})
    return Recorder(journal, lambda _event: None)


def evaluate(settings: RunConfig, models: Models, log: Recorder, text: str, prompt: str, key: str) -> Verdict:
    """Judge one text with the settings' judge, loading its model where it asks one."""
    constitution = constitution_of(settings)
    model = None
    if needs_model(settings.judge):
        name = settings.critic or settings.generator
        if not models.holds(name, settings.device, settings.dtype):
            log.event("NOTICE", SUMMARY, f"loading {name} …")
        model = models.get(name, settings.device, settings.dtype)
    judge = make_judge(settings.judge, constitution, model, models, settings.device)
    return evaluate_text(text, prompt, key, judge, constitution.most, log, Control())
