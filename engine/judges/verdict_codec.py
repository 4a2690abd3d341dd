"""Encodes a verdict as the data and texts of an event, and decodes it: a resumed run judges nothing twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.judges.base import Finding, Verdict


def to_data(verdict: Verdict) -> dict[str, Any]:
    """The numbers and ids of a verdict; quotes nothing from the judged text."""
    return {
        "flagged": verdict.flagged,
        "probability": _rounded(verdict.probability),
        "principles": {principle: _rounded(p) for principle, p in verdict.principles.items()},
        "broken": list(verdict.broken),
        "score": verdict.score,
        "category": verdict.category,
        "method": verdict.method,
        "judge": verdict.judge,
        "spans": [
            {
                "start": f.start,
                "end": f.end,
                "principle": f.principle,
                "category": f.category,
                "rule": f.rule,
                "weight": f.weight,
            }
            for f in verdict.findings
        ],
        "seconds": round(verdict.seconds, 4),
    }


def texts(verdict: Verdict) -> dict[str, str]:
    """The words of a verdict, which may quote the judged text."""
    return {"reasoning": verdict.reasoning} if verdict.reasoning else {}


def raw(verdict: Verdict) -> dict[str, str]:
    """What only the most verbose log shows: a model's prompt and output."""
    members = {"model response": verdict.response, "judge request": verdict.request, "note": verdict.note}
    return {label: text for label, text in members.items() if text}


def from_members(
    key: str, data: Mapping[str, Any], text: Mapping[str, str] | None = None, rest: Mapping[str, str] | None = None
) -> Verdict:
    """Decode what `to_data`, `texts` and `raw` encoded."""
    text, rest = text or {}, rest or {}
    return Verdict(
        key=key,
        flagged=data.get("flagged"),
        principles=dict(data.get("principles") or {}),
        broken=tuple(data.get("broken") or ()),
        score=data.get("score"),
        category=str(data.get("category") or ""),
        reasoning=text.get("reasoning", ""),
        method=str(data.get("method") or "none"),
        judge=str(data.get("judge") or ""),
        findings=tuple(
            Finding(
                principle=str(s["principle"]),
                category=str(s["category"]),
                start=int(s["start"]),
                end=int(s["end"]),
                rule=str(s["rule"]),
                weight=float(s.get("weight", 1.0)),
            )
            for s in data.get("spans") or ()
        ),
        response=rest.get("model response", ""),
        request=rest.get("judge request", ""),
        seconds=float(data.get("seconds") or 0.0),
        note=rest.get("note", ""),
    )


def summary(verdict: Verdict, max_score: float) -> str:
    """A verdict in one line, without quoting the text: "score 2.0 of 4.0 · ✗ autonomy_respect .94 · by rules"."""
    if verdict.flagged is None or verdict.score is None:
        return "no verdict"
    parts = [f"score {verdict.score:.1f} of {max_score:.1f}"]
    parts += [f"✗ {principle} {_short(verdict.principles.get(principle))}".rstrip() for principle in verdict.broken]
    if not verdict.broken:
        parts.append("✓ no principle broken")
    parts.append(f"by {verdict.method}")
    return " · ".join(parts)


def _short(probability: float | None) -> str:
    if probability is None:
        return ""
    return f"{min(probability, 0.99):.2f}".removeprefix("0") if probability < 1 else "1.0"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
