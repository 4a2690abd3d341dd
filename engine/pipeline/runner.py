"""One run from its first stage to its report: `STAGES` in order, each of which does what is not finished yet.

A `Run` belongs to the thread that performs it. It writes events and files, and has no callbacks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.control import Control
from engine.errors import InputError, ModelError, Stopped, StorageError
from engine.events.run import (
    JudgeAccuracyData,
    JudgesChosen,
    ModelLoaded,
    RunContinued,
    RunPaused,
    RunResumed,
    RunStart,
    RunStopped,
)
from engine.files import sweep
from engine.judges.base import Verdict
from engine.judges.registry import (
    JudgeParts,
    RunJudges,
    check_coverage,
    check_judge,
    judge_server,
    make_comparison_judges,
    make_run_judges,
)
from engine.models.hub import catalog, memory
from engine.pipeline import input_changes, prepare, report
from engine.pipeline.checkpoint_model import base_name, run_of
from engine.pipeline.choose_pairs import choose_pairs, take_given_pairs
from engine.pipeline.compare import answer_with_base, answer_with_trained, compare
from engine.pipeline.context import Context
from engine.pipeline.critique import critique
from engine.pipeline.demonstrations import add_demonstrations
from engine.pipeline.draft import draft, judge_drafts, sample_drafts
from engine.pipeline.evaluate import evaluate_text
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.oom import is_oom, oom_error
from engine.pipeline.recorder import Recorder
from engine.pipeline.revise import choose_revisions, judge_candidates, revise
from engine.pipeline.side_effects import measure_side_effects
from engine.pipeline.train import CHECKPOINTS, train
from engine.pipeline.unused_settings import unused_settings
from engine.runs.control_file import CommandListener
from engine.runs.folder import ADAPTER, RUN, add_notices, read_config, read_run, write_run
from engine.runs.journal_reader import Damage, JournalReader
from engine.runs.journal_writer import JournalWriter
from engine.runs.state import RunState
from engine.settings import RunConfig
from engine.stats.paired import USUAL_SPREAD, planned_detectable

if TYPE_CHECKING:
    from engine.models.client.endpoint import Server
    from engine.models.client.remote_model import RemoteModel
    from engine.models.local import LocalModel
    from engine.models.nn.config import Quantization


@dataclass(frozen=True)
class Stage:
    """A stage of the method.

    Args:
        run: does what is not finished of it.
        needs_pairs: it is skipped where no pair was kept.
        makes_pairs: it is skipped where the user brought pairs.
    """

    run: Callable[[Context], None]
    needs_pairs: bool = False
    makes_pairs: bool = False


STAGES: tuple[Stage, ...] = (
    # Constitutional AI (Bai et al., 2022), supervised stage: draft, critique, revise; the judge decides what is better.
    Stage(draft, makes_pairs=True),
    Stage(sample_drafts, makes_pairs=True),
    Stage(judge_drafts, makes_pairs=True),
    Stage(critique, makes_pairs=True),
    Stage(revise, makes_pairs=True),
    # Written answers that came with the prompts, where the run learns from them.
    Stage(add_demonstrations, makes_pairs=True),
    Stage(judge_candidates, makes_pairs=True),
    Stage(choose_revisions, makes_pairs=True),
    Stage(choose_pairs, makes_pairs=True),
    Stage(take_given_pairs),
    # The generator learns from the kept pairs (SFT or DPO with LoRA); base and trained model answer held-out prompts.
    Stage(answer_with_base, needs_pairs=True),
    Stage(train, needs_pairs=True),
    Stage(answer_with_trained, needs_pairs=True),
    Stage(compare, needs_pairs=True),
    Stage(measure_side_effects, needs_pairs=True),
    Stage(report.write),
)
"""The method, in order."""

COMPARISON_STAGES: tuple[Stage, ...] = (
    Stage(answer_with_base),
    Stage(answer_with_trained),
    Stage(compare),
    Stage(report.write),
)
"""What is done of it where two models are compared and none is trained."""


def _planned(smallest: float | None) -> str:
    """The smallest change that the comparison can be expected to show; "" where it can show nothing."""
    return "" if smallest is None else f" · detects a change of {smallest:.2f} of the score"


class Run:
    """A new run, or one that is resumed where its journal ends.

    Args:
        config: what to do.
        folder: where everything goes; if it contains a journal, the run is resumed.
        control: how the run is paused and stopped.
        models: models that are loaded already.
        force: resume also where constitution, prompts, model or package versions are not what the run began with.

    Raises:
        InputError: a setting or a file cannot be used, or the inputs of the run have changed.
        ModelError: a model is unknown or certainly cannot be loaded.
        StorageError: a file cannot be read.
            Nothing is written where one of these is raised.
    """

    def __init__(
        self, config: RunConfig, folder: Path, control: Control, models: ModelCache, *, force: bool = False
    ) -> None:
        self._folder = folder
        self._control = control
        self._models = models
        self._force = force
        self._constitution = prepare.load_constitution(config)
        self._prompts = prepare.load_prompts(config)
        self._config, taught = prepare.with_teacher(prepare.with_absolute_paths(config), self._prompts)
        check_judge(config)
        unseen = check_coverage(config.judge, self._constitution)
        idle = unused_settings(config, self._config)
        self._input_notices = (*self._constitution.notices, *self._prompts.notices, *taught, *unseen, *idle)
        self._check_models()
        self._facts: dict[str, Any] = {
            "hashes": prepare.hashes(
                self._constitution, self._prompts, demonstrations=self._config.teacher == "demonstrations"
            ),
            "versions": prepare.versions(),
            "machine": prepare.machine(),
        }
        self._changed = self._check_inputs()
        self._state = RunState()
        self._started = 0.0
        self._record: Recorder | None = None
        self._context: Context | None = None
        self._server: Server | None = None

    @property
    def ready(self) -> bool:
        """Whether texts can be judged now: models are loaded."""
        return self._context is not None

    def perform(self) -> None:
        """Do the whole run.

        Raises:
            Stopped: it was stopped; what is finished is in the journal, and performing the run again resumes it.
            InputError: the model has changed, or the run keeps no texts to resume from.
            RedraftError: something failed that the user can fix; the journal says what.
        """
        self._started = time.monotonic()
        with JournalWriter(self._folder, texts=self._config.keep_texts) as journal:
            # Only now: another process may have held the lock until just now.
            for place in (self._folder, *self._folder.glob(f"{ADAPTER}*"), *self._folder.glob(f"{CHECKPOINTS}*")):
                sweep(place)
            damage = self._replay(journal)
            if self._state.finished.complete:
                return
            record = self._record = Recorder(journal, self._state.apply)
            commands = CommandListener(self._folder, self._control, self._on_pause)
            self._control.add_check(commands.poll)
            try:
                self._begin(record, journal.next_seq > 0)
                if damage:
                    record.notice(damage)
                with self._models.watched(record.loading):
                    self._perform_stages()
            except Stopped:
                with contextlib.suppress(StorageError):  # a full disk does not make a stop a failure
                    sentence = "stopped; what is finished is kept, and the run can be resumed"
                    record.write(RunStopped(summary=sentence, running=record.stage), sync=True)
                raise
            except BaseException as error:
                failure = oom_error(record.stage or "loading", self._device) if is_oom(error) else error
                with contextlib.suppress(StorageError):  # what cannot be written can still be raised
                    record.error(failure)
                if failure is error:
                    raise
                raise failure from error
            finally:
                self._context = self._record = None
                commands.close()

    def evaluate(self, text: str, prompt: str, key: str) -> Verdict:
        """Judge a text in the middle of the run; call it only from the run's own thread, while `ready`.

        Raises:
            InputError: the text is empty or too long.
        """
        context = self._context
        assert context is not None
        # A control of its own: stopping the run must not interrupt a verdict in progress.
        return evaluate_text(
            text, prompt, key, context.judges.shown, self._constitution.max_score, context.record, Control()
        )

    def failed(self, error: BaseException) -> None:
        """Log a failure that is not part of the run in its journal, where it is open."""
        if self._record is not None:
            self._record.failed(error)

    def _perform_stages(self) -> None:
        context = self._context = self._load()
        for stage in COMPARISON_STAGES if self._config.against else STAGES:
            if stage.run is report.write:
                self._write_usage(context)
            brought = stage.makes_pairs and context.prompts.pairs
            if not brought and (context.results.kept or not stage.needs_pairs):
                stage.run(context)
                memory.trim()

    def _write_usage(self, context: Context) -> None:
        """What the server was asked since the run was started or resumed, and what it cost."""
        if self._server is not None and self._server.usage.requests:
            context.record.notice(self._server.used())

    @property
    def _device(self) -> str:
        context = self._context
        return context.generator.device if context is not None else self._config.device or "cpu"

    def _check_models(self) -> None:
        from engine.models.local import check_model

        config = self._config
        wanted = [config.generator, *(name for name in (config.against, config.critic) if name)]
        own = [config.generator, *([config.critic] if config.critic else [])]
        formats = [(name, config.dtype, config.quantization) for name in own]
        if config.against:
            formats.append((config.against, *config.against_format))
        for name, dtype, quantization in dict.fromkeys(formats):
            if not self._models.holds(name, config.device, dtype, quantization):
                source = catalog.resolve(name)
                whole = base_name(source) if source.kind == "checkpoint" else name
                check_model(whole, device=config.device, dtype=dtype, quantization=quantization)
        if (
            config.judge == "panel"
            and catalog.EMBEDDED not in wanted
            and not self._models.holds(catalog.EMBEDDED, config.device)
        ):
            check_model(catalog.EMBEDDED, device=config.device)

    def _check_inputs(self) -> list[input_changes.Change]:
        """What changed since the run began, where it began before.

        Raises:
            InputsChanged: something did, and the user did not say `force`.
        """
        if not (self._folder / RUN).exists():
            return []
        changed = input_changes.changes(read_run(self._folder), self._facts, self._config)
        if changed and not self._force:
            raise input_changes.refuse(changed, self._folder)
        return changed

    def _replay(self, journal: JournalWriter) -> str:
        """Apply the records that the journal holds of this run. Returns a sentence on its damage, "" if it is whole.

        Raises:
            InputError: its texts were not kept.
        """
        if journal.next_seq and not self._config.keep_texts:
            raise InputError(
                "this run keeps no texts, so it cannot be resumed.",
                where=str(self._folder),
                next_step="Start a new run.",
            )
        reader = JournalReader(self._folder)
        for record in reader.so_far():
            self._state.apply(record)
        return _damage_sentence(reader.damage, self._state.unusable)

    def _begin(self, record: Recorder, resumed: bool) -> None:
        config, changed = self._config, self._changed
        if not (self._folder / RUN).exists():
            write_run(self._folder, config, {"kind": "run", **self._facts, "notices": list(self._input_notices)})
        if resumed:
            reused = record.journal.next_seq
            sentence = f"; changed: {'; '.join(change.sentence for change in changed)}" if changed else ""
            record.write(
                RunResumed(
                    summary=f"resumed after {reused} events{sentence}",
                    reused=reused,
                    changed=tuple(change.name for change in changed),
                ),
                sync=True,
            )
            return
        smallest = planned_detectable(len(self._prompts.heldout), USUAL_SPREAD)
        models = f"{config.generator} (A) and {config.against} (B)" if config.against else config.generator
        to_train = "" if config.against else f"{len(self._prompts.train)} to train on, "
        record.write(
            RunStart(
                summary=f"{config.preset} · {models} · {self._constitution.name} · {to_train}"
                f"{len(self._prompts.heldout)} held out, {len(self._prompts.benign)} benign" + _planned(smallest),
                smallest_detectable=smallest,
                max_score=self._constitution.max_score,
                config=read_run(self._folder)["config"],
                **self._facts,
            ),
            sync=True,
        )
        for notice in self._input_notices:
            record.notice(notice)

    def _on_pause(self, paused: bool) -> None:
        """The run was paused, or continues."""
        if self._record is not None:
            self._record.pause(paused)
            self._record.write(
                RunPaused(summary="paused") if paused else RunContinued(summary="continued"), sync=paused
            )

    def _load(self) -> Context:
        from engine.training.lora import select

        config, record = self._config, self._record
        assert record is not None
        generator = self._load_model(config.generator)
        if not config.against:
            select(generator.decoder.adaptable(), config.train.target_modules)  # refused here, not after all drafts
        other = self._load_other(generator) if config.against else None
        critic = generator if not config.critic else self._load_model(config.critic)
        server = self._server = judge_server(config)
        parts = JudgeParts(self._constitution, critic, self._models.get, config.device, server)
        remote = self._remote_model(server) if config.endpoint_texts else None
        judges = self._judges(parts)
        self._write_judges(judges)
        return Context(
            config=config,
            folder=self._folder,
            constitution=self._constitution,
            prompts=self._prompts,
            generator=generator,
            critic=remote if remote and config.endpoint_texts != "draft" else critic,
            drafter=remote if remote and config.endpoint_texts != "critique" else generator,
            judges=judges,
            record=record,
            finished=self._state.finished,
            control=self._control,
            other=other,
            started=self._started,
        )

    def _judges(self, parts: JudgeParts) -> RunJudges:
        config = self._config
        if not config.against:
            return make_run_judges(config.judge, parts)
        compared = (config.generator, config.against)
        places = (catalog.resolve(name).path for name in compared)
        runs = [run for place in places if place is not None and (run := run_of(place)) is not None]
        # A judge that chose what one of the models was trained on, or that is one of them, is not independent.
        chosen = [read_config(run).judge for run in runs]
        critic = config.critic or config.generator
        return make_comparison_judges(config.judge, parts, chosen_by=chosen, critic_is_compared=critic in compared)

    def _remote_model(self, server: Server | None) -> RemoteModel:
        """The model behind the server, once it has answered."""
        from engine.models.client.endpoint import Endpoint
        from engine.models.client.remote_model import RemoteModel

        assert server is not None
        assert self._record is not None
        model = RemoteModel(Endpoint(server))
        model.prepare(self._control)
        self._record.notice(f"Texts by {model.name}: {self._config.endpoint_texts}.")
        return model

    def _write_judges(self, judges: RunJudges) -> None:
        """Write which judge decides what, and how good each was measured to be; a judge that cannot work fails now."""
        assert self._record is not None
        for judge in (judges.shown, judges.comparison):
            judge.prepare(self._control)
        self._write_notices((*judges.shown.notices, *judges.comparison.notices))
        shown, comparison = judges.shown.accuracy, judges.comparison.accuracy
        summary = f"texts by {shown.name}"
        if judges.selecting is not None:
            summary += f"; the comparison by {comparison.name} ({comparison.summary or 'never measured'})"
        self._record.write(
            JudgesChosen(
                summary=summary,
                shown=JudgeAccuracyData.from_data(shown.to_data()),
                comparison=JudgeAccuracyData.from_data(comparison.to_data()),
                independent=judges.independent,
            )
        )

    def _write_notices(self, sentences: Sequence[str]) -> None:
        """Each sentence once, in the journal and in `run.json`."""
        assert self._record is not None
        add_notices(self._folder, sentences)
        for sentence in dict.fromkeys(sentences):
            self._record.notice(sentence)

    def _load_other(self, generator: LocalModel) -> LocalModel:
        """The model that the generator is compared with; named by its format where only that is another.

        Raises:
            ModelError: it answers as the generator does.
        """
        config = self._config
        dtype, quantization = config.against_format
        found = self._load_model(config.against, dtype, quantization)
        if found.sha256 != generator.sha256:
            return found
        if _format(found) == _format(generator):
            raise ModelError(
                "Both models have the same weights, dtype, tokenizer and template; there is nothing to compare.",
                where=f"{config.generator}, {config.against}",
                next_step="Name two different ones, or load B in another format (--against-dtype int8).",
            )
        return dataclasses.replace(found, name=f"{found.name} ({_format(found)})")

    def _load_model(self, name: str, dtype: str | None = None, quantization: Quantization | None = None) -> LocalModel:
        """The model of this name, in the run's format or in this one."""
        config, record = self._config, self._record
        assert record is not None
        wanted = (
            name,
            config.device,
            config.dtype if dtype is None else dtype,
            config.quantization if quantization is None else quantization,
        )
        loaded = self._models.holds(*wanted)
        model = self._models.get(*wanted)
        changed = input_changes.check_model(self._folder, name, model.sha256)
        if changed and not self._force:
            raise input_changes.refuse(changed, self._folder)
        for change in changed:
            record.notice(f"Changed since the run began: {change.sentence}.")
        self._write_notices([f"{model.name}: {sentence}" for sentence in model.notices if not loaded])
        record.write(
            ModelLoaded(
                summary=f"{model.name} · {model.parameters / 1e6:.0f} M parameters · {_format(model)}"
                f" on {model.device}" + ("" if loaded else f" · {model.seconds:.1f} s"),
                model=model.name,
                sha256=model.sha256,
                parameters=model.parameters,
                dtype=model.dtype,
                device=model.device,
                context=model.context,
                seconds=0.0 if loaded else model.seconds,
            )
        )
        return model


def _format(model: LocalModel) -> str:
    """How the weights are kept and computed with: "bfloat16", "8-bit weights, bfloat16"."""
    return {"int8": "8-bit weights, ", "nf4": "4-bit weights, "}.get(model.quantization, "") + model.dtype


def _damage_sentence(damage: Sequence[Damage], unusable: int) -> str:
    """One sentence on a journal that lost records; "" where it lost none."""
    parts = []
    if damage:
        first = damage[0]
        places = f"{len(damage)} place{'s' * (len(damage) > 1)}"
        parts.append(f"The journal is damaged in {places}, first at byte {first.offset}: {first.reason}.")
    if unusable:
        parts.append(f"{unusable} of its records could not be used: their members are not what they should be.")
    return " ".join([*parts, "What was lost is done again."]) if parts else ""


def perform(
    config: RunConfig, folder: Path, control: Control, models: ModelCache | None = None, *, force: bool = False
) -> Path:
    """Perform a run in this thread (see `Run`); returns its folder."""
    Run(config, folder, control, models or ModelCache(), force=force).perform()
    return folder
