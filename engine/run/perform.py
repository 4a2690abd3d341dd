"""One run from its first stage to its report: the stages in order, each of which does what is not done yet.

A `Run` belongs to the thread that performs it. It writes events and files; nobody is called back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.control import Control
from engine.errors import InputError, Stopped
from engine.journal.event import ALL, SUMMARY
from engine.journal.reader import JOURNAL, read
from engine.journal.writer import JournalWriter
from engine.judge.verdict import Verdict
from engine.run import compare, prepare, report, revise, train
from engine.run.context import Context
from engine.run.evaluate import evaluate_text
from engine.run.folder import RUN, read_run, write_run
from engine.run.judging import make_judges, needs_model
from engine.run.models import Models
from engine.run.record import Recorder
from engine.run.state import RunState
from engine.settings import RunConfig

if TYPE_CHECKING:
    from engine.models.local import LocalModel


class Run:
    """A new run, or one that goes on where its journal ends.

    Args:
        config: what to do.
        folder: where everything goes; a journal in it is gone on with.
        control: how the run is paused and stopped.
        models: what is loaded already.

    Raises:
        InputError: a setting or a file cannot be used; nothing is written then.
    """

    def __init__(self, config: RunConfig, folder: Path, control: Control, models: Models) -> None:
        self._config = config
        self._folder = folder
        self._control = control
        self._models = models
        self._constitution = prepare.constitution_of(config)
        self._prompts = prepare.prompts_of(config)
        needs_model(config.judge)
        self._state = RunState()
        self._record: Recorder | None = None
        self._context: Context | None = None

    @property
    def ready(self) -> bool:
        """Whether texts can be judged now: models are loaded."""
        return self._context is not None

    def perform(self) -> None:
        """Do the whole run.

        Raises:
            Stopped: it was stopped; what is finished is in the journal, and performing it again goes on there.
            RedraftError: something failed that a person can mend; the journal says what.
        """
        began = time.monotonic()
        resumed = (self._folder / JOURNAL).exists()
        if resumed:
            if not self._config.keep_texts:
                raise InputError(
                    "this run keeps no texts, so there is nothing to go on with.",
                    where=str(self._folder),
                    next_step="Start it anew.",
                )
            for event in read(self._folder):
                self._state.apply(event)
            if self._state.complete:
                return
        with JournalWriter(self._folder, texts=self._config.keep_texts) as journal:
            record = self._record = Recorder(journal, self._state.apply)
            try:
                self._begin(record, resumed)
                self._stages(began)
            except Stopped:
                record.event("RUN-STOPPED", SUMMARY, "stopped; what is finished is kept and can be resumed", sync=True)
                raise
            except BaseException as error:
                record.error(error)
                raise
            finally:
                self._context = self._record = None

    def evaluate(self, text: str, prompt: str, key: str) -> Verdict:
        """Judge a text in the middle of the run; call it only from the run's own thread, while `ready`.

        Raises:
            InputError: the text is empty or too long.
        """
        context = self._context
        assert context is not None
        # A control of its own: a stop of the run must not cut a verdict that somebody waits for in half.
        return evaluate_text(
            text, prompt, key, context.judges.shown, self._constitution.most, context.record, Control()
        )

    def notice(self, sentence: str) -> None:
        """Write a notice into the run's journal, where it is open."""
        if self._record is not None:
            self._record.notice(sentence)

    def _begin(self, record: Recorder, resumed: bool) -> None:
        hashes = prepare.hashes(self._constitution, self._prompts)
        facts = {"hashes": hashes, "versions": prepare.versions(), "machine": prepare.machine()}
        if resumed:
            changed = _changed(read_run(self._folder), facts) if (self._folder / RUN).exists() else []
            record.event(
                "RUN-RESUMED",
                SUMMARY,
                f"goes on after {record.journal.next_seq} events"
                + (f"; changed: {', '.join(changed)}" if changed else ""),
                data={"reused": record.journal.next_seq, "changed": changed},
                sync=True,
            )
            return
        write_run(self._folder, self._config, {"kind": "run", **facts})
        config = self._config
        record.event(
            "RUN-START",
            SUMMARY,
            f"{config.preset} · {config.generator} · {self._constitution.name} · "
            f"{len(self._prompts.train)} to train on, {len(self._prompts.heldout)} held out, "
            f"{len(self._prompts.benign)} benign",
            data={"config": read_run(self._folder)["config"], **facts},
            sync=True,
        )

    def _stages(self, began: float) -> None:
        context = self._context = self._load()
        revise.draft(context)
        revise.judge_drafts(context)
        revise.critique(context)
        revise.revise(context)
        revise.judge_revisions(context)
        pairs = revise.pair(context)
        kept = [pair for pair in pairs if pair.kept]
        if kept:
            compare.answer(context, "base", context.generator)
            adapter = train.train(context, kept)
            compare.answer(context, "trained", train.trained_model(context, adapter))
            compare.finish(context)
        else:
            context.record.notice("No pair was kept, so there is nothing to learn from and nothing to compare.")
        report.write(context, pairs, time.monotonic() - began)

    def _load(self) -> Context:
        config, record = self._config, self._record
        assert record is not None
        generator = self._get(config.generator)
        critic = generator if not config.critic else self._get(config.critic)
        return Context(
            config=config,
            folder=self._folder,
            constitution=self._constitution,
            prompts=self._prompts,
            generator=generator,
            critic=critic,
            judges=make_judges(config.judge, self._constitution, critic),
            record=record,
            state=self._state,
            control=self._control,
        )

    def _get(self, name: str) -> LocalModel:
        config, record = self._config, self._record
        assert record is not None
        known = self._models.holds(name, config.device, config.dtype)
        if not known:
            record.event("MODEL-LOADING", SUMMARY, name, data={"model": name})
        told = 0.0

        def progress(fraction: float, sentence: str) -> None:
            nonlocal told
            if time.monotonic() - told >= 1.0:
                told = time.monotonic()
                record.event("MODEL-LOADING", ALL, f"{sentence} {fraction:.0%}", data={"model": name})

        model = self._models.get(name, config.device, config.dtype, progress)
        record.event(
            "MODEL-LOADED",
            SUMMARY,
            f"{model.name} · {model.parameters / 1e6:.0f} M parameters · {model.dtype} on {model.device}"
            + ("" if known else f" · {model.seconds:.1f} s"),
            data={
                "model": model.name,
                "sha256": model.sha256,
                "parameters": model.parameters,
                "dtype": model.dtype,
                "device": model.device,
                "context": model.context,
                "seconds": 0.0 if known else round(model.seconds, 3),
            },
        )
        return model


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of what is not the same as when the run began: inputs, package versions."""
    names: list[str] = []
    for group in ("hashes", "versions"):
        old, new = before.get(group), now.get(group)
        if isinstance(old, dict) and isinstance(new, dict):
            names += [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return names


def perform(config: RunConfig, folder: Path, control: Control, models: Models | None = None) -> Path:
    """Perform a run in this thread (see `Run`); returns its folder."""
    Run(config, folder, control, models or Models()).perform()
    return folder
