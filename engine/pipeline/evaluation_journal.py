"""Evaluations outside a run: they have a journal of their own, so that readers work as for a run."""

from __future__ import annotations

from pathlib import Path

from engine.control import Control
from engine.events.run import JudgeAccuracyData, JudgesChosen
from engine.judges.base import Judge, Verdict
from engine.judges.registry import JudgeParts, check_coverage, check_judge, judge_server, make_judge, needs_model
from engine.pipeline.evaluate import evaluate_text
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.prepare import load_constitution
from engine.pipeline.recorder import Recorder
from engine.runs.folder import new_folder, write_run
from engine.runs.journal_writer import JournalWriter
from engine.settings import RunConfig


class Session:
    """Evaluations outside a run, with the judge of the settings. Not thread-safe.

    Args:
        runs: the folder in which the session's folder is created.
        settings: which judge, generator and constitution.
        models: models that are loaded already.

    Raises:
        InputError: the settings cannot be used.
        StorageError: the folder cannot be written.
    """

    def __init__(self, runs: Path, settings: RunConfig, models: ModelCache) -> None:
        check_judge(settings)
        self._settings = settings
        self._models = models
        self._constitution = load_constitution(settings)
        check_coverage(settings.judge, self._constitution)
        self._judge: Judge | None = None
        self._recorder = Recorder(_journal(runs, settings), lambda _record: None)

    @property
    def folder(self) -> Path:
        return self._recorder.journal.folder

    def evaluate(self, text: str, prompt: str, key: str) -> Verdict:
        """Judge one text.

        Raises:
            InputError: the text is empty or too long.
            ModelError: the judge's model cannot be loaded.
            EndpointError: the judge's server failed.
        """
        with self._models.watched(self._recorder.loading):
            if self._judge is None:
                self._judge = self._made()
            return evaluate_text(
                text, prompt, key, self._judge, self._constitution.max_score, self._recorder, Control()
            )

    def failed(self, error: BaseException) -> None:
        """Log that a text could not be judged."""
        self._recorder.failed(error)

    def close(self) -> None:
        self._recorder.journal.close()

    def _made(self) -> Judge:
        settings, model = self._settings, None
        if needs_model(settings.judge):
            name = settings.critic or settings.generator
            model = self._models.get(name, settings.device, settings.dtype, settings.quantization)
        parts = JudgeParts(
            self._constitution,
            model,
            self._models.get,
            settings.device,
            judge_server(settings),
            is_loaded=self._models.holds,
        )
        judge = make_judge(settings.judge, parts)
        known = judge.accuracy
        shown = JudgeAccuracyData.from_data(known.to_data())
        self._recorder.write(JudgesChosen(summary=f"texts by {known.name}", shown=shown))
        return judge


def _journal(runs: Path, settings: RunConfig) -> JournalWriter:
    folder = new_folder(runs, "session")
    journal = JournalWriter(folder, texts=settings.keep_texts)
    write_run(folder, settings, {"kind": "session"})
    return journal
