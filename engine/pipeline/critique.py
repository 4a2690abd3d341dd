"""The critique of every draft, under the principle that it violates, by a request of the constitution."""

from __future__ import annotations

import random

from engine.events.generation import Critique
from engine.models.inference.requests import Completion
from engine.pipeline import chats
from engine.pipeline.context import Context
from engine.pipeline.pairs import expected_score
from engine.pipeline.stage import generate_stage, generated
from engine.prompts.load import Prompt


def critique(context: Context) -> None:
    """What is wrong with the worst drafts, each by the heaviest principle that it violates (or else the one that its
    prompt is meant to test)."""
    worst = _worst(context)
    waiting = {p.id: p for p in worst if p.id not in context.finished.critiques}
    principles = {item: _principle_for(context, prompt) for item, prompt in waiting.items()}
    sent: dict[str, str] = {}
    for item, prompt in waiting.items():
        request, _ = requests_for(context, item, principles[item])
        sent[item] = context.critic.render(chats.critique(prompt.text, context.finished.drafts[item], request))

    def write(completion: Completion, share: float) -> None:
        item, principle = completion.key, principles[completion.key]
        context.record.write(
            Critique(
                item=item,
                summary=completion.error or f"{principle} · {completion.tokens} tokens",
                prompt=waiting[item].text,
                critique=completion.text,
                principle=principle,
                **generated(completion, share, sent[item]),
            )
        )

    generate_stage(context, "critique", len(worst), sent, context.critic, context.config.critique, write)


def _worst(context: Context) -> list[Prompt]:
    """The prompts whose drafts are critiqued: those with the highest expected scores, in the order of the prompts."""
    drafted, verdicts = context.drafted(), context.finished.draft_verdicts
    weights = context.weights

    def score(prompt: Prompt) -> float:
        verdict = verdicts.get(prompt.id)
        return 0.0 if verdict is None else expected_score(verdict, weights)

    chosen = {prompt.id for prompt in sorted(drafted, key=score, reverse=True)[: context.config.n_revised]}
    return [prompt for prompt in drafted if prompt.id in chosen]


def requests_for(context: Context, item: str, principle_id: str) -> tuple[str, str]:
    """A critique request of the principle and the revision request that belongs to it, chosen by the run's seed."""
    if principle_id not in context.constitution.ids:  # the constitution changed, and the user resumes with --force
        principle_id = random.Random(context.seed_for("principle", item)).choice(context.constitution.ids)
    principle = context.constitution.principle(principle_id)
    source = random.Random(context.seed_for("request", item))
    number = source.randrange(len(principle.critiques))
    if len(principle.revisions) == len(principle.critiques):
        return principle.critiques[number], principle.revisions[number]
    return principle.critiques[number], source.choice(principle.revisions)


def _principle_for(context: Context, prompt: Prompt) -> str:
    verdict = context.finished.draft_verdicts.get(prompt.id)
    if verdict is not None and verdict.broken and verdict.broken[0] in context.constitution.ids:
        return verdict.broken[0]
    if prompt.principle in context.constitution.ids:
        return prompt.principle
    return random.Random(context.seed_for("principle", prompt.id)).choice(context.constitution.ids)
