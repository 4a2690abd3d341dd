"""A report as lines for a person: the outcome first, then the figures it rests on, then what it is about.

Works from `report.json` alone and leaves out what is not there: a report may be of another version, or damaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from engine.text import sanitize, truncate
from tui.views.formatting import duration, mark_of, short_name
from tui.views.verdict import agreement_words

_OUTCOMES = {
    "confirmed": "Improvement confirmed",
    "not confirmed": "Improvement not confirmed",
    "worse": "Worse than before",
}


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report's lines; the first says the outcome."""
    summary = _object(report, "summary")
    outcome = _word(summary, "outcome")
    scope = _word(summary, "scope")
    yield _OUTCOMES.get(outcome, outcome.capitalize() or "No outcome") + (f" ({scope})" if scope else "")
    rows = [*_results(summary), *_conditions(summary), *_made_of(report)]
    for name, value in rows:
        yield f"  {name:<11} {value}".rstrip()


def _results(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    score, violations, health = (_object(summary, name) for name in ("score", "violations", "health"))
    if score:
        base, trained = _figure(score.get("base")), _figure(score.get("trained"))
        yield "score", f"base {base} → trained {trained} of {_figure(summary.get('most'), '.1f')}{_change(score)}"
    if violations:
        better, worse = _figure(violations.get("better")), _figure(violations.get("worse"))
        test = f"{better} better, {worse} worse, McNemar p {_p(violations.get('p'))}"
        yield "violations", f"{_arms(violations)} of {_figure(violations.get('n'))} ({test})"
    for name, principle in zip(_first_then_none("principles"), _objects(summary, "principles"), strict=False):
        words = {"better": "better ✓", "worse": "worse ✗"}.get(_word(principle, "outcome"), "unclear")
        short = short_name(_word(principle, "principle"))
        yield name, f"{short:<13} {_arms(_object(principle, 'result'))}  {words} (Holm p {_p(principle.get('holm_p'))})"
    for name, benign in zip(_first_then_none("benign"), _objects(summary, "benign"), strict=False):
        holds = "not inferior" if benign.get("holds") is True else "not shown to be harmless"
        limits = f"bound {_figure(benign.get('bound'))}, allowed {_figure(benign.get('margin'))}"
        yield name, f"{_word(benign, 'what')} {_arms(benign)}, {holds} ({limits}, n {_figure(benign.get('n'))})"
    if health:
        yield "health", _health(_object(health, "base"), _object(health, "trained"))
        alarms = health.get("alarms")
        for alarm in alarms if isinstance(alarms, list) else ():
            yield "", f"alarm: {_line(alarm)}"


def _arms(members: Mapping[str, Any]) -> str:
    return f"{_figure(members.get('base'))} → {_figure(members.get('trained'))}"


def _health(base: Mapping[str, Any], trained: Mapping[str, Any]) -> str:
    repetition = f"{_percent(base.get('repetition'))} → {_percent(trained.get('repetition'))}"
    return (
        f"repetition {repetition}, {_figure(base.get('words'), '.0f')} → {_figure(trained.get('words'), '.0f')} words"
    )


def _change(score: Mapping[str, Any]) -> str:
    relative, interval = score.get("relative"), score.get("interval")
    parts = f" ({100 * relative:+.0f} %)" if _is_number(relative) else ""
    if isinstance(interval, Sequence) and len(interval) == 2 and all(map(_is_number, interval)):
        parts += f", 95 % interval of the change {interval[0]:+.2f} to {interval[1]:+.2f}"
    parts += f", n {_figure(score.get('n'))}"
    if _is_number(score.get("smallest_detectable")):
        parts += f", smallest detectable {_figure(score['smallest_detectable'])}"
    if score.get("excluded"):
        parts += f", {_figure(score['excluded'])} without a verdict left out"
    return parts


def _conditions(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, condition in zip(_first_then_none("rule"), _objects(summary, "conditions"), strict=False):
        met = condition.get("met") is True
        sign = mark_of(not met).sign if condition.get("needed") or met else "–"
        yield name, f"{sign} {_word(condition, 'detail') or _word(condition, 'id')}"


def _made_of(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    pairs = _object(report, "pairs")
    if pairs:
        reasons = ", ".join(f"{_line(reason)} {_figure(n)}" for reason, n in _object(pairs, "reasons").items())
        dropped = f"{_figure(pairs.get('dropped'))} dropped" + (f": {reasons}" if reasons else "")
        yield "pairs", f"{_figure(pairs.get('kept'))} of {_figure(pairs.get('examples'))} kept, {dropped}"
    models, judge = _object(report, "models"), _object(report, "judge")
    if models:
        critic = _word(models, "critic")
        other = f", critic {critic}" if critic != _word(models, "generator") else ""
        yield "generator", _word(models, "generator") + other
    if judge:
        accuracy = _word(judge, "accuracy") or "accuracy not measured"
        yield "judge", f"{_word(judge, 'name')} ({accuracy})"
    agreed = agreement_words(_object(report, "summary").get("agreement"))
    if agreed:
        yield "", agreed
    constitution = _word(_object(report, "constitution"), "name")
    if constitution:
        yield "rules", f"{constitution} constitution"
    seconds = report.get("seconds")
    if _is_number(seconds):
        yield "took", duration(min(float(seconds), 1e9))


def _first_then_none(name: str) -> Iterator[str]:
    yield name
    while True:
        yield ""


def _object(members: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = members.get(name)
    return value if isinstance(value, Mapping) else {}


def _objects(members: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = members.get(name)
    return [member for member in value if isinstance(member, Mapping)] if isinstance(value, list) else []


def _word(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    return _line(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _line(value: Any) -> str:
    return truncate(" ".join(sanitize(str(value)).split()), 400)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e12 < value < 1e12


def _figure(value: Any, form: str = ".2f") -> str:
    if not _is_number(value):
        return "–"
    return f"{value:,}" if isinstance(value, int) else format(value, form)


def _percent(value: Any) -> str:
    return f"{100 * value:.1f} %" if _is_number(value) else "–"


def _p(value: Any) -> str:
    if not _is_number(value):
        return "–"
    return "< .001" if value < 0.001 else f"{value:.3f}"
