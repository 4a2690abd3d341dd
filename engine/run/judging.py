"""Which judges a run or an evaluation gets, from the setting's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.constitution.model import Constitution
from engine.errors import InputError, ModelError
from engine.judge.generative import ModelJudge
from engine.judge.rating import Rating, rating
from engine.judge.rules import RulesJudge
from engine.judge.verdict import Judge, Judged
from engine.judge.words import WordsJudge
from engine.models.endpoint import Server
from engine.models.requests import LanguageModel
from engine.run.context import Judges
from engine.run.models import Models
from engine.settings import JUDGES, RunConfig

if TYPE_CHECKING:
    from engine.judge.panel import PanelJudge, Reader
    from engine.judge.spans import WithSpans


ASKING = ("model", "rules+model", "likelihood")
"""Judges that need a model of this machine, beside the one that a probe reads."""


def needs_model(judge: str) -> bool:
    """Whether the judge of this name asks the critic where one text is judged.

    Raises:
        InputError: there is no judge of this name.
    """
    if judge not in JUDGES:
        raise InputError(
            f"there is no judge {judge!r}.", where="--judge", next_step=f"Choose one of: {', '.join(JUDGES)}."
        )
    return judge in ASKING


def check_judge(config: RunConfig) -> None:
    """Refuse settings that name no judge, or parts of two; nothing is loaded or sent.

    Raises:
        InputError: naming the option.
    """
    needs_model(config.judge)
    server_of(config)


def server_of(config: RunConfig) -> Server | None:
    """The server that the settings name; None where the judge is another.

    Raises:
        InputError: it cannot be used, or is named beside another judge.
    """
    from engine.models.http import Patience

    if config.judge != "endpoint":
        for name in ("endpoint", "endpoint_model", "endpoint_key_env"):
            if getattr(config, name):
                raise InputError(
                    f"this is for the judge endpoint, and the judge is {config.judge}.",
                    where="--" + name.replace("_", "-"),
                    next_step="Add --judge endpoint, or leave it out.",
                )
        return None
    if not config.endpoint:
        raise InputError(
            "the judge endpoint needs the address of a server.",
            where="--endpoint",
            next_step="Write it like --endpoint http://127.0.0.1:8080/v1 --endpoint-model NAME.",
        )
    server = Server(
        url=str(config.endpoint),
        model=str(config.endpoint_model),
        key_env=str(config.endpoint_key_env),
        patience=Patience(timeout=float(config.endpoint_timeout)),
        concurrency=int(config.endpoint_concurrency),
    )
    server.check()
    return server


def make_judge(
    judge: str,
    constitution: Constitution,
    model: LanguageModel | None,
    models: Models | None = None,
    device: str = "",
    member: str = "whole",
    server: Server | None = None,
    unproven: bool = False,
) -> WordsJudge:
    """The judge of this name.

    Args:
        model: whose words are shown beside, and who is asked by the judges of `ASKING`; None where no words are wanted.
        models: holds the model that a probe reads; its own are loaded where None.
        member: which of the probes "panel" takes: "whole", "a" or "b".
        server: of the judge "endpoint".
        unproven: let a model's own verdict count though nothing was measured of it: for the measurement.

    Raises:
        InputError: there is no judge of this name.
        ModelError: the probe's model is not installed or does not fit.
    """
    needs_model(judge)
    if judge in ("likelihood", "endpoint"):
        return WordsJudge(_spanned(judge, constitution, model, server), None, model_decides=False)
    first: Judge = (
        _panel(constitution, _reader(models, device), member) if judge == "panel" else RulesJudge(constitution)
    )
    asked = ModelJudge(model, constitution) if judge != "rules" and model is not None else None
    return WordsJudge(first, asked, model_decides=judge == "model", unproven=unproven)


def make_judges(
    judge: str,
    constitution: Constitution,
    model: LanguageModel | None,
    models: Models | None = None,
    device: str = "",
    server: Server | None = None,
) -> Judges:
    """The judges of a run: one with words for the texts that are read, a quick one for candidates, and another one for
    the comparison.

    With "panel", probe A chooses what is trained on and probe B, fitted on other texts, judges the comparison; with
    every other judge it is probe B too, where it knows the constitution's principles and its model can be loaded. Both
    probes read weights that nobody trains. How far the two judges agree is measured on the compared answers.
    """
    read = _reader(models, device)
    other = _other(constitution, models, device, read, must=judge == "panel")
    if judge == "panel":
        asked = ModelJudge(model, constitution) if model is not None else None
        shown = WordsJudge(_panel(constitution, read, "a"), asked, model_decides=False)
    else:
        shown = make_judge(judge, constitution, model, server=server)
    if other is None:
        quick = shown.quick()
        return Judges(shown=shown, quick=quick, comparison=quick, rating=rating(quick))
    quick = shown.quick()
    return Judges(
        shown=shown,
        quick=quick,
        comparison=other,
        selecting=quick,
        alongside=judge == "panel",
        apart=True,
        rating=rating(other),
    )


def _other(
    constitution: Constitution, models: Models | None, device: str, read: Reader, *, must: bool
) -> PanelJudge | None:
    """Probe B with the rules, where it has a say.

    Raises:
        ModelError: its model cannot be loaded, and it `must` be.
    """
    judge = _panel(constitution, read, "b")
    if not judge.accuracy:
        return None
    if must:
        return judge
    from engine.judge.probe import load

    try:
        # Told now, not when everything else is done.
        (models if models is not None else Models()).get(load().model, device)
    except ModelError:
        return None
    return judge


def _spanned(judge: str, constitution: Constitution, model: LanguageModel | None, server: Server | None) -> WithSpans:
    from engine.judge.spans import WithSpans

    if judge == "endpoint":
        from engine.judge.endpoint import EndpointJudge
        from engine.models.endpoint import Endpoint

        assert server is not None
        return WithSpans(EndpointJudge(Endpoint(server), constitution), constitution)
    from engine.judge.likelihood import LikelihoodJudge
    from engine.models.local import LocalModel

    assert isinstance(model, LocalModel)
    return WithSpans(LikelihoodJudge(model, constitution), constitution)


def _panel(constitution: Constitution, read: Reader, member: str) -> PanelJudge:
    from engine.judge.panel import PanelJudge
    from engine.judge.probe import load

    probes = load()
    title = f"probe {member.upper() if member != 'whole' else 'on all rows'} of {probes.model}"
    return PanelJudge(constitution, probes.probes[member], read, title)


def _reader(models: Models | None, device: str) -> Reader:
    """Reads the layers of the probes' model, which is loaded at the first text, in the number format that suits the
    device whatever the run's own: verdicts must not depend on how the generator is computed. Texts that two probes
    judge one after the other are read once."""
    from engine.control import Control
    from engine.judge import features
    from engine.judge.features import Vectors
    from engine.judge.probe import load

    probes = load()
    held = models if models is not None else Models()

    last: dict[tuple[tuple[str, str], ...], Vectors] = {}

    def read(texts: Sequence[Judged], control: Control) -> Vectors:
        key = tuple((text.prompt, text.text) for text in texts)
        if key not in last:
            model = held.get(probes.model, device)
            probes.check_model(model)
            found = features.vectors(model, texts, probes.layers, control)
            last.clear()
            last[key] = found
        return last[key]

    return read


def rate(config: RunConfig) -> Rating:
    """How good the settings' judge of single texts was measured to be, as far as that can be told without loading a
    model; what was measured of a model itself is told by a run's or session's JUDGES event.

    Raises:
        InputError: the settings name no judge, or their constitution cannot be used.
        StorageError: a probe's file is damaged.
    """
    from engine.run.prepare import constitution_of

    check_judge(config)
    if config.judge in ("likelihood", "model"):
        return Rating(f"{config.judge} of {config.critic or config.generator}")
    return rating(make_judge(config.judge, constitution_of(config), None, server=server_of(config)))
