"""What a run has finished so far, built from its events alone: the ones just written, or a journal's after a crash.

So a resumed run knows exactly what an uninterrupted one would, and repeats at most what was in the air.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.events.base import Event
from engine.judges import verdict_codec
from engine.judges.base import Verdict

DRAFT = "INITIAL-GENERATION"
DRAFT_VERDICT = "INITIAL-EVALUATION"
CRITIQUE = "CRITIQUE-GENERATION"
CANDIDATE = "REVISION-CANDIDATE"
CANDIDATE_VERDICT = "CANDIDATE-EVALUATION"
REVISION = "REVISION-GENERATION"
REVISION_VERDICT = "REVISION-EVALUATION"
PAIR = "TRAINING-PAIR-CREATED"
TRAINED = "TRAIN-COMPLETE"
ANSWER = "COMPARISON-ANSWER"
ANSWER_VERDICT = "COMPARISON-EVALUATION"
SECOND_VERDICT = "COMPARISON-SECOND-VERDICT"
COMPARED = "COMPARISON-TEST"
DIFFED = "SIDE-BY-SIDE-DIFF"
SUMMARISED = "COMPARISON-SUMMARY"
COMPLETE = "RUN-COMPLETE"


@dataclass
class RunState:
    """Finished items of a run.

    Args:
        drafts, draft_verdicts, critiques: id of the prompt -> result. A draft that could not be written is "".
        principles: id of the prompt -> id of the principle that its critique is about.
        candidates, candidate_verdicts: (id of the prompt, number from 1) -> result.
        pairs: ids of prompts whose pair was decided.
        revised: ids of prompts whose revision was chosen.
        answers, answer_verdicts: (set, id of the prompt, "base" or "trained") -> result.
        second_verdicts: the same key -> what the judge that chose the training pairs says of the answer.
        compared, diffed: (set, id) that were compared.
        seconds: id of the prompt -> generation and judging time spent on its pair.
        trained: adapter is in the run's folder.
        complete: the run reached its end.
    """

    drafts: dict[str, str] = field(default_factory=dict)
    draft_verdicts: dict[str, Verdict] = field(default_factory=dict)
    critiques: dict[str, str] = field(default_factory=dict)
    principles: dict[str, str] = field(default_factory=dict)
    candidates: dict[tuple[str, int], str] = field(default_factory=dict)
    candidate_verdicts: dict[tuple[str, int], Verdict] = field(default_factory=dict)
    revised: set[str] = field(default_factory=set)
    revision_judged: set[str] = field(default_factory=set)
    pairs: set[str] = field(default_factory=set)
    answers: dict[tuple[str, str, str], str] = field(default_factory=dict)
    answer_verdicts: dict[tuple[str, str, str], Verdict] = field(default_factory=dict)
    second_verdicts: dict[tuple[str, str, str], Verdict] = field(default_factory=dict)
    compared: set[tuple[str, str]] = field(default_factory=set)
    diffed: set[tuple[str, str]] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)
    trained: bool = False
    complete: bool = False

    def apply(self, event: Event) -> None:
        """Take one event in. Unknown stages are passed over, so newer journals stay readable."""
        item, data = event.item, event.data
        name = event.stage.split(" ", 1)[0]
        if name == DRAFT:
            self.drafts[item] = event.texts.get("draft", "")
        elif name == DRAFT_VERDICT:
            self.draft_verdicts[item] = verdict_codec.from_members(item, data, event.texts, event.raw)
        elif name == CRITIQUE:
            # In this order: a record that lacks the principle must not leave half of it behind.
            self.principles[item] = str(data["principle"])
            self.critiques[item] = event.texts.get("critique", "")
        elif name == CANDIDATE:
            self.candidates[item, int(data["candidate"])] = event.texts.get("revision", "")
        elif name == CANDIDATE_VERDICT:
            self.candidate_verdicts[item, int(data["candidate"])] = verdict_codec.from_members(
                item, data, event.texts, event.raw
            )
        elif name == REVISION:
            self.revised.add(item)
        elif name == REVISION_VERDICT:
            self.revision_judged.add(item)
        elif name == PAIR:
            self.pairs.add(item)
        elif name == TRAINED:
            self.trained = True
        elif name == ANSWER:
            self.answers[str(data["set"]), item, str(data["arm"])] = event.texts.get("answer", "")
        elif name in (ANSWER_VERDICT, SECOND_VERDICT):
            key = str(data["set"]), item, str(data["arm"])
            into = self.answer_verdicts if name == ANSWER_VERDICT else self.second_verdicts
            into[key] = verdict_codec.from_members(item, data, event.texts, event.raw)
        elif name == COMPARED:
            self.compared.add((str(data["set"]), item))
        elif name == DIFFED:
            self.diffed.add((str(data["set"]), item))
        elif name == COMPLETE:
            self.complete = True
        self._time(event)

    def _time(self, event: Event) -> None:
        """Generation and judging time that counts towards a pair."""
        if event.stage in (DRAFT, DRAFT_VERDICT, CRITIQUE, CANDIDATE, CANDIDATE_VERDICT) and event.item:
            spent = float(event.data.get("share") or event.data.get("seconds") or 0.0)
            self.seconds[event.item] = self.seconds.get(event.item, 0.0) + spent
