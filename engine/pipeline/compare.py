"""Base against trained on prompts that were never trained on: both answer, both are judged, what changed is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.events.base import ALL, KEY
from engine.judges import verdict_codec
from engine.judges.base import Judge, JudgeInput, Verdict
from engine.models.inference.requests import LanguageModel
from engine.pipeline import chats
from engine.pipeline.context import Context, ask, judge_all
from engine.prompts.load import Prompt
from engine.runs.state import ANSWER, ANSWER_VERDICT, COMPARED, DIFFED, SECOND_VERDICT
from engine.textdiff.changes import changes_between
from engine.textdiff.diff import AlignedDiff, Span, diff_texts

ARMS = ("base", "trained")


def answer(context: Context, arm: str, model: LanguageModel) -> None:
    """One arm's answers to all compared prompts, greedy, so that the arms differ by their weights alone."""
    wanted = list(context.prompts.compared())
    waiting = [(name, p) for name, p in wanted if (name, p.id, arm) not in context.state.answers]
    context.record.stage_start(f"{arm} answers", len(wanted), done=len(wanted) - len(waiting))
    sent = {f"{name}#{p.id}": model.render(chats.draft(p.text, p.messages)) for name, p in waiting}
    prompts = {f"{name}#{p.id}": (name, p) for name, p in waiting}
    for completion, share in ask(context, model, list(sent.items()), context.config.answer, "answer"):
        name, prompt = prompts[completion.key]
        context.record.event(
            ANSWER,
            ALL,
            completion.error or f"{arm} · {completion.tokens} tokens · {completion.finish}",
            item=prompt.id,
            texts={"prompt": prompt.text, "answer": completion.text},
            raw={"request": sent[completion.key], "raw": completion.raw},
            data={
                "set": name,
                "arm": arm,
                "weights": arm,
                "tokens": completion.tokens,
                "seconds": round(completion.seconds, 4),
                "share": round(share, 4),
                "finish": completion.finish,
                "error": completion.error,
            },
        )
        if arm == ARMS[1]:
            _compare(context, [(name, prompt)])
        context.record.step(tokens=completion.tokens)
    context.record.stage_end()


def finish(context: Context) -> None:
    """Compare whatever has two answers and was not compared to its end yet (after a resume), and have the judge that
    chose the training pairs judge the answers too, where it has not."""
    wanted, state = list(context.prompts.compared()), context.state
    complete = state.compared & state.diffed
    _compare(context, [pair for pair in wanted if (pair[0], pair[1].id) not in complete])
    if context.judges.selecting is not None:
        done = len(state.second_verdicts)
        context.record.stage_start("second verdict", len(ARMS) * len(wanted), done=done)
        _judge(context, wanted, context.judges.selecting, SECOND_VERDICT, state.second_verdicts)
        context.record.step(len(state.second_verdicts) - done)
        context.record.stage_end()


def _compare(context: Context, prompts: Sequence[tuple[str, Prompt]]) -> None:
    """Have both answers to each prompt judged, blind to the arm, then write the comparison and its diff."""
    state, judges = context.state, context.judges
    _judge(context, prompts, judges.comparison, ANSWER_VERDICT, state.answer_verdicts)
    if judges.selecting is not None and judges.alongside:
        _judge(context, prompts, judges.selecting, SECOND_VERDICT, state.second_verdicts)
    for name, prompt in prompts:
        if all((name, prompt.id, arm) in state.answers for arm in ARMS):
            if (name, prompt.id) not in state.compared:
                _write_test(context, name, prompt)
            if (name, prompt.id) not in state.diffed:
                _write_diff(context, name, prompt)


def _judge(
    context: Context,
    prompts: Sequence[tuple[str, Prompt]],
    judge: Judge,
    stage: str,
    known: Mapping[tuple[str, str, str], Verdict],
) -> None:
    """One judge's verdicts on the answers that it has not judged yet."""
    answers = context.state.answers
    texts: list[JudgeInput] = []
    for name, prompt in prompts:
        for arm in ARMS:
            key = name, prompt.id, arm
            if key not in known and answers.get(key):
                texts.append(JudgeInput(f"{name}#{arm}#{prompt.id}", answers[key], prompt.text))
    for verdict in judge_all(context, judge, texts):
        name, arm, item = verdict.key.split("#", 2)
        context.record.event(
            stage,
            ALL,
            f"{arm} · {verdict_codec.summary(verdict, context.constitution.max_score)}",
            item=item,
            texts=verdict_codec.texts(verdict),
            raw=verdict_codec.raw(verdict),
            data={**verdict_codec.to_data(verdict), "set": name, "arm": arm},
        )


def _verdicts(context: Context, name: str, prompt: Prompt) -> list[Verdict]:
    nothing = Verdict(prompt.id, None, note="There is no answer to judge.")
    return [context.state.answer_verdicts.get((name, prompt.id, arm), nothing) for arm in ARMS]


def _write_test(context: Context, name: str, prompt: Prompt) -> None:
    state, verdicts = context.state, _verdicts(context, name, prompt)
    base, trained = (state.answers[name, prompt.id, arm] for arm in ARMS)
    total = len(context.prompts.heldout) + len(context.prompts.benign)
    context.record.event(
        f"{COMPARED} {len(state.compared) + 1}/{total}",
        KEY,
        f"{name} · base {_score(verdicts[0])} → trained {_score(verdicts[1])}",
        item=prompt.id,
        texts={"prompt": prompt.text, "base": base, "trained": trained},
        data={
            "set": name,
            "topic": prompt.topic,
            "principle": prompt.principle,
            "base": verdict_codec.to_data(verdicts[0]),
            "trained": verdict_codec.to_data(verdicts[1]),
        },
    )


def _write_diff(context: Context, name: str, prompt: Prompt) -> None:
    verdicts = _verdicts(context, name, prompt)
    base, trained = (context.state.answers[name, prompt.id, arm] for arm in ARMS)
    diff = diff_texts(base, trained)
    changes = changes_between(base, verdicts[0].findings, trained, verdicts[1].findings)
    named = "; ".join(f"{'+' if change.better else '-'} {change.label}" for change in changes)
    context.record.event(
        DIFFED,
        KEY,
        named or "no kind of change that the rules can name",
        item=prompt.id,
        texts={"diff": marked(diff)},
        data={
            "set": name,
            "changes": [{"id": c.id, "label": c.label, "better": c.better} for c in changes],
            "words_removed": diff.changed_words_left,
            "words_added": diff.changed_words_right,
            "truncated": diff.truncated,
        },
    )


def marked(diff: AlignedDiff) -> str:
    """The diff as lines for readers without colours or columns: "- " base, "+ " trained, "  " both the same."""
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
