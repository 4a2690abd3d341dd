"""Names of the stages as they stand in a journal, and what each event's `data` holds.

`docs/journal.md` is made from `STAGES`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A kind of event.

    Args:
        pattern: the name, with `*` for a number.
        meaning: one sentence for the reference.
        texts, raw: labels that its events may carry.
        data: key -> meaning, of what its events carry in `data`.
    """

    pattern: str
    meaning: str
    texts: tuple[str, ...] = ()
    raw: tuple[str, ...] = ()
    data: dict[str, str] | None = None

    def matches(self, name: str) -> bool:
        return re.fullmatch(re.escape(self.pattern).replace(r"\*", r"\d+"), name) is not None


_VERDICT = {
    "flagged": "true, false, or null for no verdict",
    "principles": "principle id -> probability of a violation",
    "broken": "ids of the principles broken",
    "score": "weighted score, null without a verdict",
    "category": "kind of the heaviest violation",
    "method": "which part of the judge decided",
    "judge": "name of the judge",
    "spans": "list of {start, end, principle, category, rule} in the judged text",
}

STAGES: tuple[Stage, ...] = (
    Stage(
        "RUN-START",
        "A run began, with all that it was asked to do.",
        data={
            "config": "the run's settings",
            "versions": "package -> version",
            "machine": "cores, memory, dtype, threads",
            "hashes": "sha256 of constitution, prompt sets and model",
        },
    ),
    Stage("RUN-RESUMED", "A run went on after it was interrupted.", data={"reused": "items taken from the journal"}),
    Stage("MODEL-LOADING", "A model is being read, converted or fetched.", data={"model": "name"}),
    Stage(
        "MODEL-LOADED",
        "A model is ready.",
        data={"model": "name", "parameters": "count", "dtype": "as computed", "seconds": "load time"},
    ),
    Stage(
        "JUDGES",
        "Who judges what from here on, and how good each was measured to be.",
        data={
            "shown": "judge of the texts that are read: name, accuracy (a sentence), measures (set -> figures)",
            "comparison": "judge of the comparison, in the same way; runs only",
            "apart": "the judge of the comparison is neither the trained model nor the one that chose the pairs",
        },
    ),
    Stage(
        "STAGE-START",
        "A stage of the loop began.",
        data={"name": "draft, verdict, critique, revision, pair, train, compare", "total": "items to do"},
    ),
    Stage(
        "PROGRESS",
        "How far the running stage is; at most one a second.",
        data={"name": "stage", "done": "items", "total": "items", "tokens": "generated so far", "rate": "tokens/s"},
    ),
    Stage("STAGE-END", "A stage of the loop ended.", data={"name": "stage", "done": "items", "seconds": "wall time"}),
    Stage("EVAL-INPUT", "A text to judge came in.", texts=("text", "prompt"), data={"characters": "of the text"}),
    Stage(
        "EVAL-MODEL-RESPONSE",
        "What a model judge answered when asked about a text.",
        texts=("response",),
        raw=("request",),
        data={"usable": "whether it parsed", "seconds": "time"},
    ),
    Stage("EVAL-DECISION", "The verdict on a text.", texts=("reasoning", "note"), data=_VERDICT),
    Stage("TRAINING-EXAMPLE *", "A training prompt's turn; the name ends in i/n.", texts=("prompt",)),
    Stage(
        "INITIAL-GENERATION",
        "The draft: the generator's first answer.",
        texts=("draft",),
        raw=("request", "raw"),
        data={"tokens": "generated", "seconds": "until it ended", "finish": "stop or length"},
    ),
    Stage(
        "INITIAL-EVALUATION",
        "The verdict on the draft.",
        texts=("reasoning",),
        raw=("model response", "judge request", "note"),
        data=_VERDICT,
    ),
    Stage(
        "CRITIQUE-GENERATION",
        "What the model says is wrong with its draft.",
        texts=("prompt", "critique"),
        raw=("request", "raw"),
        data={"principle": "id", "tokens": "generated", "seconds": "until it ended"},
    ),
    Stage(
        "REVISION-CANDIDATE",
        "One of the rewritten answers to choose from.",
        texts=("revision",),
        raw=("request", "raw"),
        data={"candidate": "number from 1", "tokens": "generated", "seconds": "until it ended"},
    ),
    Stage(
        "CANDIDATE-EVALUATION",
        "The verdict on a candidate.",
        texts=("reasoning",),
        raw=("model response", "judge request", "note"),
        data={"candidate": "number from 1", **_VERDICT},
    ),
    Stage(
        "REVISION-GENERATION",
        "The rewritten answer that was chosen among the candidates.",
        texts=("prompt", "revision"),
        raw=("candidate *",),
        data={"candidates": "count", "taken": "which, from 1; 0 is the draft itself", "scores": "of each candidate"},
    ),
    Stage(
        "REVISION-EVALUATION",
        "The verdict on the revision.",
        texts=("reasoning",),
        raw=("model response", "judge request", "note"),
        data=_VERDICT,
    ),
    Stage(
        "TRAINING-PAIR-CREATED",
        "A preference pair was kept, or dropped with a reason.",
        texts=("prompt", "rejected", "chosen"),
        data={
            "kept": "whether it trains",
            "reason": "why it was dropped",
            "from": "expected score of the rejected answer: sum of weight times probability",
            "to": "expected score of the chosen answer",
            "score_from, score_to": "weighted scores of the two; null without a verdict",
            "improvement": "from - to",
            "percent": "improvement in percent of from, null where from is 0",
            "seconds": "spent on this pair over all stages",
        },
    ),
    Stage(
        "TRAIN-START",
        "Fine-tuning began.",
        data={
            "objective": "sft or dpo",
            "rows": "count",
            "epochs": "count",
            "batches": "a epoch",
            "parameters": "trained",
        },
    ),
    Stage(
        "EPOCH-*-BATCH-*",
        "One optimizer step; with a sample answer of the model in training where one was due.",
        texts=("sample prompt", "sample"),
        raw=("request", "raw"),
        data={
            "loss": "mean over completion tokens",
            "change": "loss against the step before",
            "step": "from 1",
            "steps": "in all",
            "lr": "learning rate",
            "grad_norm": "before clipping",
            "num_tokens": "trained on so far",
            "rewards/chosen, rewards/rejected, rewards/margins, rewards/accuracies": "DPO only",
            "logps/chosen, logps/rejected": "DPO only",
            "sample": "verdict on the sample, keys as in EVAL-DECISION",
        },
    ),
    Stage(
        "EPOCH-*-COMPLETE", "An epoch ended.", data={"loss": "mean", "valid": "loss on rows kept out, where measured"}
    ),
    Stage(
        "TRAIN-COMPLETE",
        "Fine-tuning ended; the adapter is in the run's folder.",
        data={"adapter": "folder", "steps": "optimizer steps", "loss": "of the last epoch", "seconds": "wall time"},
    ),
    Stage(
        "COMPARISON-ANSWER",
        "An answer of the base or the trained model to a prompt that was never trained on.",
        texts=("prompt", "answer"),
        raw=("request", "raw"),
        data={"set": "heldout or benign", "arm": "base or trained", "tokens": "generated", "seconds": "until it ended"},
    ),
    Stage(
        "COMPARISON-EVALUATION",
        "The verdict on such an answer.",
        texts=("reasoning",),
        raw=("model response", "judge request", "note"),
        data={"set": "heldout or benign", "arm": "base or trained", **_VERDICT},
    ),
    Stage(
        "COMPARISON-SECOND-VERDICT",
        "What the judge that chose the training pairs says of such an answer; only for their agreement.",
        texts=("reasoning",),
        raw=("model response", "judge request", "note"),
        data={"set": "heldout or benign", "arm": "base or trained", **_VERDICT},
    ),
    Stage(
        "COMPARISON-TEST",
        "Base and trained answer to one prompt that was never trained on, with verdicts; the name ends in i/n.",
        texts=("prompt", "base", "trained"),
        data={"set": "heldout or benign", "base": "verdict", "trained": "verdict"},
    ),
    Stage(
        "SIDE-BY-SIDE-DIFF",
        "What changed from the base to the trained answer.",
        texts=("diff",),
        data={
            "changes": "list of {id, label, better}",
            "words_removed": "count",
            "words_added": "count",
            "truncated": "the diff ran out of time",
        },
    ),
    Stage("COMPARISON-SUMMARY", "Paired statistics over all compared prompts.", data={"result": "see report.json"}),
    Stage(
        "RUN-COMPLETE",
        "The run ended, with its figures.",
        data={
            "seconds": "wall time",
            "report": "file name",
            "pairs": "kept",
            "dropped": "count",
            "summary": "statistics",
        },
    ),
    Stage("RUN-STOPPED", "The run was stopped before its end; it can be resumed.", data={"stage": "where"}),
    Stage("RUN-PAUSED", "The run waits."),
    Stage("RUN-CONTINUED", "The run goes on after a pause."),
    Stage(
        "NOTICE",
        "Something that a person has to know; of a failure that nobody foresaw the traceback is under raw.",
        raw=("traceback",),
        data={"type": "exception, where something failed"},
    ),
    Stage("ERROR", "Something failed; the traceback is under raw.", raw=("traceback",), data={"type": "exception"}),
)


def find(name: str) -> Stage | None:
    """The stage that an event's name belongs to; None where it is unknown (a newer version's)."""
    bare = re.sub(r" \d+/\d+$", "", name)
    for stage in STAGES:
        if stage.pattern.removesuffix(" *") == bare or stage.matches(bare):
            return stage
    return None
