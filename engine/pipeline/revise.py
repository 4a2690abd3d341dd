"""Revisions: several candidates for each draft, the verdict on each, the best of them and its verdict in full."""

from __future__ import annotations

from engine.events.generation import Revision, RevisionCandidate
from engine.events.verdicts import CandidateVerdict, RevisionVerdict, summary
from engine.judges.base import JudgeInput, Verdict
from engine.models.inference.requests import Completion
from engine.pipeline import chats
from engine.pipeline.context import Context
from engine.pipeline.critique import requests_for
from engine.pipeline.pairs import Candidate, best
from engine.pipeline.stage import generate_stage, generated, judge_stage, judge_texts, stage
from engine.prompts.load import Prompt


def revise(context: Context) -> None:
    """The candidates for each draft."""
    finished, count, first = context.finished, context.config.candidates, context.config.n_samples
    train = [p for p in context.drafted() if p.id in finished.critiques]
    wanted = [(p, number) for p in train for number in range(first, first + count)]
    waiting = [(p, number) for p, number in wanted if (p.id, number) not in finished.candidates]
    rendered: dict[str, str] = {}
    for p in dict.fromkeys(p for p, _ in waiting):
        _, request = requests_for(context, p.id, finished.principles[p.id])
        chat = chats.revision(p.text, finished.drafts[p.id], finished.critiques[p.id], request)
        rendered[p.id] = context.critic.render(chat)
    sent = {f"{p.id}#{number}": rendered[p.id] for p, number in waiting}

    def write(completion: Completion, share: float) -> None:
        item, _, number = completion.key.rpartition("#")
        place = f"revision {int(number) - first + 1} of {count}"
        context.record.write(
            RevisionCandidate(
                item=item,
                summary=completion.error or f"{place} · {completion.tokens} tokens",
                revision=completion.text,
                candidate=int(number),
                finish=completion.finish,
                **generated(completion, share, rendered[item]),
            )
        )

    generate_stage(context, "revision", len(wanted), sent, context.critic, context.config.revision, write)


def judge_candidates(context: Context) -> None:
    """The verdict on every candidate."""
    finished = context.finished
    prompts = {p.id: p for p in context.prompts.train}
    # After a resume with other prompts the journal may hold candidates of prompts that are gone.
    known = {key: text for key, text in finished.candidates.items() if key[0] in prompts}
    texts = [
        JudgeInput(f"{item}#{number}", text, prompts[item].text)
        for (item, number), text in known.items()
        if (item, number) not in finished.candidate_verdicts and text
    ]

    def write(verdict: Verdict) -> None:
        item, _, number = verdict.key.rpartition("#")
        words = summary(verdict, context.constitution.max_score)
        context.record.write(CandidateVerdict.of(verdict, item=item, summary=words, candidate=int(number)))

    judge_stage(context, "candidate verdict", len(known), texts, context.judges.quick, write)


def choose_revisions(context: Context) -> None:
    """The best candidate of each draft, and the verdict on it in full."""
    finished = context.finished
    drafted = [prompt for prompt in context.drafted() if prompt.id in finished.critiques]
    with stage(context, "revision verdict", len(drafted), len(drafted) - len(finished.revision_judged)):
        unjudged: list[JudgeInput] = []
        for prompt in drafted:
            written = {0, *range(context.config.n_samples, context.demonstration_number)}
            candidates = [c for c in candidates_of(context, prompt.id) if c.index in written]
            taken = best(candidates, context.weights)
            if prompt.id not in finished.revised:
                _write_revision(context, prompt, candidates, taken)
            if prompt.id not in finished.revision_judged:
                unjudged.append(JudgeInput(prompt.id, taken.text, prompt.text))
        for verdict in judge_texts(context, context.judges.shown, unjudged):
            words = summary(verdict, context.constitution.max_score)
            context.record.write(RevisionVerdict.of(verdict, item=verdict.key, summary=words))
            context.record.step()


def candidates_of(context: Context, item: str) -> list[Candidate]:
    """The draft, its further samples, its revisions and the demonstration, as far as there are any, with their
    verdicts."""
    finished = context.finished
    nothing = Verdict(item, None, note="It was not judged.")
    verdict = finished.draft_verdicts.get(item, nothing)
    found = [Candidate(0, finished.drafts[item], verdict, (item, 0) not in finished.cut)]
    for number in range(1, context.demonstration_number + 1):
        text = finished.candidates.get((item, number), "")
        if text:
            verdict = finished.candidate_verdicts.get((item, number), nothing)
            found.append(Candidate(number, text, verdict, (item, number) not in finished.cut))
    return found


def _write_revision(context: Context, prompt: Prompt, candidates: list[Candidate], taken: Candidate) -> None:
    chosen = f"number {taken.index} chosen" if taken.index else "none better than the draft"
    context.record.write(
        Revision(
            item=prompt.id,
            summary=f"{len(candidates) - 1} of {context.config.candidates} candidates, {chosen}",
            prompt=prompt.text,
            revision=taken.text,
            candidate_texts={str(c.index): c.text for c in candidates[1:]},
            candidates=len(candidates) - 1,
            taken=taken.index,
            scores=tuple(c.verdict.score for c in candidates),
        )
    )
