"""The training pairs of a run with everything that led to them, and its training curves, read from the journal."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.events.generation import Critique, Demonstration, Draft, PairDecided, TrainingExample
from engine.events.registry import parse
from engine.events.run import RunStart
from engine.events.schema import DamagedEvent, Event
from engine.events.training import EpochEnd, TrainEnd, TrainStart, TrainStep
from engine.prompts.duplicates import tokens
from engine.runs.journal_reader import read


@dataclass(frozen=True)
class TrainingPair:
    """A preference pair, or why there is none, with the texts that it came from.

    Args:
        item: id of the prompt.
        prompt, draft, critique, chosen, rejected: texts; "" where there is none.
        principle: id of the principle that the critique is about, or that the prompt was written for.
        kept: whether the pair was trained on.
        reason: why it was dropped.
        expected_chosen, expected_rejected: expected scores by the judge that chose the pair; None without a verdict.
        score_chosen, score_rejected: its weighted scores; None without a verdict.
        demonstration: the written answer that came with the prompt; "" where there was none.
        is_demonstrated: whether the chosen answer is that one.
    """

    item: str
    prompt: str
    draft: str = ""
    critique: str = ""
    chosen: str = ""
    rejected: str = ""
    principle: str = ""
    kept: bool = False
    reason: str = ""
    expected_chosen: float | None = None
    expected_rejected: float | None = None
    score_chosen: float | None = None
    score_rejected: float | None = None
    demonstration: str = ""
    is_demonstrated: bool = False


@dataclass
class TrainingHistory:
    """What a run trained on, and how.

    Args:
        pairs: in the order in which they were decided.
        steps: the optimizer steps in order, a repeated one (after a resume) once.
        validation: (steps done, validation loss) after each epoch that measured one.
        epochs: steps done at the end of each epoch.
        seconds: wall time of the training; None where it did not end.
        started: seconds since the epoch at which the run began; 0 where it is not known.
    """

    pairs: list[TrainingPair] = field(default_factory=list)
    steps: list[TrainStep] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    seconds: float | None = None
    started: float = 0.0


def read_history(folder: Path) -> TrainingHistory:
    """What the journal says of pairs and of the first training. Records that are damaged are left out.

    Raises:
        StorageError: the journal cannot be read.
    """
    history = TrainingHistory()
    found: dict[str, TrainingPair] = {}
    seen: set[int] = set()
    training = 1
    for record in read(folder):
        try:
            event = parse(record)
        except DamagedEvent:
            continue
        if isinstance(event, RunStart) and not history.started:
            history.started = record.time
        elif isinstance(event, TrainingExample | Draft | Demonstration | Critique | PairDecided):
            _add_text(found, history, event)
        elif isinstance(event, TrainStart):
            training = event.training
        elif training != 1:
            continue
        elif isinstance(event, TrainStep) and event.step not in seen:
            seen.add(event.step)
            history.steps.append(event)
        elif isinstance(event, EpochEnd):
            history.epochs.append(len(history.steps))
            if event.validation_loss is not None:
                history.validation.append((len(history.steps), event.validation_loss))
        elif isinstance(event, TrainEnd):
            history.seconds = event.seconds
    return history


def _add_text(found: dict[str, TrainingPair], history: TrainingHistory, event: Event) -> None:
    known = found.get(event.item) or TrainingPair(event.item, "")
    if isinstance(event, TrainingExample):
        known = replace(known, prompt=event.prompt, principle=event.principle)
    elif isinstance(event, Draft):
        known = replace(known, draft=event.draft)
    elif isinstance(event, Demonstration):
        known = replace(known, demonstration=event.demonstration)
    elif isinstance(event, Critique):
        known = replace(known, critique=event.critique, principle=event.principle, prompt=event.prompt)
    elif isinstance(event, PairDecided):
        known = replace(
            known,
            prompt=event.prompt or known.prompt,
            chosen=event.chosen,
            rejected=event.rejected,
            principle=event.principle or known.principle,
            kept=event.kept,
            reason=event.reason,
            expected_chosen=event.expected_chosen,
            expected_rejected=event.expected_rejected,
            score_chosen=event.score_chosen,
            score_rejected=event.score_rejected,
            is_demonstrated=bool(known.demonstration) and event.chosen == known.demonstration,
        )
        history.pairs = [pair for pair in history.pairs if pair.item != event.item]
        history.pairs.append(known)
    found[event.item] = known


class NearestPrompts:
    """Finds the training prompts that share most words with another one: cosine of TF-IDF weights of their words.

    Which rows shaped a single answer is not known; this only says which training prompts are alike.
    """

    MIN_SIMILARITY = 0.15
    """Below this prompts share little more than common words."""

    def __init__(self, prompts: Sequence[str]) -> None:
        bags = [set(tokens(prompt)) for prompt in prompts]
        counts: dict[str, int] = defaultdict(int)
        for bag in bags:
            for word in bag:
                counts[word] += 1
        self._idf = {word: math.log((1 + len(bags)) / (1 + count)) + 1 for word, count in counts.items()}
        self._rare = math.log(1 + len(bags)) + 1
        self._postings: Mapping[str, list[tuple[int, float]]] = defaultdict(list)
        for number, bag in enumerate(bags):
            for word, weight in self._weights(bag).items():
                self._postings[word].append((number, weight))

    def nearest(self, prompt: str, count: int = 3) -> list[tuple[int, float]]:
        """(position, similarity from 0 to 1) of the most similar prompts, best first; [] where none is alike."""
        ranked = sorted(self.similarities(prompt).items(), key=lambda entry: (-entry[1], entry[0]))
        return [(number, value) for number, value in ranked[:count] if value >= self.MIN_SIMILARITY]

    def similarities(self, prompt: str) -> dict[int, float]:
        """Position -> similarity, above 0 to 1, of each that shares a word with the prompt."""
        sums: dict[int, float] = defaultdict(float)
        for word, weight in self._weights(set(tokens(prompt))).items():
            for number, other in self._postings.get(word, ()):
                sums[number] += weight * other
        return dict(sums)

    def _weights(self, words: Iterable[str]) -> dict[str, float]:
        weights = {word: self._idf.get(word, self._rare) for word in words}
        norm = math.sqrt(sum(weight**2 for weight in weights.values())) or 1.0
        return {word: weight / norm for word, weight in weights.items()}


@dataclass(frozen=True)
class NearPair:
    """A pair that was trained on, and how near it is to a compared answer.

    Args:
        question: similarity of both prompts by their words, 0 to 1.
        answer: similarity of the answer and the chosen one.
    """

    pair: TrainingPair
    question: float
    answer: float

    @property
    def nearness(self) -> float:
        """The mean of both."""
        return (self.question + self.answer) / 2


class Lineage:
    """Finds the pairs that were trained on whose words are nearest to those of a compared answer and its prompt.

    As `NearestPrompts`, this says what is alike, not what the answer comes from.
    """

    def __init__(self, pairs: Iterable[TrainingPair]) -> None:
        self.pairs = [pair for pair in pairs if pair.kept]
        self._questions = NearestPrompts([pair.prompt for pair in self.pairs])
        self._answers = NearestPrompts([pair.chosen for pair in self.pairs])

    def near(self, prompt: str, answer: str, count: int = 10) -> list[NearPair]:
        """The nearest pairs, best first; those without a common word are left out."""
        questions, answers = self._questions.similarities(prompt), self._answers.similarities(answer)
        found = [
            NearPair(self.pairs[place], questions.get(place, 0.0), answers.get(place, 0.0))
            for place in sorted(questions.keys() | answers.keys())
        ]
        return sorted(found, key=lambda one: -one.nearness)[:count]
