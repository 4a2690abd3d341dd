"""From prompts to preference pairs: draft, verdict, critique, revision, verdict, pair; a stage at a time, in batches.

Each stage does what the run's state does not hold yet, so the same code serves a new and a resumed run.
"""

from __future__ import annotations

import random

from engine.events.base import ALL, KEY
from engine.judges import verdict_codec
from engine.judges.base import JudgeInput, Verdict
from engine.pipeline import chats
from engine.pipeline.context import Context, ask, judge_all
from engine.pipeline.pairs import Candidate, PreferencePair, best, make_pair, write_pairs
from engine.prompts.load import Prompt
from engine.runs.state import (
    CANDIDATE,
    CANDIDATE_VERDICT,
    CRITIQUE,
    DRAFT,
    DRAFT_VERDICT,
    PAIR,
    REVISION,
    REVISION_VERDICT,
)

PAIRS = "pairs.jsonl"
"""Name of the file with the kept pairs in a run's folder."""


def draft(context: Context) -> None:
    """The generator's first answer to every training prompt."""
    train = context.prompts.train
    waiting = [p for p in train if p.id not in context.state.drafts]
    context.record.stage_start("draft", len(train), done=len(train) - len(waiting))
    sent = {p.id: context.generator.render(chats.draft(p.text, p.messages)) for p in waiting}
    place = {p.id: (number, p) for number, p in enumerate(train, 1)}
    for completion, share in ask(context, context.generator, list(sent.items()), context.config.draft, "draft"):
        number, prompt = place[completion.key]
        context.record.event(
            f"TRAINING-EXAMPLE {number}/{len(train)}",
            KEY,
            f"{prompt.id} · {prompt.topic or 'no topic'}",
            item=prompt.id,
            texts={"prompt": prompt.text},
            data={"principle": prompt.principle, "topic": prompt.topic},
        )
        context.record.event(
            DRAFT,
            KEY,
            completion.error or f"{completion.tokens} tokens · {completion.finish}",
            item=prompt.id,
            texts={"draft": completion.text},
            raw={"request": sent[prompt.id], "raw": completion.raw},
            data={
                "tokens": completion.tokens,
                "prompt_tokens": completion.prompt_tokens,
                "seconds": round(completion.seconds, 4),
                "share": round(share, 4),
                "finish": completion.finish,
                "error": completion.error,
            },
        )
        context.record.step(tokens=completion.tokens)
    context.record.stage_end()


def judge_drafts(context: Context) -> None:
    """The verdict on every draft."""
    train, state = context.prompts.train, context.state
    waiting = [p for p in train if p.id not in state.draft_verdicts and state.drafts.get(p.id)]
    context.record.stage_start("verdict", len(train), done=len(train) - len(waiting))
    texts = [JudgeInput(p.id, state.drafts[p.id], p.text) for p in waiting]
    for verdict in judge_all(context, context.judges.shown, texts):
        _verdict_event(context, DRAFT_VERDICT, KEY, verdict)
        context.record.step()
    context.record.stage_end()


def critique(context: Context) -> None:
    """What is wrong with each draft, by the principle that it breaks most (or, where it breaks none, tempts most)."""
    train, state = _drafted(context), context.state
    waiting = [p for p in train if p.id not in state.critiques]
    context.record.stage_start("critique", len(train), done=len(train) - len(waiting))
    principles = {p.id: _principle_for(context, p) for p in waiting}
    sent: dict[str, str] = {}
    for p in waiting:
        request, _ = _requests_for(context, p.id, principles[p.id])
        sent[p.id] = context.critic.render(chats.critique(p.text, state.drafts[p.id], request))
    prompts = {p.id: p for p in waiting}
    for completion, share in ask(context, context.critic, list(sent.items()), context.config.critique, "critique"):
        principle = principles[completion.key]
        context.record.event(
            CRITIQUE,
            KEY,
            completion.error or f"{principle} · {completion.tokens} tokens",
            item=completion.key,
            texts={"prompt": prompts[completion.key].text, "critique": completion.text},
            raw={"request": sent[completion.key], "raw": completion.raw},
            data={
                "principle": principle,
                "tokens": completion.tokens,
                "seconds": round(completion.seconds, 4),
                "share": round(share, 4),
                "error": completion.error,
            },
        )
        context.record.step(tokens=completion.tokens)
    context.record.stage_end()


def revise(context: Context) -> None:
    """Several rewritten answers for each draft, and the verdict on each."""
    state, count = context.state, context.config.candidates
    train = [p for p in _drafted(context) if p.id in state.critiques]
    wanted = [(p, number) for p in train for number in range(1, count + 1)]
    waiting = [(p, number) for p, number in wanted if (p.id, number) not in state.candidates]
    context.record.stage_start("revision", len(wanted), done=len(wanted) - len(waiting))
    rendered: dict[str, str] = {}
    for p in dict.fromkeys(p for p, _ in waiting):
        _, request = _requests_for(context, p.id, state.principles[p.id])
        chat = chats.revision(p.text, state.drafts[p.id], state.critiques[p.id], request)
        rendered[p.id] = context.critic.render(chat)
    sent = [(f"{p.id}#{number}", rendered[p.id]) for p, number in waiting]
    for completion, share in ask(context, context.critic, sent, context.config.revision, "revision"):
        item, _, number = completion.key.rpartition("#")
        context.record.event(
            CANDIDATE,
            ALL,
            completion.error or f"candidate {number} of {count} · {completion.tokens} tokens",
            item=item,
            texts={"revision": completion.text},
            raw={"request": rendered[item], "raw": completion.raw},
            data={
                "candidate": int(number),
                "tokens": completion.tokens,
                "seconds": round(completion.seconds, 4),
                "share": round(share, 4),
                "error": completion.error,
            },
        )
        context.record.step(tokens=completion.tokens)
    context.record.stage_end()


def judge_revisions(context: Context) -> None:
    """The verdict on every candidate, the best of them, and the verdict on it in full."""
    state, count = context.state, context.config.candidates
    prompts = {p.id: p for p in context.prompts.train}
    # After a resume with other prompts the journal may hold candidates of prompts that are gone.
    mine = {key: text for key, text in state.candidates.items() if key[0] in prompts}
    waiting = [key for key, text in mine.items() if key not in state.candidate_verdicts and text]
    context.record.stage_start("candidate verdict", len(mine), done=len(mine) - len(waiting))
    texts = [
        JudgeInput(f"{item}#{number}", state.candidates[item, number], prompts[item].text) for item, number in waiting
    ]
    for verdict in judge_all(context, context.judges.quick, texts):
        item, _, number = verdict.key.rpartition("#")
        _verdict_event(context, CANDIDATE_VERDICT, ALL, verdict, item=item, candidate=int(number))
        context.record.step()
    context.record.stage_end()
    context.record.stage_start("revision verdict", len(_drafted(context)), done=len(state.revision_judged))
    unjudged: list[JudgeInput] = []
    for p in _drafted(context):
        candidates = candidates_of(context, p.id)
        taken = best(candidates, context.weights)
        if p.id not in state.revised:
            context.record.event(
                REVISION,
                KEY,
                f"{len(candidates) - 1} of {count} candidates"
                + (f", number {taken.index} taken" if taken.index else ", none better than the draft"),
                item=p.id,
                texts={"prompt": p.text, "revision": taken.text},
                raw={f"candidate {c.index}": c.text for c in candidates[1:]},
                data={
                    "candidates": len(candidates) - 1,
                    "taken": taken.index,
                    "scores": [c.verdict.score for c in candidates],
                },
            )
        if p.id not in state.revision_judged:
            unjudged.append(JudgeInput(p.id, taken.text, p.text))
    for verdict in judge_all(context, context.judges.shown, unjudged):
        _verdict_event(context, REVISION_VERDICT, KEY, verdict)
        context.record.step()
    context.record.stage_end()


def pair(context: Context) -> list[PreferencePair]:
    """The preference pair of every draft, kept or dropped with the reason; the kept ones go into `pairs.jsonl`."""
    drafted = _drafted(context)
    pairs: list[PreferencePair] = []
    context.record.stage_start("pair", len(drafted), done=sum(p.id in context.state.pairs for p in drafted))
    for p in drafted:
        context.control.check()
        candidates = candidates_of(context, p.id)
        made = make_pair(p.id, p.text, context.state.principles.get(p.id, ""), candidates, context.weights)
        pairs.append(made)
        if p.id not in context.state.pairs:
            _pair_event(context, made)
            context.record.step()
    if context.config.keep_texts:
        write_pairs(context.folder / PAIRS, pairs)
    context.record.stage_end()
    return pairs


def candidates_of(context: Context, item: str) -> list[Candidate]:
    """The draft and all its revisions that were written, with their verdicts."""
    state = context.state
    nothing = Verdict(item, None, note="It was not judged.")
    found = [Candidate(0, state.drafts[item], state.draft_verdicts.get(item, nothing))]
    for number in range(1, context.config.candidates + 1):
        text = state.candidates.get((item, number), "")
        if text:
            found.append(Candidate(number, text, state.candidate_verdicts.get((item, number), nothing)))
    return found


def _drafted(context: Context) -> list[Prompt]:
    return [p for p in context.prompts.train if context.state.drafts.get(p.id)]


def _principle_for(context: Context, prompt: Prompt) -> str:
    verdict = context.state.draft_verdicts.get(prompt.id)
    if verdict is not None and verdict.broken and verdict.broken[0] in context.constitution.ids:
        return verdict.broken[0]
    if prompt.principle in context.constitution.ids:
        return prompt.principle
    return random.Random(context.seed_for("principle", prompt.id)).choice(context.constitution.ids)


def _requests_for(context: Context, item: str, principle_id: str) -> tuple[str, str]:
    """A critique request of the principle and the revision request that belongs to it; drawn by the run's seed."""
    if principle_id not in context.constitution.ids:  # the constitution changed, and the person goes on anyway
        principle_id = random.Random(context.seed_for("principle", item)).choice(context.constitution.ids)
    principle = context.constitution.principle(principle_id)
    source = random.Random(context.seed_for("request", item))
    number = source.randrange(len(principle.critiques))
    if len(principle.revisions) == len(principle.critiques):
        return principle.critiques[number], principle.revisions[number]
    return principle.critiques[number], source.choice(principle.revisions)


def _verdict_event(
    context: Context, stage: str, level: int, verdict: Verdict, *, item: str = "", candidate: int | None = None
) -> None:
    data = verdict_codec.to_data(verdict)
    if candidate is not None:
        data["candidate"] = candidate
    context.record.event(
        stage,
        level,
        verdict_codec.summary(verdict, context.constitution.max_score),
        item=item or verdict.key,
        texts=verdict_codec.texts(verdict),
        raw=verdict_codec.raw(verdict),
        data=data,
    )


def _pair_event(context: Context, made: PreferencePair) -> None:
    if made.before is None or made.after is None:
        change = "no score"
    else:
        percent = "" if made.percent is None else f" (-{made.percent:.0f} %)"
        change = f"expected score {made.risk_before:.2f} → {made.risk_after:.2f}{percent}"
        change += f" · score {made.before:.1f} → {made.after:.1f}"
    context.record.event(
        PAIR,
        KEY,
        f"{'kept' if made.kept else 'dropped: ' + made.reason} · {change}",
        item=made.item,
        texts={"prompt": made.prompt, "rejected": made.rejected, "chosen": made.chosen},
        data={
            "kept": made.kept,
            "reason": made.reason,
            "principle": made.principle,
            "taken": made.taken,
            "from": round(made.risk_before, 6),
            "to": round(made.risk_after, 6),
            "improvement": round(made.improvement, 6),
            "percent": None if made.percent is None else round(made.percent, 2),
            "score_from": made.before,
            "score_to": made.after,
            "seconds": round(context.state.seconds.get(made.item, 0.0), 3),
        },
    )
