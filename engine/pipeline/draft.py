"""The first stages: the generator answers every training prompt, and the judge decides on every draft."""

from __future__ import annotations

from engine.events.generation import Draft, DraftSample, TrainingExample
from engine.events.verdicts import DraftVerdict, summary
from engine.judges.base import JudgeInput, Verdict
from engine.models.inference.requests import Completion
from engine.pipeline import chats
from engine.pipeline.context import Context
from engine.pipeline.stage import generate_stage, generated, judge_stage


def draft(context: Context) -> None:
    """The generator's first answer to every training prompt."""
    train = context.prompts.train
    waiting = [p for p in train if p.id not in context.finished.drafts]
    sent = {p.id: context.drafter.render(chats.draft(p.text, p.messages)) for p in waiting}
    numbered = {p.id: (number, p) for number, p in enumerate(train, 1)}

    def write(completion: Completion, share: float) -> None:
        number, prompt = numbered[completion.key]
        context.record.write(
            TrainingExample(
                item=prompt.id,
                summary=f"{prompt.id} · {prompt.topic or 'no topic'}",
                number=number,
                total=len(train),
                prompt=prompt.text,
                principle=prompt.principle,
                topic=prompt.topic,
            )
        )
        context.record.write(
            Draft(
                item=prompt.id,
                summary=completion.error or f"{completion.tokens} tokens · {completion.finish}",
                draft=completion.text,
                prompt_tokens=completion.prompt_tokens,
                finish=completion.finish,
                **generated(completion, share, sent[prompt.id]),
            )
        )

    generate_stage(context, "draft", len(train), sent, context.drafter, context.config.draft, write)


def sample_drafts(context: Context) -> None:
    """Further answers to every training prompt, where the run has more than one sample per prompt. A demonstration is
    learned as it is, so its prompt needs none."""
    finished, count = context.finished, context.config.n_samples
    train = {p.id: p for p in context.drafted() if not context.demonstrates(p)}
    wanted = [(item, number) for item in train for number in range(1, count)]
    waiting = [key for key in wanted if key not in finished.candidates]
    rendered = {
        item: context.drafter.render(chats.draft(train[item].text, train[item].messages)) for item, _ in waiting
    }
    sent = {f"{item}#{number}": rendered[item] for item, number in waiting}

    def write(completion: Completion, share: float) -> None:
        item, _, number = completion.key.rpartition("#")
        context.record.write(
            DraftSample(
                item=item,
                summary=completion.error or f"sample {int(number) + 1} of {count} · {completion.tokens} tokens",
                sample=completion.text,
                candidate=int(number),
                finish=completion.finish,
                **generated(completion, share, rendered[item]),
            )
        )

    if wanted:
        generate_stage(context, "sample", len(wanted), sent, context.drafter, context.config.draft, write)


def judge_drafts(context: Context) -> None:
    """The verdict on every draft."""
    finished = context.finished
    texts = [
        JudgeInput(p.id, finished.drafts[p.id], p.text)
        for p in context.prompts.train
        if p.id not in finished.draft_verdicts and finished.drafts.get(p.id)
    ]

    def write(verdict: Verdict) -> None:
        words = summary(verdict, context.constitution.max_score)
        context.record.write(DraftVerdict.of(verdict, item=verdict.key, summary=words))

    judge_stage(context, "verdict", len(context.prompts.train), texts, context.judges.shown, write)
