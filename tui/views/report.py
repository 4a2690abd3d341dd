"""A run's report as lines of text with roles: what the report screen shows, and what it copies.

Works from `report.json` (docs/report.md) or, while that is not there, from the summary in the journal. A member that
is missing, or of another kind, is left out: a report may come from another version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from engine.text import sanitize, truncate
from tui.views.formatting import duration, short_name
from tui.views.verdict import agreement_words
from tui.widgets.lines import Pieces
from tui.widgets.log.wrap import wrap

_OUTCOMES = {
    "confirmed": ("Improvement confirmed", "good"),
    "not confirmed": ("Improvement not confirmed", "warn"),
    "worse": ("The trained model is worse", "bad"),
    "nothing trained": ("Nothing was trained", "warn"),
}
_CONDITIONS = {
    "held_out": "held out",
    "score": "score",
    "violations": "violations",
    "benign": "benign",
    "health": "health",
    "judge": "judge",
    "seeds": "seeds",
}
_LABEL = 13

Map = Mapping[str, Any]


def lines(report: Map, width: int = 88) -> list[Pieces]:
    """The report, a list of pieces for each line of at most `width` cells where its words allow that."""
    summary = _map(report, "summary") or report
    found: list[Pieces] = [*_outcome(report, summary), []]
    for label, rows in (
        ("score", _score(summary)),
        ("violations", _violations(summary)),
        ("principles", _principles(summary)),
        ("benign", _benign(summary)),
        ("health", _health(summary)),
        ("pairs", _pairs(report)),
        ("rule", _rule(summary, width - _LABEL)),
        ("next", _advice(report, width - _LABEL)),
        ("run", _run(report)),
    ):
        section = list(rows)
        for number, row in enumerate(section):
            # A report may come from elsewhere, with a text where a figure should be.
            pieces = [(sanitize(text).replace("\n", " "), role) for text, role in row]
            found.append([((label if not number else "").ljust(_LABEL), "dim"), *pieces])
        if section and label in ("principles", "pairs", "rule"):
            found.append([])
    return found


def _outcome(report: Map, summary: Map) -> Iterator[Pieces]:
    word = str(summary.get("outcome", ""))
    title, role = _OUTCOMES.get(word, (_plain(word).capitalize() or "Figures", "text"))
    scope = _plain(summary.get("scope", ""))
    yield [(title, f"{role} strong"), (f"  for {scope}" if scope else "", "dim")]
    judge = _map(report, "judge")
    if judge:
        accuracy = _plain(judge.get("accuracy") or "its accuracy was not measured")
        yield [("judge ", "dim"), (_plain(judge.get("name", "")), "text"), (f" · {accuracy}", "dim")]
    agreed = agreement_words(summary.get("agreement"))
    if agreed:
        yield [("      ", "dim"), (agreed, "text")]


def _score(summary: Map) -> Iterator[Pieces]:
    score = _map(summary, "score")
    if not score:
        return
    row: list[tuple[str, str]] = list(_change(score, 2))
    if _is_number(summary.get("most")):
        row.append((f" of {summary['most']:.1f}", "dim"))
    interval, relative = score.get("relative_interval"), score.get("relative")
    if _is_number(relative):
        row.append((f"   {_percent(relative)}", "strong"))
    if _is_pair(interval):
        row.append((f"   95 % interval {_percent(interval[0])} to {_percent(interval[1])}", "text"))
    elif _is_pair(score.get("interval")):
        low, high = score["interval"]
        row.append((f"   95 % interval of the change {low:+.2f} to {high:+.2f}", "text"))
    yield row
    row = [(f"n {score.get('n', '–')}", "text")]
    counts = [(score.get(name), name) for name in ("better", "worse")] + [(score.get("tied"), "the same")]
    row.append((" · " + ", ".join(f"{number} {word}" for number, word in counts if number is not None), "dim"))
    if _is_number(score.get("p")):
        row.append((f" · p {_p(score['p'])}", "dim"))
    smallest = score.get("smallest_detectable_relative")
    if _is_number(smallest):
        row.append((f" · smallest detectable {100 * smallest:.0f} %", "dim"))
    elif _is_number(score.get("smallest_detectable")):
        row.append((f" · smallest detectable {score['smallest_detectable']:.2f}", "dim"))
    if score.get("excluded"):
        row.append((f" · {score['excluded']} without a verdict", "warn"))
    yield row


def _violations(summary: Map) -> Iterator[Pieces]:
    found = _map(summary, "violations")
    if not found:
        return
    p = f", McNemar p {_p(found['p'])}" if _is_number(found.get("p")) else ""
    yield [
        *_change(found, 0),
        (f" of {found.get('n', '–')}", "dim"),
        (f"   {found.get('better', '–')} better, {found.get('worse', '–')} worse{p}", "text"),
    ]


def _principles(summary: Map) -> Iterator[Pieces]:
    for one in _maps(summary.get("principles")):
        result = _map(one, "result")
        outcome = str(one.get("outcome", ""))
        sign, role = {"better": ("✓", "good"), "worse": ("✗", "bad")}.get(outcome, ("–", "dim"))
        relative = result.get("relative")
        size = _percent(relative) if _is_number(relative) else ""
        yield [
            (f"{sign} ", role),
            (short_name(str(one.get("principle", ""))).ljust(14), "text"),
            *_change(result, 2),
            (size.rjust(8), "strong"),
            (f"   p {_p(one['holm_p'])} (Holm)" if _is_number(one.get("holm_p")) else "", "dim"),
            (f"   {_plain(outcome)}", role),
        ]


def _benign(summary: Map) -> Iterator[Pieces]:
    for one in _maps(summary.get("benign")):
        holds = bool(one.get("holds"))
        bound = f", at most {one['bound']:.3f} worse" if _is_number(one.get("bound")) else ""
        yield [
            ("✓ " if holds else "– ", "good" if holds else "warn"),
            (f"{_plain(one.get('what', ''))} ".ljust(12), "text"),
            *_change(one, 2),
            (f" of {one.get('n', '–')} prompts{bound} (allowed {one.get('margin', '–')}): ", "dim"),
            ("not worse" if holds else "not shown to be as good", "good" if holds else "warn"),
        ]


def _health(summary: Map) -> Iterator[Pieces]:
    health = _map(summary, "health")
    base, trained = _map(health, "base"), _map(health, "trained")
    if not base or not trained:
        return
    row: list[tuple[str, str]] = []
    for name, word, scale, unit, digits in (
        ("repetition", "repetition", 100, " %", 1),
        ("words", "length", 1, " words", 0),
        ("empty", "empty", 100, " %", 0),
    ):
        one, other = base.get(name), trained.get(name)
        if _is_number(one) and _is_number(other):
            text = f"{word} {scale * one:.{digits}f} → {scale * other:.{digits}f}{unit}"
            row.append((("   " if row else "") + text, "text"))
    yield row
    for alarm in _texts(health.get("alarms")):
        yield [("– ", "warn"), (alarm, "warn")]


def _pairs(report: Map) -> Iterator[Pieces]:
    pairs = _map(report, "pairs")
    if pairs:
        yield [(f"{pairs.get('kept', '–')} kept, {pairs.get('dropped', '–')} dropped", "text")]
        for reason, number in _map(pairs, "reasons").items():
            yield [(f"{number}  ".rjust(5), "text"), (_plain(reason), "dim")]


def _rule(summary: Map, width: int) -> Iterator[Pieces]:
    for one in _maps(summary.get("conditions")):
        met, needed = bool(one.get("met")), bool(one.get("needed"))
        sign, role = ("✓ ", "good") if met else ("– ", "warn") if needed else ("· ", "dim")
        name = _CONDITIONS.get(str(one.get("id")), _plain(one.get("id", "")))
        detail = _plain(one.get("detail", ""))
        for number, (start, end) in enumerate(wrap(detail, max(20, width - 14))):
            head = [(sign, role), (name.ljust(12), "text")] if not number else [(" " * 14, "text")]
            yield [*head, (detail[start:end], "dim")]


def _advice(report: Map, width: int) -> Iterator[Pieces]:
    advice = report.get("advice")
    for text in [advice] if isinstance(advice, str) else _texts(advice):
        text = _plain(text)
        for start, end in wrap(text, max(20, width)):
            yield [(text[start:end], "text")]


def _run(report: Map) -> Iterator[Pieces]:
    seconds = report.get("seconds")
    models = _map(report, "models")
    parts = [_plain(models.get("generator", ""))]
    constitution = _plain(_map(report, "constitution").get("name", ""))
    parts.append(constitution)
    parts.append(duration(seconds) if _is_number(seconds) else "")
    text = " · ".join(part for part in parts if part)
    if text:
        yield [(text, "dim")]


def plain(report: Sequence[Pieces]) -> str:
    """The lines as text."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in report)


def _change(figures: Map, digits: int) -> Iterator[tuple[str, str]]:
    base, trained = figures.get("base"), figures.get("trained")
    if _is_number(base) and _is_number(trained):
        yield (f"{base:.{digits}f}", "text")
        yield (f" → {trained:.{digits}f}", "strong")


def _percent(share: float) -> str:
    return f"{100 * share:+.0f} %".replace("-", "−")


def _p(p: float) -> str:
    return "< .001" if p < 0.001 else f"{p:.3f}".lstrip("0")


def _map(members: Map, name: str) -> Map:
    found = members.get(name)
    return found if isinstance(found, Mapping) else {}


def _maps(found: Any) -> list[Map]:
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list | tuple) else []


def _texts(found: Any) -> list[str]:
    return [_plain(one) for one in found if isinstance(one, str)] if isinstance(found, list | tuple) else []


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_pair(value: Any) -> TypeGuard[tuple[float, float]]:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value))


def _plain(text: Any) -> str:
    return truncate(sanitize(str(text)).replace("\n", " "), 400)
