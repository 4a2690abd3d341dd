"""The functions of the public API (see `engine`): each takes plain values and does one whole job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine import paths
from engine.constitution.load import load, load_default
from engine.constitution.model import Constitution
from engine.control import Control
from engine.errors import InputError, RedraftError
from engine.events.base import Record
from engine.files import expanded
from engine.judges.base import Judge, JudgeInput, Verdict
from engine.runs import store
from engine.runs.folder import RUN, new_folder, read_config, remove_if_empty, remove_unless_begun
from engine.runs.journal_reader import JOURNAL, read
from engine.settings import RunConfig
from engine.stats.paired import PairedResult, compare_scores


def run(config: RunConfig, folder: str | Path | None = None, *, control: Control | None = None) -> Path:
    """Perform a run in this thread: draft, judge, critique, revise, train, compare, report.

    Args:
        config: the settings; `preset("demo")` takes a few minutes on two cores.
        folder: where to write; must not contain a run. None makes a folder among the user's runs.
        control: to pause or stop the run from another thread.

    Returns:
        The run's folder: `journal.jsonl`, `report.json`, `pairs.jsonl` and `adapter/`.

    Raises:
        InputError: a setting or file is invalid, or the folder contains a run. Nothing is written then.
        ModelError: a model is unknown or does not fit. Nothing is written then.
        Stopped: `control` stopped the run; `resume` continues it.
        RedraftError: the run failed; the journal has the traceback.
    """
    from engine.pipeline.runner import perform

    if folder is None:
        target = new_folder(paths.runs_dir(), config.preset)
    else:
        target = expanded(str(folder)).absolute()
        if any((target / name).exists() for name in (RUN, JOURNAL)):
            raise InputError(
                "the folder contains a run.", where=str(target), next_step="Call resume(folder), or choose another."
            )
    try:
        return perform(config, target, control or Control())
    except RedraftError:
        remove_unless_begun(target)
        if folder is None:
            remove_if_empty(target)  # only removes an empty folder
        raise


def resume(run: str | Path = "last", *, force: bool = False, control: Control | None = None) -> Path:
    """Resume a run that was stopped, killed or failed. Finished work is not repeated.

    Args:
        run: its id, the beginning of its id, its folder, or "last".
        force: resume even if constitution, prompts, model or package versions changed.
        control: to pause or stop the run from another thread.

    Returns:
        The run's folder.

    Raises:
        InputError: there is no such run, or its inputs changed.
        Stopped: `control` stopped the run.
        RedraftError: the run failed; the journal has the traceback.
    """
    from engine.pipeline.runner import perform

    folder = store.find_run(str(run))
    return perform(read_config(folder), folder, control or Control(), force=force)


def load_constitution(path: str | Path = "") -> Constitution:
    """The constitution in a file, with every rule tried on its examples.

    Args:
        path: TOML, or the JSON of the Constitutional AI paper (Bai et al. 2022); "" for the built-in constitution.

    Raises:
        InputError: the file is not a valid constitution; names file, line and field.
        StorageError: the file cannot be read.
    """
    from engine.judges.rules.matching import failed_examples

    return load(expanded(str(path)), failed_examples) if str(path) else load_default()


def judge(
    *texts: str | JudgeInput,
    by: str | Judge = "panel",
    constitution: Constitution | None = None,
    critic: str = "",
) -> list[Verdict]:
    """A verdict on each text, in the order of the texts.

    Args:
        texts: `JudgeInput` also names the prompt that a text answers.
        by: "panel" (rules and a probe on the embedded model's hidden states), "rules", "model", "rules+model",
            "likelihood", the name of a judge made with `redraft judge fit`, or an object that follows `Judge`.
        constitution: None for the built-in one.
        critic: the model to ask, for the judges that ask one; "" for the default generator.

    Raises:
        InputError: a text is empty or there is no such judge.
        ModelError: a model that the judge needs is not installed or does not fit.
    """
    from engine.pipeline.evaluate import check_text

    judged = [text if isinstance(text, JudgeInput) else JudgeInput(str(i), text) for i, text in enumerate(texts)]
    for one in judged:
        check_text(one.text, where=one.key)
    if len({one.key for one in judged}) < len(judged):
        raise InputError("two texts have the same key.", next_step="Make each key unique.")
    the_judge = _make_judge(by, constitution or load_default(), critic) if isinstance(by, str) else by
    verdicts = {verdict.key: verdict for verdict in the_judge.judge(judged, Control())}
    return [verdicts[one.key] for one in judged]


def _make_judge(name: str, constitution: Constitution, critic: str) -> Judge:
    from engine.judges.registry import JudgeParts, make_judge, needs_model
    from engine.pipeline.model_cache import ModelCache

    models = ModelCache()
    model = models.get(critic or RunConfig().generator) if needs_model(name) else None
    return make_judge(name, JudgeParts(constitution, model, models.get, is_loaded=models.holds))


def compare(
    base: Sequence[Verdict],
    trained: Sequence[Verdict],
    *,
    clusters: Sequence[str] | None = None,
    seed: int = 0,
) -> PairedResult:
    """Paired statistics of two models' verdicts on the same prompts; lower scores are better.

    Args:
        base, trained: one verdict per prompt, in the same order. Pairs without a verdict on either side are excluded
            and counted.
        clusters: one name per prompt; prompts with the same name (paraphrases, samples) count as one.
        seed: of the bootstrap.

    Returns:
        Mean scores, their difference with a 95 % interval, a sign-flip permutation p, and the smallest effect that
        this many prompts could have shown.

    Raises:
        ValueError: the sequences differ in length.
    """
    return compare_scores([v.score for v in base], [v.score for v in trained], clusters=clusters, seed=seed)


def read_journal(run: str | Path = "last") -> list[Record]:
    """All events of a run, in order. Damaged records are skipped, as everywhere.

    Args:
        run: its id, the beginning of its id, its folder, or "last".

    Raises:
        InputError: there is no such run.
        StorageError: the journal cannot be read.
    """
    return list(read(store.find_run(str(run))))


def read_report(run: str | Path = "last") -> dict[str, Any]:
    """The report of a finished run: every compared prompt with both answers and verdicts, and the statistics. Schema:
    docs/report.md.

    Args:
        run: its id, the beginning of its id, its folder, or "last".

    Raises:
        InputError: there is no such run, or it is not finished.
        StorageError: the report cannot be read.
    """
    return store.read_report(store.find_run(str(run)))
