"""Which judges a run or an evaluation gets, from the setting's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.constitution.model import Constitution
from engine.errors import InputError, ModelError
from engine.judges.base import Judge
from engine.judges.eval.report import Rating, rating
from engine.judges.llm.generative import ModelJudge
from engine.judges.llm.rationale import WordsJudge
from engine.judges.probe.loader import reader
from engine.judges.rules.judge import RulesJudge
from engine.models.client.endpoint import Server
from engine.models.inference.requests import LanguageModel
from engine.pipeline.context import Judges
from engine.settings import JUDGES, SHIPPED, RunConfig
from engine.text import sanitize, truncate

if TYPE_CHECKING:
    from engine.judges.panel import PanelJudge, Reader
    from engine.judges.probe.probe import ProbeSet
    from engine.judges.span_annotated import WithSpans
    from engine.pipeline.model_cache import Models


ASKING = ("model", "rules+model", "likelihood")
"""Judges that need a model of this machine, beside the one that a probe reads."""


def needs_model(judge: str) -> bool:
    """Whether the judge of this name asks the critic where one text is judged.

    Raises:
        InputError: there is no judge of this name.
    """
    _stored(judge)
    return judge in ASKING


def _stored(judge: str) -> str:
    """The name of the probes that the judge of this name reads; "" where it reads none.

    Raises:
        InputError: there is no judge of this name.
    """
    if judge in JUDGES:
        return SHIPPED if judge == "panel" else ""
    from engine.judges.probe.probe import names

    own = names()[1:]
    if judge not in own and not judge.endswith(".json"):
        raise InputError(
            f"there is no judge {truncate(sanitize(judge), 60)!r}.",
            where="--judge",
            next_step=f"Choose one of: {', '.join((*JUDGES, *own))}.",
        )
    return judge


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
    from engine.models.client.http import RetryPolicy

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
        retry=RetryPolicy(timeout=float(config.endpoint_timeout)),
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
    """The judge of this name: one of `JUDGES`, or a panel with a person's own probes by theirs.

    Args:
        model: whose words are shown beside, and who is asked by the judges of `ASKING`; None where no words are wanted.
        models: holds the model that a probe reads; its own are loaded where None.
        member: which of the probes a panel takes: "whole", "a" or "b".
        server: of the judge "endpoint".
        unproven: let a model's own verdict count though nothing was measured of it: for the measurement.

    Raises:
        InputError: there is no judge of this name.
        ModelError: the probe's model is not installed or does not fit.
    """
    from engine.judges.probe.probe import load

    needs_model(judge)
    if judge in ("likelihood", "endpoint"):
        return WordsJudge(_spanned(judge, constitution, model, server), None, model_decides=False)
    stored = _stored(judge)
    first: Judge = RulesJudge(constitution)
    if stored:
        probes = load(stored)
        first = panel(constitution, probes, reader(probes, models, device), member)
    asked = ModelJudge(model, constitution) if judge != "rules" and model is not None else None
    return WordsJudge(first, asked, model_decides=judge == "model", unproven=unproven)


def make_judges(
    judge: str,
    constitution: Constitution,
    model: LanguageModel | None,
    models: Models,
    device: str = "",
    server: Server | None = None,
) -> Judges:
    """The judges of a run: one with words for the texts that are read, a quick one for candidates, and another one for
    the comparison.

    With a panel, probe A chooses what is trained on and probe B, fitted on other texts, judges the comparison; with
    every other judge it is probe B too, where it knows the constitution's principles and its model can be loaded. Both
    probes read weights that nobody trains. How far the two judges agree is measured on the compared answers.
    """
    from engine.judges.probe.probe import load

    stored = _stored(judge)
    probes = load(stored or SHIPPED)
    read = reader(probes, models, device)
    other = _other(constitution, probes, models, device, read, must=bool(stored))
    if stored:
        asked = ModelJudge(model, constitution) if model is not None else None
        shown = WordsJudge(panel(constitution, probes, read, "a"), asked, model_decides=False)
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
        alongside=bool(stored),
        apart=True,
        rating=rating(other),
    )


def _other(
    constitution: Constitution, probes: ProbeSet, models: Models, device: str, read: Reader, *, must: bool
) -> PanelJudge | None:
    """Probe B with the rules, where it has a say.

    Raises:
        ModelError: its model cannot be loaded, and it `must` be.
    """
    judge = panel(constitution, probes, read, "b")
    if not judge.accuracy:
        return None
    if must:
        return judge
    try:
        # Told now, not when everything else is done.
        models.get(probes.model, device)
    except ModelError:
        return None
    return judge


def _spanned(judge: str, constitution: Constitution, model: LanguageModel | None, server: Server | None) -> WithSpans:
    from engine.judges.span_annotated import WithSpans

    if judge == "endpoint":
        from engine.judges.llm.endpoint import EndpointJudge
        from engine.models.client.endpoint import Endpoint

        assert server is not None
        return WithSpans(EndpointJudge(Endpoint(server), constitution), constitution)
    from engine.judges.llm.likelihood import LikelihoodJudge
    from engine.models.local import LocalModel

    assert isinstance(model, LocalModel)
    return WithSpans(LikelihoodJudge(model, constitution), constitution)


def panel(constitution: Constitution, probes: ProbeSet, read: Reader, member: str) -> PanelJudge:
    """The panel with one member of a set of probes."""
    from engine.judges.panel import PanelJudge

    return PanelJudge(constitution, probes.probes[member], read, probes.title(member))


def rate(config: RunConfig) -> Rating:
    """How good the settings' judge of single texts was measured to be, as far as that can be told without loading a
    model; what was measured of a model itself is told by a run's or session's JUDGES event.

    Raises:
        InputError: the settings name no judge, or their constitution cannot be used.
        StorageError: a probe's file is damaged.
    """
    from engine.pipeline.prepare import constitution_of

    check_judge(config)
    if config.judge in ("likelihood", "model"):
        return Rating(f"{config.judge} of {config.critic or config.generator}")
    return rating(make_judge(config.judge, constitution_of(config), None, server=server_of(config)))
