"""What all stages of a run share: its settings, models, judges, prompts, recorder and finished items."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engine.constitution.model import Constitution
from engine.control import Control
from engine.judges.registry import RunJudges
from engine.models.inference.requests import LanguageModel
from engine.pipeline.pairs import PreferencePair
from engine.pipeline.recorder import Recorder
from engine.prompts.load import Prompt
from engine.prompts.pairs import GivenPair
from engine.runs.arms import arm_names
from engine.runs.finished import FinishedItems
from engine.runs.trainings import Training, trainings
from engine.settings import RunConfig

if TYPE_CHECKING:
    from engine.models.local import LocalModel
    from engine.models.nn.lora_weights import Adapter


@dataclass(frozen=True)
class Prompts:
    """The prompts of a run.

    Args:
        train: what is trained on.
        heldout: what is compared on.
        benign: what no good answer refuses; compared on too.
        pairs: id of a training prompt -> the pair that the user brought for it; empty where pairs are made.
        notices: sentences on everything of the prompt files that is not used; none holds a word of a text.
        left_out_of: in a comparison of two models, runs that trained one of them and whose training prompts are known:
            none of those is compared on.
    """

    train: tuple[Prompt, ...]
    heldout: tuple[Prompt, ...]
    benign: tuple[Prompt, ...]
    notices: tuple[str, ...] = ()
    pairs: Mapping[str, GivenPair] = field(default_factory=dict)
    left_out_of: tuple[str, ...] = ()

    def compared(self) -> Iterator[tuple[str, Prompt]]:
        """(set, prompt) for every prompt of the comparison."""
        for prompt in self.heldout:
            yield "heldout", prompt
        for prompt in self.benign:
            yield "benign", prompt


@dataclass
class Results:
    """What a stage leaves in memory for later ones.

    Args:
        pairs: one per draft, once they are chosen.
        adapters: of each training that has ended, by the name of its trained model.
    """

    pairs: list[PreferencePair] = field(default_factory=list)
    adapters: dict[str, Adapter] = field(default_factory=dict)

    @property
    def kept(self) -> list[PreferencePair]:
        """The pairs to train on."""
        return [pair for pair in self.pairs if pair.kept]


@dataclass(frozen=True)
class Context:
    """Everything that a stage needs.

    Args:
        other: the second of two models that are compared; None in a run that trains one.
        finished: what the stages need not do again; it grows with every event that they write.
        started: `time.monotonic()` when the run was started or resumed.
    """

    config: RunConfig
    folder: Path
    constitution: Constitution
    prompts: Prompts
    generator: LocalModel
    critic: LanguageModel
    drafter: LanguageModel
    judges: RunJudges
    record: Recorder
    finished: FinishedItems
    control: Control
    other: LocalModel | None = None
    started: float = field(default_factory=time.monotonic)
    results: Results = field(default_factory=Results)

    @property
    def weights(self) -> dict[str, float]:
        return {p.id: p.weight for p in self.constitution.principles}

    @property
    def trainings(self) -> tuple[Training, ...]:
        """The trainings of the run, one per training seed."""
        return trainings(self.config)

    def contenders(self) -> Iterator[tuple[str, LocalModel]]:
        """What is compared with the generator: the trained models, or the other model of a comparison; each with the
        name that its answers have in the journal."""
        if self.other is not None:
            yield self.trainings[0].arm, self.other
            return
        for training in self.trainings:
            name = f"{self.generator.name}, {training.arm}"
            yield training.arm, self.generator.with_adapter(self.results.adapters[training.arm], name)

    def called(self, arm: str) -> str:
        """A model as a user knows it: "base", "trained", "trained-2"; in a comparison of two models "A" and "B"."""
        return dict(zip(("base", "trained"), arm_names(self.config.against), strict=True)).get(arm, arm)

    def drafted(self) -> list[Prompt]:
        """The training prompts that have a draft."""
        return [p for p in self.prompts.train if self.finished.drafts.get(p.id)]

    @property
    def demonstration_number(self) -> int:
        """The demonstration's number among the candidates of a prompt: after samples and revisions."""
        return self.config.n_samples + self.config.candidates

    def demonstrates(self, prompt: Prompt) -> bool:
        """Whether the demonstration of a training prompt is what is learned."""
        return self.config.teacher == "demonstrations" and bool(prompt.demonstration)

    def n_answers(self, set_name: str) -> int:
        """How many answers of each model to each prompt of a set are compared.

        A benign prompt gets one: whether refusals rose is a share of prompts, which more prompts measure better than
        more answers.
        """
        return self.config.answers_per_prompt if set_name == "heldout" else 1

    def compared_answers(self) -> list[tuple[str, Prompt, int]]:
        """Set, prompt and number of every answer that each model writes for the comparison."""
        return [
            (name, prompt, sample) for name, prompt in self.prompts.compared() for sample in range(self.n_answers(name))
        ]

    def seed_for(self, *parts: str | int) -> int:
        """A 63-bit seed that depends on the run's seed and on what it is for, never on the order of work."""
        text = "\x1f".join(str(part) for part in (self.config.seed, *parts))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
