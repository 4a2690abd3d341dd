"""What is known of the next run before it starts: memory, time, the smallest change it can show; and what can be
chosen for it. Everything here takes a moment and belongs into a thread, but loads no model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import RedraftError
from engine.models.hub import catalog, memory_estimate
from engine.models.hub.memory_plan import FITS, StagePlan, plan, proposed_profile
from engine.prompts.hub_datasets import is_dataset, parse
from engine.runs.expected_time import ExpectedTime, expected_time
from engine.runs.store import list_runs
from engine.settings import JUDGES, SHIPPED, RunConfig
from engine.stats.paired import USUAL_SPREAD, planned_detectable
from tui.views.formatting import count

_MAX_EXAMPLES = 6
_MAX_PREVIEWED = 32 << 20
"""Bytes beyond which a file is not read to be previewed while the user looks for one."""


@dataclass(frozen=True)
class RunPlan:
    """What is known of a run before it starts.

    Args:
        need, free: bytes of memory, at the largest stage in the usual dtype.
        verdict: fits, tight or does not fit; "" where the model's sizes are not known.
        time: an estimate; None where no such run finished here.
        detectable: the smallest change of the score that this many held-out prompts show; None for fewer than two.
    """

    need: int = 0
    free: int = 0
    verdict: str = ""
    time: ExpectedTime | None = None
    detectable: float | None = None

    def sentence(self) -> str:
        """All of it on a line or two."""
        return " · ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        if self.verdict:
            yield f"Memory {self.need / 1e9:.1f} of {self.free / 1e9:.0f} GB: {self.verdict}"
        else:
            yield "Memory is known once the model is fetched"
        if self.time is None:
            yield "time is known after a first run with these models here"
        else:
            minutes = max(1, round(self.time.seconds / 60))
            yield f"about {count(minutes, 'minute')} ({'as' if self.time.same else 'scaled from'} {self.time.run})"
        if self.detectable is not None:
            yield f"detects a change of {self.detectable:.2f} of the score"


def plan_of(config: RunConfig, runs: Path | None) -> RunPlan:
    """What is known of the run that these settings describe.

    Args:
        runs: the folder of earlier runs.
    """
    try:
        dtype = config.dtype or "float32"
        kinds = (config.quantization,)
        worst = _largest(plan(config.generator, config.critic, dtypes=(dtype,), quantizations=kinds))
        need, free, verdict = worst.need, worst.free, worst.verdict
    except RedraftError:
        need, free, verdict = 0, memory_estimate.free(), ""
    try:
        time = expected_time(config, runs)
    except RedraftError:
        time = None
    return RunPlan(need, free, verdict, time, planned_detectable(config.n_heldout, USUAL_SPREAD))


def _largest(rows: Sequence[StagePlan]) -> StagePlan:
    """The stage that needs the most memory."""
    return max(rows, key=lambda row: row.need)


def proposal(runs: Path | None) -> tuple[str, str]:
    """On the first start the profile that suits this machine, and why; ("", "") once there is a run."""
    try:
        if list_runs(runs):
            return "", ""
    except RedraftError:
        return "", ""
    return proposed_profile()


@dataclass(frozen=True)
class Offered:
    """One row of a list to choose from: what the field gets, and cells of text, each padded like those above."""

    value: str
    cells: tuple[str, ...]


def models() -> list[Offered]:
    """The models known by name: size, memory for a whole run, whether that fits, whether it is on this machine."""
    free = memory_estimate.free()
    found = []
    for entry in catalog.CATALOG:
        worst = _largest(plan(entry.name, dtypes=("float32",), free=free))
        size, need = f"{entry.parameters / 1e6:,.0f} M", f"{worst.need / 1e9:.1f} GB"
        found.append(Offered(entry.name, (entry.name, size, need, worst.verdict, _where(entry), entry.summary)))
    return found


def _where(entry: catalog.Entry) -> str:
    from engine.models.hub.download import cached

    return "here" if entry.embedded or cached(catalog.resolve(entry.name)) is not None else "to fetch"


def profiles() -> list[Offered]:
    """The profiles: memory, whether it fits, whether it is the one that suits this machine."""
    free, (proposed, _) = memory_estimate.free(), proposed_profile()
    found = []
    for one in catalog.PROFILES:
        worst = _largest(plan(one.generator, one.critic, dtypes=("float32",), free=free))
        mark = "proposed" if one.name == proposed else ""
        found.append(Offered(one.name, (one.name, f"{worst.need / 1e9:.1f} GB", worst.verdict, mark, one.summary)))
    return found


def judges(config: RunConfig) -> list[Offered]:
    """The judges, built in and fitted here, with what was measured of each."""
    from engine.judges.probe.probe import names

    known = dict.fromkeys((*JUDGES, *(name for name in names() if name != SHIPPED)))
    return [Offered(name, (name, _accuracy(replace(config, judge=name)))) for name in known]


def _accuracy(config: RunConfig) -> str:
    from engine.judges.registry import configured_accuracy
    from engine.pipeline.prepare import load_constitution

    try:
        accuracy = configured_accuracy(config, load_constitution(config))
    except RedraftError as error:
        return error.what
    return accuracy.summary or "not measured here: redraft judge bench"


def is_fit(config: RunConfig) -> str:
    """Why the chosen models do not fit into this machine's memory, and what would; "" where they fit."""
    rows = plan(config.generator, config.critic, quantizations=(config.quantization,))
    worst = _largest(rows)
    if all(row.verdict == FITS for row in rows):
        return ""
    return (
        f"{worst.stage} in {worst.dtype} needs {worst.need / 1e9:.1f} GB of {worst.free / 1e9:.1f} GB free: "
        f"{worst.verdict}. {proposed_profile()[1]} `redraft models --plan` shows every stage."
    )


def prompts_in(path: Path) -> list[str]:
    """What a run would take from a file of prompts, a line each: counts, then the first prompts.

    Raises:
        RedraftError: the file cannot be used.
    """
    from engine.prompts.preview import preview

    found = preview(path)
    left_out = sum(found.skipped.values())
    lines = [
        " · ".join(
            (
                count(found.usable, "prompt"),
                f"{found.exact + found.near} duplicates",
                f"{left_out} left out",
                f"{found.lengths.low} to {found.lengths.high} {found.lengths.unit}",
                ", ".join(f"{language} {number}" for language, number in list(found.languages.items())[:3]),
            )
        )
    ]
    return [*lines, *found.examples[:_MAX_EXAMPLES]]


def principles_in(path: Path) -> list[str]:
    """What a constitution holds, a line each.

    Raises:
        RedraftError: the file cannot be used.
    """
    from engine.constitution.load import load
    from engine.judges.rules.matching import failed_examples

    found = load(path, failed_examples)
    head = f"{found.name}: {count(len(found.principles), 'principle')}, highest score {found.max_score:g}"
    return [head, *(f"{one.weight:g}  {one.id}: {one.title}" for one in found.principles)]


def preview_of(kind: str, path: Path) -> list[str]:
    """`prompts_in` or `principles_in`, unless the file is too large to be read on a look, or a dataset of the hub: what
    is still being typed is not asked for.

    Args:
        kind: "prompts" or "constitution".

    Raises:
        RedraftError: the file cannot be used.
    """
    if is_dataset(path) and kind == "prompts":
        return prompts_in(path) if parse(str(path)).is_folder else ["A dataset of the hub: read when it is accepted"]
    if path.stat().st_size > _MAX_PREVIEWED:
        return [f"{path.stat().st_size / 1e6:,.0f} MB: read when it is chosen"]
    return principles_in(path) if kind == "constitution" else prompts_in(path)
