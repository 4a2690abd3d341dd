"""Events from a training prompt to its preference pair: draft, critique, candidates, revision, pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.events.base import KEY
from engine.events.schema import Event, data, in_name, raw, text


@dataclass(frozen=True, kw_only=True)
class Generated(Event):
    """Something that a model wrote, and at what cost."""

    request: str = raw("The prompt as sent, with the model's chat template.")
    raw_output: str = raw("The output before cleaning.", label="raw")
    tokens: int = data("Tokens generated.", absent=0)
    seconds: float = data("Wall time from the start of the batch to the end of this text.", absent=0.0, digits=4)
    share: float | None = data("This text's share of the batch's wall time, in seconds.", absent=None, digits=4)
    error: str = data("Why there is no text; empty where there is.", absent="")


@dataclass(frozen=True, kw_only=True)
class TrainingExample(Event):
    """The turn of a training prompt."""

    STAGE = "TRAINING-EXAMPLE {number}/{total}"
    level: int = KEY
    number: int = in_name("Number of the prompt, from 1.")
    total: int = in_name("Number of training prompts.")
    prompt: str = text("The prompt.")
    principle: str = data("Id of the principle that the prompt was written to test; may be empty.", absent="")
    topic: str = data("Topic of the prompt; may be empty.", absent="")


@dataclass(frozen=True, kw_only=True)
class Draft(Generated):
    """The generator's first answer to a training prompt."""

    STAGE = "INITIAL-GENERATION"
    level: int = KEY
    draft: str = text("The answer.")
    prompt_tokens: int = data("Tokens of the prompt.", absent=0)
    finish: str = data("Why generation ended: stop or length.", absent="")


@dataclass(frozen=True, kw_only=True)
class DraftSample(Generated):
    """A further answer to a training prompt: the best and the worst of them become a preference pair."""

    STAGE = "DRAFT-SAMPLE"
    level: int = KEY
    sample: str = text("The answer.")
    candidate: int = data("Number of the sample, from 1; the draft is 0.")
    finish: str = data("Why generation ended: stop or length.", absent="")


@dataclass(frozen=True, kw_only=True)
class Demonstration(Event):
    """The written answer that came with a training prompt; no model wrote it."""

    STAGE = "DEMONSTRATION"
    level: int = KEY
    demonstration: str = text("The answer.")
    candidate: int = data("Number of the candidate; samples and revisions come first.")


@dataclass(frozen=True, kw_only=True)
class Critique(Generated):
    """The model's critique of its draft under one principle."""

    STAGE = "CRITIQUE-GENERATION"
    level: int = KEY
    prompt: str = text("The prompt.")
    critique: str = text("The critique.")
    principle: str = data("Id of the principle.")


@dataclass(frozen=True, kw_only=True)
class RevisionCandidate(Generated):
    """One of the revisions to choose from."""

    STAGE = "REVISION-CANDIDATE"
    level: int = KEY
    revision: str = text("The revised answer.")
    candidate: int = data("Number of the candidate, from 1; samples of the draft come first.")
    finish: str = data("Why generation ended: stop or length.", absent="")


@dataclass(frozen=True, kw_only=True)
class Revision(Event):
    """The candidate that was chosen."""

    STAGE = "REVISION-GENERATION"
    level: int = KEY
    prompt: str = text("The prompt.")
    revision: str = text("The chosen text; the draft where no candidate is better.")
    candidate_texts: Mapping[str, str] = raw("Every candidate, by number.", label="candidate *")
    candidates: int = data("Candidates that were written.", absent=0)
    taken: int = data("Number of the chosen candidate; 0 for the draft.", absent=0)
    scores: tuple[float | None, ...] = data(
        "Score of the draft and of each candidate; null without a verdict.", absent=()
    )


@dataclass(frozen=True, kw_only=True)
class PairDecided(Event):
    """A preference pair was kept, or dropped with a reason."""

    STAGE = "TRAINING-PAIR-CREATED"
    level: int = KEY
    prompt: str = text("The prompt.")
    rejected: str = text("The worse answer.")
    chosen: str = text("The better answer.")
    kept: bool = data("Whether the pair is trained on.", absent=True)
    reason: str = data("Why it was dropped; empty where it was kept.", absent="")
    principle: str = data("Id of the principle that the critique is about.", absent="")
    taken: int = data("Number of the chosen candidate; 0 for the draft.", absent=0)
    against: int = data("Number of the rejected candidate; 0 for the draft.", absent=0)
    expected_rejected: float | None = data(
        "Expected score of the rejected answer: sum of weight times probability over the principles.",
        key="from",
        absent=None,
        digits=6,
    )
    expected_chosen: float | None = data("Expected score of the chosen answer.", key="to", absent=None, digits=6)
    improvement: float | None = data("from - to", absent=None, digits=6)
    percent: float | None = data("The improvement in percent of `from`; null where that is 0.", absent=None, digits=2)
    score_rejected: float | None = data("Score of the rejected answer.", key="score_from", absent=None)
    score_chosen: float | None = data("Score of the chosen answer.", key="score_to", absent=None)
    seconds: float = data("Wall time spent on this pair over all stages.", absent=0.0, digits=3)
