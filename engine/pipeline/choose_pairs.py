"""The preference pair of every draft: kept and trained on, or dropped with the reason."""

from __future__ import annotations

from engine.events.generation import PairDecided
from engine.pipeline.context import Context
from engine.pipeline.pairs import PreferencePair, make_contrast_pair, make_pair, write_pairs
from engine.pipeline.revise import candidates_of
from engine.pipeline.stage import stage

PAIRS = "pairs.jsonl"
"""Name of the file with the kept pairs in a run's folder."""


def choose_pairs(context: Context) -> None:
    """Decide on every pair; the kept ones go into `pairs.jsonl`."""
    drafted = context.drafted()
    known = sum(p.id in context.finished.pairs for p in drafted)
    pairs: list[PreferencePair] = []
    with stage(context, "pair", len(drafted), len(drafted) - known):
        for p in drafted:
            context.control.check()
            principle = context.finished.principles.get(p.id, "")
            make = make_contrast_pair if context.config.teacher == "samples" else make_pair
            made = make(p.id, p.text, principle, candidates_of(context, p.id), context.weights)
            pairs.append(made)
            if p.id not in context.finished.pairs:
                _write_pair(context, made)
                context.record.step()
        if context.config.keep_texts:
            write_pairs(context.folder / PAIRS, pairs)
    context.results.pairs = pairs
    if not context.results.kept:
        context.record.notice("No pair was kept, so there is nothing to train on and nothing to compare.")


def _write_pair(context: Context, pair: PreferencePair) -> None:
    if pair.before is None or pair.after is None:
        change = "no score"
    else:
        percent = "" if pair.percent is None else f" (-{pair.percent:.0f} %)"
        change = f"expected score {pair.risk_before:.2f} → {pair.risk_after:.2f}{percent}"
        change += f" · score {pair.before:.1f} → {pair.after:.1f}"
    context.record.write(
        PairDecided(
            item=pair.item,
            summary=f"{'kept' if pair.kept else 'dropped: ' + pair.reason} · {change}",
            prompt=pair.prompt,
            rejected=pair.rejected,
            chosen=pair.chosen,
            kept=pair.kept,
            reason=pair.reason,
            principle=pair.principle,
            taken=pair.taken,
            against=pair.against,
            expected_rejected=pair.risk_before,
            expected_chosen=pair.risk_after,
            improvement=pair.improvement,
            percent=pair.percent,
            score_rejected=pair.before,
            score_chosen=pair.after,
            seconds=context.finished.seconds.get(pair.item, 0.0),
        )
    )
