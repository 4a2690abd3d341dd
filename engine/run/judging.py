"""Which judges a run or an evaluation gets, from the setting's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.constitution.model import Constitution
from engine.errors import InputError
from engine.judge.generative import ModelJudge
from engine.judge.rules import RulesJudge
from engine.judge.verdict import Judge, Judged
from engine.judge.words import WordsJudge
from engine.models.requests import LanguageModel
from engine.run.context import Judges
from engine.settings import JUDGES

if TYPE_CHECKING:
    from engine.judge.panel import PanelJudge, Reader
    from engine.run.models import Models


def needs_model(judge: str) -> bool:
    """Whether the judge of this name asks the critic for its words where one text is judged.

    Raises:
        InputError: there is no judge of this name.
    """
    if judge not in JUDGES:
        raise InputError(
            f"there is no judge {judge!r}.", where="--judge", next_step=f"Choose one of: {', '.join(JUDGES)}."
        )
    return judge in ("model", "rules+model")


def make_judge(
    judge: str,
    constitution: Constitution,
    model: LanguageModel | None,
    models: Models | None = None,
    device: str = "",
    member: str = "whole",
) -> WordsJudge:
    """The judge of this name.

    Args:
        model: whose words are shown beside, and asked by "model"; None where no words are wanted.
        models: holds the model that a probe reads; its own are loaded where None.
        member: which of the probes "panel" takes: "whole", "a" or "b".

    Raises:
        InputError: there is no judge of this name.
        ModelError: the probe's model is not installed or does not fit.
    """
    needs_model(judge)
    first: Judge = _panel(constitution, models, device, member) if judge == "panel" else RulesJudge(constitution)
    asked = ModelJudge(model, constitution) if judge != "rules" and model is not None else None
    return WordsJudge(first, asked, model_decides=judge == "model")


def make_judges(
    judge: str, constitution: Constitution, model: LanguageModel | None, models: Models | None = None, device: str = ""
) -> Judges:
    """The judges of a run: one with words for the texts that are read, a quick one for candidates and comparisons.

    With "panel", probe A chooses what is trained on and probe B, fitted on other texts, judges the comparison; both
    read the weights that nobody trains.
    """
    if judge != "panel":
        shown = make_judge(judge, constitution, model)
        return Judges(shown=shown, quick=shown.quick(), comparison=shown.quick())
    shown = make_judge(judge, constitution, model, models, device, "a")
    comparison = _panel(constitution, models, device, "b")
    accuracy = comparison.accuracy
    return Judges(shown=shown, quick=shown.quick(), comparison=comparison, apart=bool(accuracy), accuracy=accuracy)


def _panel(constitution: Constitution, models: Models | None, device: str, member: str) -> PanelJudge:
    from engine.judge.panel import PanelJudge
    from engine.judge.probe import load

    probes = load()
    title = f"probe {member.upper() if member != 'whole' else 'on all rows'} of {probes.model}"
    return PanelJudge(constitution, probes.probes[member], _reader(models, device), title)


def _reader(models: Models | None, device: str) -> Reader:
    """Reads the layers of the probes' model, which is loaded at the first text, in the number format that suits the
    device whatever the run's own: verdicts must not depend on how the generator is computed."""
    from engine.control import Control
    from engine.judge import features
    from engine.judge.features import Vectors
    from engine.judge.probe import load
    from engine.run.models import Models

    probes = load()
    held = models if models is not None else Models()

    def read(texts: Sequence[Judged], control: Control) -> Vectors:
        model = held.get(probes.model, device)
        probes.check_model(model)
        return features.vectors(model, texts, probes.layers, control)

    return read
