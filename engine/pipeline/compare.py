"""Base against trained model on prompts that were never trained on: both answer, both answers are judged, and what
changed is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from engine.events.comparison import Answer, ChangeData, Comparison, Diff
from engine.events.verdicts import AnswerVerdict, SecondVerdict, VerdictData, summary
from engine.judges.base import Judge, JudgeInput, Verdict
from engine.models.inference.requests import Completion, LanguageModel
from engine.pipeline import chats
from engine.pipeline.context import Context
from engine.pipeline.stage import generate_stage, generated, judge_stage, judge_texts
from engine.prompts.load import Prompt
from engine.runs.arms import ARMS, BASE, TRAINED
from engine.runs.finished import AnswerKey
from engine.textdiff.changes import changes_between
from engine.textdiff.diff import AlignedDiff, Span, diff_texts


def arms(context: Context) -> tuple[str, ...]:
    """All models that answer: the base, and one per training seed."""
    return (BASE, *(training.arm for training in context.trainings))


def answer_with_base(context: Context) -> None:
    """The base model's answers to all compared prompts."""
    _answer(context, BASE, context.generator)


def answer_with_trained(context: Context) -> None:
    """The answers of each trained model, or of the second of two that are compared; those of the first are compared as
    soon as they are written."""
    for arm, model in context.contenders():
        _answer(context, arm, model)


def compare(context: Context) -> None:
    """Compare whatever has two answers and is not compared in full yet (after a resume); where another judge chose the
    training pairs, its verdicts on the answers."""
    wanted, finished = list(context.prompts.compared()), context.finished
    complete = finished.compared & finished.diffed
    _compare(context, [pair for pair in wanted if (pair[0], pair[1].id) not in complete])
    total = len(arms(context)) * len(context.compared_answers())
    # Further samples and training seeds count in the statistics; the first of each prompt is shown side by side.
    unjudged = _unjudged(context, wanted, finished.answer_verdicts)
    if unjudged:
        write = _writer(context, AnswerVerdict.of)
        judge_stage(context, "answer verdict", total, unjudged, context.judges.comparison, write)
    if context.judges.selecting is not None:
        unjudged = _unjudged(context, wanted, finished.second_verdicts)
        write = _writer(context, SecondVerdict.of)
        judge_stage(context, "second verdict", total, unjudged, context.judges.selecting, write)


def _answer(context: Context, arm: str, model: LanguageModel) -> None:
    """One model's answers to all compared prompts. Both models get the same prompts, sampling and seeds, so that they
    differ by their weights alone."""
    # The first answer to each prompt is what is shown side by side, so it is written first.
    wanted = sorted(context.compared_answers(), key=lambda one: one[2])
    waiting = {
        f"{name}#{p.id}#{sample}": (name, p, sample)
        for name, p, sample in wanted
        if (name, p.id, arm, sample) not in context.finished.answers
    }
    sent = {key: model.render(chats.draft(p.text, p.messages)) for key, (_, p, _) in waiting.items()}

    def write(completion: Completion, share: float) -> None:
        name, prompt, sample = waiting[completion.key]
        context.record.write(
            Answer(
                item=prompt.id,
                summary=completion.error or f"{context.called(arm)} · {completion.tokens} tokens · {completion.finish}",
                prompt=prompt.text,
                answer=completion.text,
                set=name,
                arm=arm,
                sample=sample,
                finish=completion.finish,
                **generated(completion, share, sent[completion.key]),
            )
        )
        if arm == TRAINED and sample == 0:
            _compare(context, [(name, prompt)])

    generate_stage(
        context,
        f"{context.called(arm)} answers",
        len(wanted),
        sent,
        model,
        context.config.answer,
        write,
        purpose="answer",
    )


def _compare(context: Context, prompts: Sequence[tuple[str, Prompt]]) -> None:
    """Have both answers to each prompt judged, blind to the model, then write the comparison and its diff."""
    finished, judges = context.finished, context.judges
    _judge(context, prompts, judges.comparison, finished.answer_verdicts, AnswerVerdict.of)
    if judges.selecting is not None and judges.alongside:
        _judge(context, prompts, judges.selecting, finished.second_verdicts, SecondVerdict.of)
    for name, prompt in prompts:
        if all((name, prompt.id, arm, 0) in finished.answers for arm in ARMS):
            if (name, prompt.id) not in finished.compared:
                _write_comparison(context, name, prompt)
            if (name, prompt.id) not in finished.diffed:
                _write_diff(context, name, prompt)


def _judge(
    context: Context,
    prompts: Sequence[tuple[str, Prompt]],
    judge: Judge,
    known: Mapping[AnswerKey, Verdict],
    event: Callable[..., AnswerVerdict],
) -> None:
    """One judge's verdicts on the answers that it has not judged yet."""
    write = _writer(context, event)
    for verdict in judge_texts(context, judge, _unjudged(context, prompts, known)):
        write(verdict)


def _unjudged(
    context: Context, prompts: Sequence[tuple[str, Prompt]], known: Mapping[AnswerKey, Verdict]
) -> list[JudgeInput]:
    """The answers to these prompts without a verdict."""
    answers = context.finished.answers
    texts: list[JudgeInput] = []
    for name, prompt in prompts:
        for arm in arms(context):
            for sample in range(context.n_answers(name)):
                key = name, prompt.id, arm, sample
                if key not in known and answers.get(key):
                    texts.append(JudgeInput(f"{name}#{arm}#{sample}#{prompt.id}", answers[key], prompt.text))
    return texts


def _writer(context: Context, event: Callable[..., AnswerVerdict]) -> Callable[[Verdict], None]:
    """Writes the verdict on an answer as an event."""

    def write(verdict: Verdict) -> None:
        name, arm, sample_number, item = verdict.key.split("#", 3)
        words = f"{context.called(arm)} · {summary(verdict, context.constitution.max_score)}"
        context.record.write(event(verdict, item=item, summary=words, set=name, arm=arm, sample=int(sample_number)))

    return write


def _verdicts(context: Context, name: str, prompt: Prompt) -> list[Verdict]:
    nothing = Verdict(prompt.id, None, note="There is no answer to judge.")
    return [context.finished.answer_verdicts.get((name, prompt.id, arm, 0), nothing) for arm in ARMS]


def _write_comparison(context: Context, name: str, prompt: Prompt) -> None:
    finished, verdicts = context.finished, _verdicts(context, name, prompt)
    base, trained = (finished.answers[name, prompt.id, arm, 0] for arm in ARMS)
    context.record.write(
        Comparison(
            item=prompt.id,
            summary=f"{name} · {context.called(BASE)} {_score(verdicts[0])} → {context.called(TRAINED)} "
            f"{_score(verdicts[1])}",
            number=len(finished.compared) + 1,
            total=len(context.prompts.heldout) + len(context.prompts.benign),
            prompt=prompt.text,
            base_answer=base,
            trained_answer=trained,
            set=name,
            topic=prompt.topic,
            principle=prompt.principle,
            base=VerdictData.of(verdicts[0]),
            trained=VerdictData.of(verdicts[1]),
        )
    )


def _write_diff(context: Context, name: str, prompt: Prompt) -> None:
    verdicts = _verdicts(context, name, prompt)
    base, trained = (context.finished.answers[name, prompt.id, arm, 0] for arm in ARMS)
    diff = diff_texts(base, trained)
    changes = changes_between(base, verdicts[0].findings, trained, verdicts[1].findings)
    named = "; ".join(f"{'+' if change.better else '-'} {change.label}" for change in changes)
    context.record.write(
        Diff(
            item=prompt.id,
            summary=named or "no kind of change that the rules can name",
            diff=marked(diff),
            set=name,
            changes=tuple(ChangeData(id=c.id, label=c.label, better=c.better) for c in changes),
            words_removed=diff.changed_words_left,
            words_added=diff.changed_words_right,
            truncated=diff.truncated,
        )
    )


def marked(diff: AlignedDiff) -> str:
    """The diff as lines for readers without colors or columns: "- " base, "+ " trained, "  " both the same."""
    lines: list[str] = []
    for row in diff.rows:
        if row.kind == "same":
            lines.append("  " + _joined(row.right))
            continue
        if row.left:
            lines.append("- " + _joined(row.left))
        if row.right:
            lines.append("+ " + _joined(row.right))
    return "\n".join(lines)


def _joined(spans: Sequence[Span]) -> str:
    marks = {"same": "{}", "removed": "[-{}-]", "added": "{{+{}+}}"}
    return " ".join("".join(marks[span.kind].format(span.text) for span in spans).split())


def _score(verdict: Verdict) -> str:
    return "no verdict" if verdict.score is None else f"{verdict.score:.1f}"
