"""Which judges a run or an evaluation gets, from the setting's name."""

from __future__ import annotations

from engine.constitution.model import Constitution
from engine.errors import InputError
from engine.judge.generative import ModelJudge
from engine.judge.panel import PanelJudge
from engine.judge.rules import RulesJudge
from engine.models.requests import LanguageModel
from engine.run.context import Judges
from engine.settings import JUDGES


def needs_model(judge: str) -> bool:
    """Whether the judge of this name asks a language model.

    Raises:
        InputError: there is no judge of this name.
    """
    if judge not in JUDGES:
        raise InputError(
            f"there is no judge {judge!r}.", where="--judge", next_step=f"Choose one of: {', '.join(JUDGES)}."
        )
    return judge != "rules"


def make_judge(judge: str, constitution: Constitution, model: LanguageModel | None) -> PanelJudge:
    """The judge of this name; `model` may be None where it asks none."""
    rules = RulesJudge(constitution)
    asked = ModelJudge(model, constitution) if needs_model(judge) and model is not None else None
    return PanelJudge(rules, asked, model_decides=judge == "model")


def make_judges(judge: str, constitution: Constitution, model: LanguageModel | None) -> Judges:
    """The judges of a run: one with words for the texts that are read, a quick one for candidates and comparisons."""
    shown = make_judge(judge, constitution, model)
    return Judges(shown=shown, quick=shown.quick(), comparison=shown.quick())
