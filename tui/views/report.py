"""A run's report as rows of pieces with roles: one rendering for the report screen, `redraft show` and Markdown.

Knows nothing of Textual. All numbers are written by `tui.views.formatting`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from engine.runs.arms import ARMS
from engine.runs.export_markdown import inline
from engine.runs.report import (
    OUTCOMES,
    BenignChange,
    BlindReading,
    Change,
    Condition,
    Cost,
    Health,
    NeutralTexts,
    Pairs,
    PrincipleChange,
    Report,
    TrainingResult,
)
from engine.stats.exact import format_p
from engine.text import sanitize
from tui.views.formatting import (
    agreement_text,
    change,
    duration,
    estimate_text,
    range_text,
    share,
    short_name,
    signed_share,
)
from tui.views.pieces import wrapped
from tui.views.wrap import wrap

if TYPE_CHECKING:
    from tui.views.pieces import Pieces

_CONDITIONS = {"held_out": "held out"}
_HEALTH = (
    ("repetition", "repetition", 1),
    ("empty", "empty answers", 0),
)
_LABEL = 12
"""Cells of the labels at the left."""
_BAR = 16
"""Cells of a bar of the trade-off."""
_LEAST_SENTENCE = 24
"""Cells from which on a sentence is wrapped below itself."""
_SPACED = ("principles", "trade-off", "pairs", "rule")
"""Sections with an empty line below them."""


def outcome_words(outcome: str) -> tuple[str, str]:
    """An outcome as a sentence, and its role; a journal from elsewhere may hold any other."""
    return OUTCOMES.get(outcome, (" ".join(sanitize(outcome).split()).capitalize(), "text"))


def lines(report: Report, width: int = 88) -> list[Pieces]:
    """The report, a list of pieces per line, of at most `width` cells where its words allow that."""
    title, *judge = _head(report)
    found: list[Pieces] = [*wrapped(title, width, 2)]
    found += [line for row in judge for line in wrapped(row, width, _LABEL)]
    found.append([])
    for label, rows in _sections(report):
        for number, row in enumerate(rows):
            first = (label if not number else "").ljust(_LABEL)
            parts = _wrapped(row, width)
            found += [[(first if not part else " " * _LABEL, "dim"), *pieces] for part, pieces in parts]
        if rows and label in _SPACED:
            found.append([])
    return found


def plain(report: Sequence[Pieces]) -> str:
    """The lines as text."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in report)


def markdown(report: Report) -> str:
    """The report as a heading, the judge, and a table."""
    title, *judge = ("".join(text for text, _ in line).strip() for line in _head(report))
    table = ["| | |", "|:--|:--|"]
    for label, rows in _sections(report):
        for number, row in enumerate(rows):
            text = " ".join("".join(piece for piece, _ in row).split())
            table.append(f"| {label if not number else ''} | {inline(text)} |")
    return "\n\n".join([f"# {inline(title)}", *map(inline, judge), "\n".join(table)]) + "\n"


def _sections(report: Report) -> list[tuple[str, list[Pieces]]]:
    """Label and rows of each section that has any."""
    sections: list[tuple[str, Iterator[Pieces]]] = [
        ("score", _score(report.score, report.max_score)),
        ("violations", _violations(report.violations)),
        ("reading", reading(report.reading, report.arms)),
        ("principles", _principles(report.principles)),
        ("benign", (_benign(one) for one in report.benign)),
        ("cost", _cost(report.cost, report.arms)),
        ("health", _health(report.health)),
        ("training", _trainings(report.trainings)),
        ("trade-off", _trade_off(report)),
        ("pairs", _pairs(report.pairs)),
        ("rule", _conditions(report.conditions)),
        ("next", ([(text, "text")] for text in report.advice)),
        ("run", _run(report)),
    ]
    made = [(label, list(rows)) for label, rows in sections]
    return [(label, rows) for label, rows in made if rows]


def _wrapped(row: Pieces, width: int) -> Iterator[tuple[int, Pieces]]:
    """A row on one line, or where it is too long on several: its last piece below one another, where that is a sentence
    that has room, else the whole row with hanging indent."""
    *head, (text, role) = row
    indent = sum(len(piece) for piece, _ in head)
    room = width - _LABEL
    if indent + len(text) <= room:
        yield 0, row
    elif " " not in text.strip() or text.startswith(" ") or room - indent < _LEAST_SENTENCE:
        yield from enumerate(wrapped(row, max(8, room), 2))
    else:
        for number, (start, end) in enumerate(wrap(text, room - indent)):
            yield number, [*(head if not number else [(" " * indent, "text")]), (text[start:end], role)]


def _head(report: Report) -> Iterator[Pieces]:
    title, role = OUTCOMES.get(report.outcome, (report.outcome.capitalize() or "Figures", "text"))
    yield [(title, f"{role} strong"), (f"  for {report.scope}" if report.scope else "", "dim")]
    if report.judge:
        accuracy = report.accuracy or "its accuracy was not measured"
        yield [("judge".ljust(_LABEL), "dim"), (report.judge, "text"), (f" · {accuracy}", "dim")]
    if report.agreement:
        found = report.agreement
        yield [(" " * _LABEL, "dim"), (agreement_text(found.texts, found.same, found.kappa), "text")]


def _score(score: Change | None, highest: float | None) -> Iterator[Pieces]:
    if score is None:
        return
    row: list[tuple[str, str]] = [*_change(score, 2)]
    row += [(f" of {highest:.1f}", "dim")] if highest is not None else []
    row += [(f"   {signed_share(score.relative)}", "strong")] if score.relative is not None else []
    if score.relative_interval is not None:
        low, high = score.relative_interval
        row.append((f"   95 % interval {range_text(signed_share(low), signed_share(high))}", "text"))
    elif score.interval is not None:
        low, high = score.interval
        row.append((f"   95 % interval of the change {range_text(f'{low:+.2f}', f'{high:+.2f}')}", "text"))
    if row:
        yield row
    row = [(f"n {score.n}" if score.n is not None else "n –", "text")]
    counts = ((score.better, "better"), (score.worse, "worse"), (score.tied, "the same"))
    known = ", ".join(f"{number:,} {word}" for number, word in counts if number is not None)
    row += [(f" · {known}", "dim")] if known else []
    row += [(f" · {format_p(score.p)}", "dim")] if score.p is not None else []
    if score.smallest_detectable_relative is not None:
        row.append((f" · smallest detectable {share(score.smallest_detectable_relative)}", "dim"))
    elif score.smallest_detectable is not None:
        row.append((f" · smallest detectable {score.smallest_detectable:.2f}", "dim"))
    row += [(f" · {score.excluded:,} without a verdict", "warn")] if score.excluded else []
    yield row


def _violations(found: Change | None) -> Iterator[Pieces]:
    if found is None:
        return
    test = f", McNemar {format_p(found.p)}" if found.p is not None else ""
    better, worse = _shown(found.better), _shown(found.worse)
    yield [
        *_change(found, 0),
        (f" of {_shown(found.n if found.answers is None else found.answers)}", "dim"),
        (f"   {better} better, {worse} worse{test}", "text"),
    ]


def reading(found: BlindReading | None, arms: tuple[str, str] = ARMS) -> Iterator[Pieces]:
    """What a reader preferred blind: share, sign test, and the agreement with the judge."""
    if found is None:
        return
    decided = found.trained + found.base
    row: list[tuple[str, str]] = [(f"{arms[1]} preferred ", "text"), (f"{found.trained:,} of {decided:,}", "strong")]
    row += [(f"   {estimate_text(found.share)}", "text")] if found.share is not None else []
    row += [(f"   sign test {format_p(found.p)}", "text")] if found.p is not None else []
    yield row
    others = ((found.fine, "both fine"), (found.bad, "both bad"), (found.skipped, "skipped"))
    known = ", ".join(f"{number:,} {word}" for number, word in others if number)
    yield [("read blind" + (f" · {known}" if known else ""), "dim")]
    if found.agreement is not None:
        yield [
            (f"the judge prefers the same answer in {estimate_text(found.agreement)} of {found.judged:,} pairs", "dim")
        ]


def _principles(changes: Sequence[PrincipleChange]) -> Iterator[Pieces]:
    room = max([12, *(len(short_name(one.principle)) for one in changes)]) + 1
    return (_principle(one, room) for one in changes)


def _principle(one: PrincipleChange, room: int) -> Pieces:
    sign, role = {"better": ("✓", "good"), "worse": ("✗", "bad")}.get(one.outcome, ("–", "dim"))
    size = signed_share(one.change.relative) if one.change.relative is not None else ""
    return [
        (f"{sign} ", role),
        (short_name(one.principle).ljust(room), "text"),
        *_change(one.change, 2),
        (size.rjust(7), "strong"),
        (f"  Holm {format_p(one.holm_p)}" if one.holm_p is not None else "", "dim"),
        (f"  {one.outcome}", role),
    ]


def _benign(one: BenignChange) -> Pieces:
    role = "good" if one.not_inferior else "warn"
    bound = f", at most {one.bound:.3f} worse" if one.bound is not None else ""
    allowed = f" (allowed {one.margin:g})" if one.margin is not None else ""
    return [
        ("✓ " if one.not_inferior else "– ", role),
        (f"{one.what} ".ljust(12), "text"),
        *_change(one.change, 2),
        (f" of {_shown(one.change.n)} prompts{bound}{allowed}: ", "dim"),
        ("not worse" if one.not_inferior else "not shown to be as good", role),
    ]


def _neutral(one: NeutralTexts, kl: float) -> Iterator[tuple[str, str]]:
    """How far a training moved the model on neutral texts."""
    yield f"KL {kl:.3f} nats per token", "text"
    if one.kl_interval is not None:
        low, high = (f"{end:.3f}" for end in one.kl_interval)
        yield f", 95 % interval {range_text(low, high)}", "dim"
    if one.cross_entropy_base is not None and one.cross_entropy_trained is not None:
        losses = change(f"{one.cross_entropy_base:.2f}", f"{one.cross_entropy_trained:.2f}")
        yield f"   cross-entropy {losses}", "text"
    yield f" on {_shown(one.texts)} neutral texts", "dim"


def _cost(cost: Cost | None, arms: tuple[str, str]) -> Iterator[Pieces]:
    """What the training changed where nothing was to be corrected, and which benign prompts are refused since."""
    if cost is None:
        return
    for one in cost.neutral:
        if one.kl is not None:
            place = f"training {_shown(one.training)}  " if len(cost.neutral) > 1 else ""
            yield [(place, "dim"), *_neutral(one, one.kl)]
    if cost.declined is not None:
        yield [
            ("held-out answers that decline ", "text"),
            *_change(cost.declined, 0),
            (f" of {_shown(cost.declined.answers)}", "dim"),
        ]
    if cost.score_answered is not None and cost.score_answered.n:
        prompts = f" on the {cost.score_answered.n:,} prompts that neither model declines"
        yield [("score ", "text"), *_change(cost.score_answered, 2), (prompts, "dim")]
    if cost.benign_unusable is not None:
        unusable = _change(cost.benign_unusable, 0)
        yield [
            ("benign answers that are no answer ", "text"),
            *unusable,
            (f" of {_shown(cost.benign_unusable.answers)}", "dim"),
        ]
        for who, role, refused in (
            (_model(arms[1]), "warn", cost.refused_only_by_trained),
            (_model(arms[0]), "dim", cost.refused_only_by_base),
        ):
            yield [(f"benign prompts that only {who} refused: {len(refused) or 'none'}", "text")]
            for item, prompt in refused:
                yield [(f"  {item}  ", role), (prompt, "text")]


def _model(arm: str) -> str:
    return f"the {arm} model" if arm in ARMS else arm


def _health(health: Health) -> Iterator[Pieces]:
    parts = [
        f"{word} {change(share(base, digits), share(trained, digits))}"
        for name, word, digits in _HEALTH
        for base, trained in ([health.figures[name]] if name in health.figures else [])
    ]
    if "words" in health.figures:
        base, trained = health.figures["words"]
        parts.insert(1, f"length {change(f'{base:.0f}', f'{trained:.0f}')} words")
    if parts:
        yield [("   ".join(parts), "text")]
    for alarm in health.alarms:
        yield [("– ", "warn"), (alarm, "warn")]


def _trainings(trainings: Sequence[TrainingResult]) -> Iterator[Pieces]:
    """Each training's own result where there are several; alarms, and which checkpoint is compared after one."""
    for one in trainings:
        if one.score is not None:
            size = f"   {signed_share(one.score.relative)}" if one.score.relative is not None else ""
            row: list[tuple[str, str]] = [
                (f"seed {_shown(one.seed)}  ", "text"),
                *_change(one.score, 2),
                (size, "strong"),
            ]
            if one.score.interval is not None:
                low, high = (f"{end:+.2f}" for end in one.score.interval)
                row.append((f"   95 % interval of the change {range_text(low, high)}", "text"))
            if one.violations is not None:
                row += [("   violations ", "dim"), *_change(one.violations, 0)]
            yield row
        for alarm in one.alarms:
            yield [("– ", "warn"), (alarm, "warn")]
        if one.restored is not None:
            kept = f"the adapter of step {one.restored:,} of {_shown(one.steps)}, the last healthy one"
            none = f"the untrained model: none of {_shown(one.steps)} steps was healthy"
            yield [("– ", "warn"), (f"compared: {kept if one.restored else none}", "warn")]


def _trade_off(report: Report) -> Iterator[Pieces]:
    """What each training gained and what it cost, as bars on a common scale."""
    points = report.trade_offs
    if not points:
        return
    most_gained, most_lost = max(one.gain for one in points), max(one.damage for one in points)
    for one in points:
        role = "good" if one.gain > 0 else "bad"
        yield [
            (f"seed {_shown(one.seed)}".ljust(9), "text"),
            ("gain ", "dim"),
            (f"{one.gain:+.2f} ", "strong"),
            (_bar(one.gain, most_gained), role),
            (" damage ", "dim"),
            (f"{one.damage:.3f} ", "strong"),
            (_bar(one.damage, most_lost), "warn"),
        ]
    yield [("gain: how far the score fell; damage: KL on neutral texts; the longest bar is the largest value", "dim")]


def _bar(value: float, largest: float) -> str:
    """A bar of fixed width; dots are what is missing to the largest value."""
    share = max(0.0, min(1.0, value / largest)) if math.isfinite(value) and largest > 0 else 0.0
    filled = round(_BAR * share)
    return "━" * filled + "·" * (_BAR - filled)


def _pairs(pairs: Pairs | None) -> Iterator[Pieces]:
    if pairs is None or not pairs.examples:
        return
    of = f" of {pairs.examples:,}" if pairs.examples is not None else ""
    yield [(f"{_shown(pairs.kept)}{of} kept, {_shown(pairs.dropped)} dropped", "text")]
    if pairs.source:
        yield [(pairs.source, "text")]
    for reason, number in pairs.reasons:
        yield [(f"{number}  ".rjust(5), "text"), (reason, "dim")]


def _conditions(conditions: Sequence[Condition]) -> Iterator[Pieces]:
    """The rule as a checklist; below each condition that is not met, what would meet it."""
    for one in conditions:
        sign, role = ("✓", "good") if one.met else ("–", "warn") if one.needed else ("·", "dim")
        yield [(f"{sign} ", role), (_CONDITIONS.get(one.id, one.id).ljust(12), "text"), (one.detail, "dim")]
        if not one.met and one.remedy:
            yield [(" " * 14, "text"), ("not met: ", role), (one.remedy, "text")]


def _run(report: Report) -> Iterator[Pieces]:
    took = duration(min(report.seconds, 1e9)) if report.seconds is not None else ""
    parts = (report.models, report.constitution, took)
    text = " · ".join(part for part in parts if part)
    if text:
        yield [(text, "dim")]


def _change(figures: Change, digits: int) -> Iterator[tuple[str, str]]:
    if figures.base is not None and figures.trained is not None:
        yield (f"{figures.base:.{digits}f}", "text")
        yield (f" → {figures.trained:.{digits}f}", "strong")


def _shown(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"
