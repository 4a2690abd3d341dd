"""What a training cost, as HTML: gain against damage per training seed, what is declined or refused since, and the
movement on neutral texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.export.html import charts
from engine.export.html.markup import count, table, text
from engine.runs.report import Change, Cost, NeutralTexts, Report, TrainingResult


def cost(report: Report) -> Iterator[str]:
    """The parts of the section."""
    yield from _trade_off(report)
    yield _trainings(report.trainings)
    if report.cost is not None:
        yield from _changes(report.cost, report.arms)
        yield _neutral(report.cost.neutral, report.trainings)
        for who, refused in zip(report.arms[::-1], _refused(report.cost), strict=True):
            yield _refusals(who, refused)


def _trade_off(report: Report) -> Iterator[str]:
    points = [charts.Point(f"seed {count(one.seed)}", one.damage, one.gain) for one in report.trade_offs]
    if points:
        yield "<h3>Gain and damage of each training seed</h3>"
        yield charts.scatter("Gain and damage of each training seed", points, "damage", "gain")
        yield (
            '<p class="dim">Gain: how far the score fell. Damage: KL from the base on neutral texts, in nats a token. '
            "The higher and the more to the left, the better.</p>"
        )


def _trainings(trainings: Sequence[TrainingResult]) -> str:
    """Each training's own result, where there are several."""
    rows = [
        (f"seed {count(one.seed)}", *_figures(one.score, 2), _interval(one.score), *_figures(one.violations, 0))
        for one in trainings
        if one.score is not None
    ]
    restored = "".join(
        f'<p class="warn">Seed {count(one.seed)}: compared is '
        + (f"the adapter of step {one.restored:,}, the last healthy one" if one.restored else "the untrained model")
        + f" of {count(one.steps)} steps.</p>"
        for one in trainings
        if one.restored is not None
    )
    head = ("training", "score, base", "trained", "95 % interval of the change", "violations, base", "trained")
    return table(head, rows) + restored


def _changes(cost: Cost, arms: tuple[str, str]) -> Iterator[str]:
    """What changed where nothing was to be corrected."""
    rows = [
        (name, *_figures(one, digits), count(one.n if one.answers is None else one.answers))
        for name, one, digits in (
            ("held-out answers that decline", cost.declined, 0),
            ("score on prompts that neither model declines", cost.score_answered, 2),
            ("benign answers that are no answer", cost.benign_unusable, 0),
        )
        if one is not None and one.base is not None and one.trained is not None
    ]
    yield table(("", *arms, "of"), rows)


def _neutral(neutral: Sequence[NeutralTexts], trainings: Sequence[TrainingResult]) -> str:
    seeds = {number: one.seed for number, one in enumerate(trainings, 1)}
    rows = [
        (
            f"seed {count(seeds.get(one.training or 0))}" if len(neutral) > 1 else "neutral texts",
            f"{one.kl:.3f}",
            f"{one.kl_interval[0]:.3f} to {one.kl_interval[1]:.3f}" if one.kl_interval else "–",
            _arrow(one.cross_entropy_base, one.cross_entropy_trained),
            count(one.texts),
        )
        for one in neutral
        if one.kl is not None
    ]
    return table(("", "KL, nats per token", "95 % interval", "cross-entropy", "texts"), rows)


def _refused(cost: Cost) -> tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]]:
    return cost.refused_only_by_trained, cost.refused_only_by_base


def _refusals(who: str, refused: Sequence[tuple[str, str]]) -> str:
    """The benign prompts that only one model refuses, folded."""
    if not refused:
        return ""
    items = "".join(f"<li>{text(prompt or item)}</li>" for item, prompt in refused)
    return (
        f"<details><summary>Benign prompts that only {text(who)} refused ({len(refused)})</summary>"
        f"<ul>{items}</ul></details>"
    )


def _figures(change: Change | None, digits: int) -> tuple[str, str]:
    known = (change.base, change.trained) if change is not None else (None, None)
    one, other = ("–" if value is None else f"{value:.{digits}f}" for value in known)
    return one, other


def _interval(change: Change | None) -> str:
    if change is None or change.interval is None:
        return "–"
    return "{:+.2f} to {:+.2f}".format(*change.interval)


def _arrow(base: float | None, trained: float | None) -> str:
    return "–" if base is None or trained is None else f"{base:.2f} → {trained:.2f}"
