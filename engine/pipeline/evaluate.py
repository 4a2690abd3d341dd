"""Judging texts that the user typed in or passed in a file, outside of a run or during one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from engine.constitution.model import Constitution
from engine.control import Control
from engine.errors import InputError
from engine.events.verdicts import EvalDecision, EvalInput, EvalModelResponse, summary
from engine.judges.base import Judge, JudgeInput, Verdict
from engine.judges.registry import JudgeParts, make_judge
from engine.models.client.endpoint import Server
from engine.models.inference.requests import LanguageModel
from engine.pipeline.model_cache import ModelCache
from engine.pipeline.recorder import Recorder
from engine.prompts.load import Row
from engine.text import sanitize

LONGEST = 2_000_000
"""Characters of a text that is judged; a longer one is refused, not cut."""


def check_text(text: str, where: str = "text") -> str:
    """The text, cleaned.

    Raises:
        InputError: it is empty or too long.
    """
    text = sanitize(text)
    if not text.strip():
        raise InputError("the text is empty.", where=where, next_step="Type or paste what is to be judged.")
    if len(text) > LONGEST:
        raise InputError(
            f"the text has {len(text):,} characters; at most {LONGEST:,} are judged at once.",
            where=where,
            next_step="Split it.",
        )
    return text


def evaluate_rows(
    rows: Sequence[Row],
    judge: str,
    constitution: Constitution,
    model: LanguageModel | None,
    control: Control,
    server: Server | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> Iterator[Verdict]:
    """One verdict a row, in any order; `model` may be None where the judge of this name asks none.

    `on_notice` gets a sentence on each thing that the judge's server does without.

    A row without text gets "no verdict" and its reason; the others are not touched by it.
    """
    texts: list[JudgeInput] = []
    for row in rows:
        if row.note:
            yield Verdict(row.id, None, note=row.note)
            continue
        try:
            texts.append(JudgeInput(row.id, check_text(row.text), sanitize(row.prompt)))
        except InputError as error:
            yield Verdict(row.id, None, note=str(error))
    if texts:
        models = ModelCache()
        parts = JudgeParts(constitution, model, models.get, server=server, is_loaded=models.holds)
        made = make_judge(judge, parts)
        yield from made.judge(texts, control)
        if on_notice is not None:
            for notice in made.notices:
                on_notice(notice)


def evaluate_text(
    text: str, prompt: str, key: str, judge: Judge, most: float, log: Recorder, control: Control
) -> Verdict:
    """Judge one text and write EVAL-INPUT, EVAL-MODEL-RESPONSE (where a model was asked) and EVAL-DECISION.

    Args:
        most: the highest score that the constitution allows, for the summary.

    Raises:
        InputError: the text is empty or too long.
    """
    text = check_text(text)
    prompt = sanitize(prompt)
    log.write(EvalInput(item=key, summary=f"{len(text):,} characters", prompt=prompt, text=text, characters=len(text)))
    verdict = next(iter(judge.judge([JudgeInput(key, text, prompt)], control)))
    if verdict.request:
        log.write(
            EvalModelResponse(
                item=key,
                summary="the model's answer",
                response=verdict.response,
                request=verdict.request,
                seconds=verdict.seconds,
            )
        )
    log.write(EvalDecision.of(verdict, item=key, summary=summary(verdict, most)))
    return verdict
