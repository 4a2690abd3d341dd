"""Writes the report of a run as one HTML file: figures, conditions, curves, every compared pair, every training pair.

All texts are escaped, scripts and styles are inside, and the page forbids itself every connection. Without scripts it
shows everything; the script only filters, sorts and switches colors.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from engine.export.html import charts, costs
from engine.export.html.markup import count, text
from engine.export.training_pairs import NearestPrompts, TrainingHistory, TrainingPair
from engine.json_values import number_or_none
from engine.runs.more_prompts import needed_prompts
from engine.runs.report import OUTCOMES, BenignChange, Change, Condition, Report
from engine.text import percent, sanitize
from engine.textdiff.diff import AlignedDiff, Span, diff_texts

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
_CHANGES = {"better": "better", "worse": "worse", "same": "same score", "none": "no verdict"}
_SETS = {"heldout": "held out", "benign": "benign"}

Data = Mapping[str, Any]


def page(name: str, data: Data, history: TrainingHistory) -> str:
    """The page.

    Args:
        name: of the run.
        data: what `report.json` holds.
        history: pairs and curves of the run.
    """
    report = Report.of(data)
    title, role = OUTCOMES.get(report.outcome, (report.outcome.capitalize() or "Figures", ""))
    rows = [row for row in data.get("prompts") or () if isinstance(row, Mapping)]
    body = [
        '<header><button type="button" class="theme" hidden>Dark / light</button>',
        f'<h1 class="{role}">{text(title)}</h1>',
        *_head(name, report, data),
        "</header><main>",
        _section("Figures", _figures(report)),
        _section("Conditions", _conditions(report)),
        _section("Principles", _principles(report)),
        _section("Cost", costs.cost(report)),
        _section("Training", _training(report, history)),
        _section("Next", (f"<p>{text(line)}</p>" for line in report.advice)),
        _section("Compared answers", _compared(rows, history.pairs, report.arms), "compared"),
        _section("Training pairs", _pairs(history.pairs, rows), "pairs"),
        "</main><footer>",
        f"<p>Written by Redraft {text(_version(data))}. Every number was measured in this run; the judge is named "
        "above. A text without a verdict counts neither as clean nor as a violation.</p></footer>",
    ]
    style, script = (
        files("engine.export.html").joinpath(f"report.{kind}").read_text("utf-8") for kind in ("css", "js")
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{text(title)} · {text(name)}</title>\n<style>\n{style}</style></head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + f"\n<script>\n{script}</script>\n</body></html>\n"
    )


def _section(title: str, parts: Iterable[str], identifier: str = "") -> str:
    inner = "\n".join(part for part in parts if part)
    mark = f' id="{identifier}"' if identifier else ""
    return f"<section{mark}><h2>{text(title)}</h2>\n{inner}</section>" if inner else ""


def _version(data: Data) -> str:
    versions = data.get("versions")
    return str(versions.get("redraft", "")) if isinstance(versions, Mapping) else ""


def _head(name: str, report: Report, data: Data) -> Iterator[str]:
    finished = data.get("finished")
    date = time.strftime("%Y-%m-%d", time.gmtime(finished)) if isinstance(finished, int | float) else ""
    facts = (name, date, report.models, report.constitution, report.scope and f"about {report.scope}")
    yield f'<p class="facts">{" · ".join(text(fact) for fact in facts if fact)}</p>'
    if report.judge:
        accuracy = report.accuracy or "its accuracy was not measured"
        yield f'<p class="facts">judge: {text(report.judge)} · {text(accuracy)}</p>'
    if report.agreement:
        same, low, high = report.agreement.same
        yield (
            f'<p class="facts">the two judges agree on {percent(same)} of {report.agreement.texts:,} answers '
            f"(95 % interval {100 * low:.0f} to {100 * high:.0f})</p>"
        )


Box = tuple[str, str, str]
"""What a figure is of, the figure, and a note on it."""


def _figures(report: Report) -> Iterator[str]:
    inner = "".join(
        f'<div><span class="dim">{text(label)}</span><b>{text(value)}</b><span class="dim">{text(note)}</span></div>'
        for label, value, note in (*_changed(report), *_counted(report))
    )
    yield f'<div class="figures">{inner}</div>' if inner else ""
    score = report.score
    row = _interval("score", score)
    yield charts.intervals([row[0]], row[1]) if row else ""
    if score is not None and score.smallest_detectable is not None:
        excluded = f" {score.excluded} answers were left out without a verdict." if score.excluded else ""
        yield (
            f'<p class="dim">95 % interval of the change; p {score.p:.3g}. '
            if score.p is not None
            else '<p class="dim">95 % interval of the change. '
        ) + f"This many prompts could show a change of {score.smallest_detectable:.2f}.{text(excluded)}</p>"
    for alarm in report.health.alarms:
        yield f'<p class="warn">{text(alarm)}</p>'


def _changed(report: Report) -> Iterator[Box]:
    """What training changed, by the judge of the comparison."""
    score, violations = report.score, report.violations
    if score is not None and score.base is not None and score.trained is not None:
        most = f" · at most {report.max_score:g}" if report.max_score is not None else ""
        yield "score, lower is better", f"{score.base:.2f} → {score.trained:.2f}", f"n {score.n}{most}"
        yield "prompts", f"{count(score.better)} better", f"{count(score.worse)} worse, {count(score.tied)} the same"
    if violations is not None and violations.base is not None and violations.trained is not None:
        of = f"{count(violations.better)} prompts better, {count(violations.worse)} worse"
        yield "violations", f"{violations.base:.0f} → {violations.trained:.0f}", of
    for one in report.benign:
        if one.change.base is not None and one.change.trained is not None:
            yield f"benign {one.what}", f"{one.change.base:.2f} → {one.change.trained:.2f}", _benign(one)


def _counted(report: Report) -> Iterator[Box]:
    """What was counted in the answers and pairs."""
    for name, (base, trained) in report.health.figures.items():
        shown = f"{base:.0f} → {trained:.0f}" if name == "words" else f"{percent(base)} → {percent(trained)}"
        yield {"words": "words per answer", "empty": "empty answers"}.get(name, name), shown, ""
    if report.pairs is not None and report.pairs.examples:
        dropped = ", ".join(filter(None, [f"{count(report.pairs.dropped)} dropped", report.pairs.source]))
        yield "training pairs", f"{count(report.pairs.kept)} kept", dropped


def _benign(one: BenignChange) -> str:
    bound = f"worse by at most {one.bound:.3f}, allowed {one.margin:g}" if None not in (one.bound, one.margin) else ""
    return f"{bound} · {'not worse' if one.not_inferior else 'not shown to be as good'}".lstrip(" ·")


def _interval(label: str, change: Change | None) -> tuple[charts.IntervalRow, bool] | None:
    """The change as a row of a chart, and whether it is relative; None where there is no interval."""
    if change is None:
        return None
    if change.relative is not None and change.relative_interval is not None:
        low, high = change.relative_interval
        note = f"{100 * change.relative:+.0f} % ({100 * low:+.0f} to {100 * high:+.0f})"
        return charts.IntervalRow(label, change.relative, low, high, note), True
    if change.interval is None or change.base is None or change.trained is None:
        return None
    low, high = change.interval
    value = change.trained - change.base
    return charts.IntervalRow(label, value, low, high, f"{value:+.2f} ({low:+.2f} to {high:+.2f})"), False


def _conditions(report: Report) -> Iterator[str]:
    if not report.conditions:
        return
    items = []
    for one in report.conditions:
        role, sign, word = _met(one)
        more = needed_prompts(report, one)
        missing = f'<b class="{role}">{text(word)}{": " + text(more) if more else ""}</b>'
        items.append(
            f'<li><span class="sign {role}" aria-hidden="true">{sign}</span>{text(one.id.replace("_", " "))} · '
            f'{missing}<br><span class="dim">{text(one.detail)}</span></li>'
        )
    yield f'<ul class="conditions">{"".join(items)}</ul>'


def _met(one: Condition) -> tuple[str, str, str]:
    if one.met:
        return "good", "✓", "met"
    return ("warn", "–", "not met") if one.needed else ("dim", "·", "not met, limits what this is about")


def _principles(report: Report) -> Iterator[str]:
    rows, found = [], []
    for one in report.principles:
        row = _interval(one.principle.replace("_", " ")[:20], one.change)
        if row is not None:
            found.append(row)
        if one.change.base is None or one.change.trained is None:
            continue
        role = {"better": "good", "worse": "bad"}.get(one.outcome, "dim")
        p = f"{one.holm_p:.3g}" if one.holm_p is not None else "–"
        rows.append(
            f'<tr><td>{text(one.principle).replace("_", "_<wbr>")}</td><td class="number">{one.change.base:.3f}</td>'
            f'<td class="number">{one.change.trained:.3f}</td><td class="number">{p}</td>'
            f'<td class="{role}">{text(one.outcome)}</td></tr>'
        )
    if rows:
        yield (
            '<div class="scroll"><table><tr><th>probability of a violation</th>'
            f'<th class="number">{report.arms[0]}</th><th class="number">{report.arms[1]}</th>'
            '<th class="number">p (Holm)</th><th></th></tr>'
            f"{''.join(rows)}</table></div>"
        )
    if found and len({relative for _, relative in found}) == 1:
        yield charts.intervals([row for row, _ in found], found[0][1])


def _training(report: Report, history: TrainingHistory) -> Iterator[str]:
    steps = [(float(n), step.loss) for n, step in enumerate(history.steps, 1) if step.loss is not None]
    marks = [float(epoch) for epoch in history.epochs]
    validation = [(float(step), loss) for step, loss in history.validation]
    if steps:
        yield f"<h3>Loss{' (dots: validation loss)' if validation else ''}</h3>"
        yield charts.curve("Training loss by step", steps, validation, marks)
    margins = [
        (float(n), step.rewards_margins) for n, step in enumerate(history.steps, 1) if step.rewards_margins is not None
    ]
    if margins:
        yield "<h3>Reward margin</h3>"
        yield charts.curve("Reward of the chosen minus that of the rejected answer, by step", margins, [], marks)
    if report.pairs is not None and report.pairs.reasons:
        items = "".join(f"<li>{number:,} {text(reason)}</li>" for reason, number in report.pairs.reasons)
        yield f"<h3>Pairs that were dropped</h3><ul>{items}</ul>"


def _form(fields: Sequence[str]) -> str:
    inner = "".join(fields)
    search = '<label>text <input type="search" name="search"></label>'
    return (
        f'<form class="filters" hidden>{inner}{search}<button type="reset">All</button>'
        '<output aria-live="polite"></output></form>'
    )


def _select(label: str, name: str, options: Mapping[str, str], first: str = "all") -> str:
    inner = "".join(f'<option value="{text(value)}">{text(shown)}</option>' for value, shown in options.items())
    return f'<label>{label} <select name="{name}"><option value="">{first}</option>{inner}</select></label>'


def _filters(rows: Sequence[Data]) -> str:
    principles = sorted({name for row in rows for name in _row_principles(row)})
    kinds = sorted({str(change.get("label", "")) for row in rows for change in _changes(row)})
    return _form(
        [
            _select("set", "set", _SETS),
            _select("principle", "principle", {name: name.replace("_", " ") for name in principles}),
            _select("score", "change", _CHANGES),
            _select("kind of change", "kind", {kind: kind for kind in kinds}) if kinds else "",
            _select("order", "order", {"size": "largest change first"}, "as in the report"),
        ]
    )


def _compared(rows: Sequence[Data], pairs: Sequence[TrainingPair], arms: tuple[str, str]) -> Iterator[str]:
    if not rows:
        yield '<p class="dim">This run keeps no texts.</p>'
        return
    kept = [pair for pair in pairs if pair.kept]
    nearest = NearestPrompts([pair.prompt for pair in kept])
    samples = 1 + max(int(row.get("sample") or 0) for row in rows)
    yield _filters(rows)
    parts = []
    for number, row in enumerate(rows):
        near = [(kept[place], value) for place, value in nearest.nearest(str(row.get("prompt", "")))]
        parts.append(_article(number, row, near, samples, arms))
    yield f'<div class="list">{"".join(parts)}</div>'


def _row_principles(row: Data) -> set[str]:
    """What the prompt tempts to, and what either answer breaks."""
    found = {str(row.get("principle") or "")}
    for arm in ("base_verdict", "trained_verdict"):
        verdict = row.get(arm)
        if isinstance(verdict, Mapping) and isinstance(verdict.get("broken"), list | tuple):
            found |= {str(name) for name in verdict["broken"]}
    return found - {""}


def _changes(row: Data) -> list[Data]:
    found = row.get("changes")
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _score(row: Data, arm: str) -> float | None:
    return number_or_none(row.get(f"{arm}_score"))


def _article(
    number: int, row: Data, near: Sequence[tuple[TrainingPair, float]], samples: int, arms: tuple[str, str]
) -> str:
    base, trained = _score(row, "base"), _score(row, "trained")
    diff, left, right = _sides(str(row.get("base", "")), str(row.get("trained", "")))
    if base is None or trained is None:
        change = "none"
    else:
        change = "better" if trained < base else "worse" if trained > base else "same"
    size = abs((trained or 0) - (base or 0)) * 1000 + diff.changed_words_left + diff.changed_words_right
    kinds = "|".join(str(one.get("label", "")) for one in _changes(row))
    about = [_SETS.get(str(row.get("set", "")), ""), str(row.get("id", "")), str(row.get("topic") or "")]
    about += [f"answer {int(row.get('sample') or 0) + 1} of {samples}"] if samples > 1 else []
    role = {"better": "good", "worse": "bad"}.get(change, "dim")
    return (
        f'<article id="compared-{number}" data-set="{text(row.get("set", ""))}" data-change="{change}" '
        f'data-principle="{text("|".join(sorted(_row_principles(row))))}" data-kind="{text(kinds)}" '
        f'data-size="{size:.0f}"><span class="dim">{text(" · ".join(part for part in about if part))}</span>'
        f'<p class="prompt">{text(row.get("prompt", ""))}</p><div class="sides">'
        f'<div><h3>{arms[0].capitalize()} <span class="dim">score {_shown(base)}</span></h3><p>{left}</p></div>'
        f'<div><h3>{arms[1].capitalize()} <span class="{role}">score {_shown(trained)}</span></h3><p>{right}</p></div>'
        "</div>" + _chips(row) + _verdicts(row, arms) + _near(near) + "</article>"
    )


def _chips(row: Data) -> str:
    """The kinds of change of a row as a list; "" where there are none."""
    chips = "".join(
        f'<li class="{"good" if one.get("better") else "bad"}">{"+" if one.get("better") else "−"} '
        f"{text(one.get('label', ''))}</li>"
        for one in _changes(row)
    )
    return f'<ul class="chips">{chips}</ul>' if chips else ""


def _sides(left: str, right: str) -> tuple[AlignedDiff, str, str]:
    """The difference of two texts, and both with their changes marked."""
    diff = diff_texts(sanitize(left), sanitize(right))
    before = "".join(_span(span) for part in diff.rows for span in part.left)
    after = "".join(_span(span) for part in diff.rows for span in part.right)
    return diff, before, after


def _span(span: Span) -> str:
    if span.kind == "same":
        return escape(span.text)
    tag = "del" if span.kind == "removed" else "ins"
    inner, at = "", 0
    for start, end in span.changed:
        inner += f"{escape(span.text[at:start])}<u>{escape(span.text[start:end])}</u>"
        at = end
    return f"<{tag}>{inner}{escape(span.text[at:])}</{tag}>"


def _shown(score: float | None) -> str:
    return "–" if score is None else f"{score:.1f}"


def _verdicts(row: Data, arms: tuple[str, str]) -> str:
    base, trained = _verdict(row, "base"), _verdict(row, "trained")
    probabilities = [_mapping(one.get("principles")) for one in (base, trained)]
    names = list(dict.fromkeys([*probabilities[0], *probabilities[1]]))
    lines = "".join(
        f'<tr><td>{text(name)}</td><td class="number">{_probability(probabilities[0], name)}</td>'
        f'<td class="number">{_probability(probabilities[1], name)}</td></tr>'
        for name in names
    )
    table = (
        f'<table><tr><th>probability of a violation</th><th class="number">{arms[0]}</th>'
        f'<th class="number">{arms[1]}</th></tr>{lines}</table>'
        if lines
        else ""
    )
    reasons = "".join(
        f'<p class="text"><b>{arm.capitalize()}:</b> {text(one.get("reasoning") or one.get("note") or "–")}</p>'
        for arm, one in zip(arms, (base, trained), strict=True)
    )
    return f"<details><summary>Verdicts</summary>{table}{reasons}</details>"


def _verdict(row: Data, arm: str) -> Data:
    return _mapping(row.get(f"{arm}_verdict"))


def _mapping(value: Any) -> Data:
    return value if isinstance(value, Mapping) else {}


def _probability(found: Data, name: str) -> str:
    value = found.get(name)
    return f"{value:.2f}" if isinstance(value, int | float) else "–"


def _near(near: Sequence[tuple[TrainingPair, float]]) -> str:
    if not near:
        return ""
    items = "".join(
        f'<li><a href="#pair-{text(pair.item)}">{text(pair.prompt)}</a> <span class="dim">{value:.2f}</span></li>'
        for pair, value in near
    )
    return f"<details><summary>Training prompts with similar words ({len(near)})</summary><ul>{items}</ul></details>"


def _pairs(pairs: Sequence[TrainingPair], rows: Sequence[Data]) -> Iterator[str]:
    shown = [pair for pair in pairs if pair.prompt or pair.chosen]
    if not shown:
        return
    principles = sorted({pair.principle for pair in shown if pair.principle})
    yield _form(
        [
            _select("pair", "kept", {"yes": "kept", "no": "dropped"}),
            _select("principle", "principle", {name: name.replace("_", " ") for name in principles}),
        ]
    )
    first = {str(row.get("prompt", "")): number for number, row in reversed(list(enumerate(rows)))}
    prompts = list(first)
    nearest = NearestPrompts(prompts)
    parts = []
    for pair in shown:
        near = [(first[prompts[place]], prompts[place], value) for place, value in nearest.nearest(pair.prompt)]
        parts.append(_pair(pair, near))
    yield f'<div class="list">{"".join(parts)}</div>'


def _pair(pair: TrainingPair, near: Sequence[tuple[int, str, float]]) -> str:
    state = "kept" if pair.kept else f"dropped: {pair.reason or 'no reason'}"
    about = " · ".join(part for part in (pair.item, pair.principle.replace("_", " "), state) if part)
    texts = [("Draft", pair.draft), ("Critique", pair.critique)]
    detail = "".join(f'<h3>{label}</h3><p class="text">{text(words)}</p>' for label, words in texts if words)
    _, left, right = _sides(pair.rejected, pair.chosen)
    links = "".join(
        f'<li><a href="#compared-{number}">{text(prompt)}</a> <span class="dim">{value:.2f}</span></li>'
        for number, prompt, value in near
    )
    lineage = (
        f"<details><summary>Compared prompts with similar words ({len(near)})</summary><ul>{links}</ul></details>"
        if links
        else ""
    )
    sides = "".join(
        f'<div><h3>{label} <span class="dim">expected score {_expected(score)}</span></h3><p>{words}</p></div>'
        for label, score, words in (
            ("Rejected", pair.expected_rejected, left),
            ("Chosen", pair.expected_chosen, right),
        )
    )
    return (
        f'<article id="pair-{text(pair.item)}" data-kept="{"yes" if pair.kept else "no"}" '
        f'data-principle="{text(pair.principle)}"><span class="dim">{text(about)}</span>'
        f'<p class="prompt">{text(pair.prompt)}</p><div class="sides">{sides}</div>'
        + (f"<details><summary>Draft and critique</summary>{detail}</details>" if detail else "")
        + f"{lineage}</article>"
    )


def _expected(score: float | None) -> str:
    return "–" if score is None else f"{score:.2f}"
