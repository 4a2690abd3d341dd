"""One run from its first stage to its report: the stages in order, each of which does what is not done yet.

A `Run` belongs to the thread that performs it. It writes events and files; nobody is called back.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.control import Control
from engine.errors import InputError, Stopped, StorageError
from engine.events.base import SUMMARY
from engine.files import sweep
from engine.judges.base import Verdict
from engine.judges.registry import JudgeParts, RunJudges, check_judge, judge_server, make_run_judges
from engine.pipeline import compare, input_changes, prepare, report, revise, train
from engine.pipeline.context import Context
from engine.pipeline.evaluate import evaluate_text
from engine.pipeline.model_cache import Models
from engine.pipeline.oom import is_shortage, shortage
from engine.pipeline.recorder import Recorder
from engine.runs.control_file import Steering
from engine.runs.folder import RUN, read_run, write_run
from engine.runs.journal_reader import Damage, JournalReader
from engine.runs.journal_writer import JournalWriter
from engine.runs.state import RunState
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
        anyway: go on also where constitution, prompts, model or package versions are not what the run began with.

    Raises:
        InputError: a setting or a file cannot be used, or what the run was made from has changed.
        ModelError: a model is unknown or certainly cannot be loaded.
        StorageError: a file cannot be read.
            Nothing is written where one of these is raised.
    """

    def __init__(
        self, config: RunConfig, folder: Path, control: Control, models: Models, *, anyway: bool = False
    ) -> None:
        self._config = config
        self._folder = folder
        self._control = control
        self._models = models
        self._anyway = anyway
        self._constitution = prepare.constitution_of(config)
        self._prompts = prepare.prompts_of(config)
        check_judge(config)
        self._check_models()
        self._facts = {
            "hashes": prepare.hashes(self._constitution, self._prompts),
            "versions": prepare.versions(),
            "machine": prepare.machine(),
        }
        self._changed = self._check_inputs()
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
            InputError: the model has changed, or the run keeps no texts to go on with.
            RedraftError: something failed that a person can mend; the journal says what.
        """
        began = time.monotonic()
        with JournalWriter(self._folder, texts=self._config.keep_texts) as journal:
            # Only now: another process may have gone on with the run until a moment ago.
            for place in (self._folder, self._folder / train.ADAPTER, self._folder / train.CHECKPOINTS):
                sweep(place)
            damage = self._replay(journal)
            if self._state.complete:
                return
            record = self._record = Recorder(journal, self._state.apply)
            steering = Steering(self._folder, self._control, self._told_pause)
            self._control.also(steering.look)
            try:
                self._begin(record, journal.next_seq > 0)
                if damage:
                    record.notice(damage)
                with self._models.watched(record.loading):
                    self._stages(began)
            except Stopped:
                with contextlib.suppress(StorageError):  # a full disk does not make a stop a failure
                    record.event(
                        "RUN-STOPPED", SUMMARY, "stopped; what is finished is kept and can be resumed", sync=True
                    )
                raise
            except BaseException as error:
                failure = shortage(record.stage or "loading", self._device) if is_shortage(error) else error
                with contextlib.suppress(StorageError):  # what cannot be written can still be raised
                    record.error(failure)
                if failure is error:
                    raise
                raise failure from error
            finally:
                self._context = self._record = None
                steering.close()

    def evaluate(self, text: str, prompt: str, key: str) -> Verdict:
        """Judge a text in the middle of the run; call it only from the run's own thread, while `ready`.

        Raises:
            InputError: the text is empty or too long.
        """
        context = self._context
        assert context is not None
        # A control of its own: a stop of the run must not cut a verdict that somebody waits for in half.
        return evaluate_text(
            text, prompt, key, context.judges.shown, self._constitution.max_score, context.record, Control()
        )

    def failed(self, error: BaseException) -> None:
        """Tell of a failure beside the run in its journal, where it is open."""
        if self._record is not None:
            self._record.failed(error)

    @property
    def _device(self) -> str:
        context = self._context
        return context.generator.device if context is not None else self._config.device or "cpu"

    def _check_models(self) -> None:
        from engine.models.hub.catalog import EMBEDDED
        from engine.models.local import check_model

        config = self._config
        wanted = [config.generator, *([config.critic] if config.critic else [])]
        for name in dict.fromkeys(wanted):
            if not self._models.holds(name, config.device, config.dtype):
                check_model(name, device=config.device, dtype=config.dtype)
        if config.judge == "panel" and EMBEDDED not in wanted and not self._models.holds(EMBEDDED, config.device):
            check_model(EMBEDDED, device=config.device)

    def _check_inputs(self) -> list[input_changes.Change]:
        """What changed since the run began, where it began before; a person must have said that this is wanted."""
        if not (self._folder / RUN).exists():
            return []
        changed = input_changes.changes(read_run(self._folder), self._facts, self._config)
        if changed and not self._anyway:
            raise input_changes.refuse(changed, self._folder)
        return changed

    def _replay(self, journal: JournalWriter) -> str:
        """Take in what the journal holds of this run. Gives what is to be said of its damage, "" where it is whole.

        Raises:
            InputError: its texts were not kept.
        """
        if journal.next_seq and not self._config.keep_texts:
            raise InputError(
                "this run keeps no texts, so there is nothing to go on with.",
                where=str(self._folder),
                next_step="Start it anew.",
            )
        reader = JournalReader(self._folder)
        unusable = 0
        for event in reader.so_far():
            try:
                self._state.apply(event)
            except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
                # A whole record with other members than ours have: as good as lost, and done again.
                unusable += 1
        return _told_damage(reader.damage, unusable)

    def _begin(self, record: Recorder, resumed: bool) -> None:
        changed = self._changed
        if not (self._folder / RUN).exists():
            write_run(self._folder, self._config, {"kind": "run", **self._facts})
        if resumed:
            record.event(
                "RUN-RESUMED",
                SUMMARY,
                f"goes on after {record.journal.next_seq} events"
                + (f"; changed: {'; '.join(change.sentence for change in changed)}" if changed else ""),
                data={"reused": record.journal.next_seq, "changed": [change.name for change in changed]},
                sync=True,
            )
            return
        config = self._config
        record.event(
            "RUN-START",
            SUMMARY,
            f"{config.preset} · {config.generator} · {self._constitution.name} · "
            f"{len(self._prompts.train)} to train on, {len(self._prompts.heldout)} held out, "
            f"{len(self._prompts.benign)} benign",
            data={"config": read_run(self._folder)["config"], **self._facts},
            sync=True,
        )

    def _told_pause(self, paused: bool) -> None:
        """The run waits from now on, or goes on, by whomever that was asked."""
        if self._record is not None:
            self._record.pause(paused)
            stage, sentence = ("RUN-PAUSED", "waits") if paused else ("RUN-CONTINUED", "goes on")
            self._record.event(stage, SUMMARY, sentence, sync=paused)

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
        parts = JudgeParts(self._constitution, critic, self._models.get, config.device, judge_server(config))
        judges = make_run_judges(config.judge, parts)
        self._tell_judges(judges)
        return Context(
            config=config,
            folder=self._folder,
            constitution=self._constitution,
            prompts=self._prompts,
            generator=generator,
            critic=critic,
            judges=judges,
            record=record,
            state=self._state,
            control=self._control,
        )

    def _tell_judges(self, judges: RunJudges) -> None:
        """Record which judge judges what, and how accurate each was measured to be; fail now if one cannot work."""
        assert self._record is not None
        for judge in (judges.shown, judges.comparison):
            judge.prepare(self._control)
        chosen = judges.shown.accuracy
        other = judges.comparison.accuracy if judges.selecting is not None else None
        summary = f"texts by {chosen.name}"
        if other is not None:
            summary += f"; the comparison by {other.name} ({other.summary or 'never measured'})"
        self._record.event(
            "JUDGES",
            SUMMARY,
            summary,
            data={"shown": chosen.to_data(), "comparison": judges.comparison.accuracy.to_data(), "apart": judges.apart},
        )

    def _get(self, name: str) -> LocalModel:
        config, record = self._config, self._record
        assert record is not None
        known = self._models.holds(name, config.device, config.dtype)
        model = self._models.get(name, config.device, config.dtype)
        changed = input_changes.check_model(self._folder, name, model.sha256)
        if changed and not self._anyway:
            raise input_changes.refuse(changed, self._folder)
        for change in changed:
            record.notice(f"Changed since the run began: {change.sentence}.")
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


def _told_damage(damage: Sequence[Damage], unusable: int) -> str:
    """One sentence on a journal that lost records; "" where it lost none."""
    parts = []
    if damage:
        first = damage[0]
        places = f"{len(damage)} place{'s' * (len(damage) > 1)}"
        parts.append(f"The journal is damaged in {places}, first at byte {first.offset}: {first.reason}.")
    if unusable:
        parts.append(f"{unusable} of its records could not be used: they lack what they should hold.")
    return " ".join([*parts, "What was in there is done again."]) if parts else ""


def perform(
    config: RunConfig, folder: Path, control: Control, models: Models | None = None, *, anyway: bool = False
) -> Path:
    """Perform a run in this thread (see `Run`); returns its folder."""
    Run(config, folder, control, models or Models(), anyway=anyway).perform()
    return folder
