"""All judges by name: what `--judge NAME` means, and which judges a run uses.

To add a judge, write a class that follows `engine.judges.base.Judge`, add an entry to `KINDS` and its name to
`engine.settings.JUDGES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.constitution.model import Constitution
from engine.errors import InputError, ModelError
from engine.judges.accuracy import JudgeAccuracy
from engine.judges.base import Judge
from engine.judges.decorators import AnswerQualityJudge, RationaleJudge, SpanAnnotatedJudge
from engine.judges.llm.generative import GenerativeJudge
from engine.judges.probe.loader import GetModel, IsLoaded, make_reader
from engine.judges.rules.judge import RulesJudge
from engine.models.client.endpoint import Server
from engine.models.inference.requests import LanguageModel
from engine.models.machine_profile import import_numpy_with_one_thread
from engine.settings import JUDGES, SHIPPED, RunConfig
from engine.text import sanitize, truncate

if TYPE_CHECKING:
    from engine.judges.panel import PanelJudge
    from engine.judges.probe.features import ReadVectors
    from engine.judges.probe.probe import ProbeSet
    from engine.models.local import LocalModel


@dataclass(frozen=True)
class JudgeParts:
    """What judges are made from.

    Args:
        constitution: its principles are judged.
        critic: asked by the judges that need a model (`needs_model`); its words are shown with the verdicts of the
            others. None for verdicts without a model's words.
        get_model: loads the model that a probe reads.
        is_loaded: whether `get_model` has it already: as long as it has not, a few texts are judged without loading it.
            None always loads it.
        device: to load it on; "" for this machine's choice.
        server: of the judge "endpoint".
        assume_reliable: let a model's own verdict count even if its accuracy was never measured, to measure it.
    """

    constitution: Constitution
    critic: LanguageModel | None
    get_model: GetModel
    device: str = ""
    server: Server | None = None
    assume_reliable: bool = False
    is_loaded: IsLoaded | None = None


@dataclass(frozen=True)
class JudgeKind:
    """One entry of the registry.

    Args:
        make: builds the judge.
        needs_critic: the critic is asked about every text, even about a single one.
        critic_decides: its accuracy is that of the critic, known once the critic is loaded.
        covers_all: it needs neither rules nor a probe for a principle, because it asks a model about each.
        probes: name of the set of probes that it reads; "" for none.
    """

    make: Callable[[JudgeParts], Judge]
    needs_critic: bool = False
    critic_decides: bool = False
    covers_all: bool = False
    probes: str = ""


@dataclass(frozen=True)
class RunJudges:
    """The judges of a run.

    Args:
        shown: for texts that a user reads one by one; may include a model's words.
        quick: the same decisions at less cost, for candidates.
        comparison: judges base and trained answers; not the one that selected the training pairs, if there is a second.
        selecting: the judge that selected the training pairs, if the comparison has another one: judges the compared
            answers too, to report how far the two agree. Its verdicts count for nothing else.
        alongside: `selecting` reuses what `comparison` has just computed, so it is cheap if asked right after it.
        independent: the comparison's judge is neither the trained model nor the one that selected the pairs.
    """

    shown: Judge
    quick: Judge
    comparison: Judge
    selecting: Judge | None = None
    alongside: bool = False
    independent: bool = False


def _rules(parts: JudgeParts) -> Judge:
    return RulesJudge(parts.constitution)


def _with_rationale(inner: Judge, parts: JudgeParts, *, model_decides: bool = False) -> Judge:
    if parts.critic is None:
        return inner
    model = GenerativeJudge(parts.critic, parts.constitution)
    judge = RationaleJudge(inner, model, model_decides=model_decides, assume_reliable=parts.assume_reliable)
    if model_decides and not judge.model_decides and not any(one.rules for one in parts.constitution.principles):
        raise _finds_nothing(f"the judge {model.name} was not measured to be reliable, and no principle has a rule")
    return judge


def _panel(probes_name: str, parts: JudgeParts, member: str = "whole") -> Judge:
    if parts.is_loaded is not None:
        import_numpy_with_one_thread()
    from engine.judges.probe.probe import load

    probes = load(probes_name)
    read = make_reader(probes, parts.get_model, parts.device, is_loaded=parts.is_loaded)
    return _with_rationale(make_panel(parts.constitution, probes, read, member), parts)


def _likelihood(parts: JudgeParts) -> Judge:
    from engine.judges.llm.likelihood import LikelihoodJudge
    from engine.models.local import LocalModel

    assert isinstance(parts.critic, LocalModel)
    return LikelihoodJudge(parts.critic, parts.constitution)


def _endpoint(parts: JudgeParts) -> Judge:
    from engine.judges.llm.endpoint import EndpointJudge
    from engine.models.client.endpoint import Endpoint

    assert parts.server is not None
    return EndpointJudge(Endpoint(parts.server), parts.constitution)


KINDS: Mapping[str, JudgeKind] = {
    "panel": JudgeKind(lambda parts: _panel(SHIPPED, parts), probes=SHIPPED),
    "rules": JudgeKind(_rules),
    "model": JudgeKind(
        lambda parts: _with_rationale(_rules(parts), parts, model_decides=True),
        needs_critic=True,
        critic_decides=True,
        covers_all=True,
    ),
    "rules+model": JudgeKind(lambda parts: _with_rationale(_rules(parts), parts), needs_critic=True),
    "likelihood": JudgeKind(_likelihood, needs_critic=True, critic_decides=True, covers_all=True),
    "endpoint": JudgeKind(_endpoint, covers_all=True),
}
"""Name -> judge, in the order of `engine.settings.JUDGES`."""


def judge_kind(name: str) -> JudgeKind:
    """The registry's entry, or that of a panel with the user's own probes of this name.

    Raises:
        InputError: there is no such judge.
    """
    if name in KINDS:
        return KINDS[name]
    from engine.judges.probe.probe import names

    own = names()[1:]
    if name not in own and not name.endswith(".json"):
        raise InputError(
            f"there is no judge {truncate(sanitize(name), 60)!r}.",
            where="--judge",
            next_step=f"Choose one of: {', '.join((*JUDGES, *own))}.",
        )
    return JudgeKind(lambda parts: _panel(name, parts), probes=name)


def needs_model(name: str) -> bool:
    """Whether the judge of this name asks the critic even about a single text.

    Raises:
        InputError: there is no such judge.
    """
    return judge_kind(name).needs_critic


def check_judge(config: RunConfig) -> None:
    """Validate the judge's settings; loads and sends nothing.

    Raises:
        InputError: naming the option.
    """
    judge_kind(config.judge)
    judge_server(config)


def check_coverage(name: str, constitution: Constitution) -> tuple[str, ...]:
    """Refuse a judge that would find every text clean, and say which principles it never finds broken.

    Rules and probes decide on the principles that they were written for or fitted on. A model that is asked decides on
    all; the judge `model` leaves the decision to rules until it was measured.

    Returns:
        Sentences for the user.

    Raises:
        InputError: no principle has a rule, and none is known to the probe.
    """
    kind = judge_kind(name)
    blind = [one.id for one in constitution.principles if not one.rules]
    if kind.covers_all or not blind:
        return ()
    if kind.probes:
        from engine.judges.probe.probe import load

        known = load(kind.probes).principles
        blind = [one for one in blind if one not in known]
    if not blind:
        return ()
    if len(blind) < len(constitution.principles):
        words = truncate(", ".join(blind), 200)
        return (f"The judge {name} has no rule and no probe for {words}: it never finds them broken.",)
    raise _finds_nothing(f"the judge {name} has no rule and no probe for any principle of this constitution")


def _finds_nothing(why: str) -> InputError:
    return InputError(
        f"{why}, so it would find every text clean.",
        where="--judge",
        next_step="Use --judge likelihood or --judge endpoint, write [[principles.rules]], or fit a probe to labeled "
        "texts (`redraft judge fit`).",
    )


def judge_server(config: RunConfig) -> Server | None:
    """The server of the judge "endpoint" and of the texts that are asked from it; None where neither is.

    Raises:
        InputError: its settings are invalid, or given for another judge.
    """
    from engine.models.client.http import RetryPolicy

    if config.judge != "endpoint" and not config.endpoint_texts:
        given = {
            "--endpoint": config.endpoint,
            "--endpoint-model": config.endpoint_model,
            "--endpoint-key-env": config.endpoint_key_env,
        }
        for option, value in given.items():
            if value:
                raise InputError(
                    f"this option is for the judge endpoint; the judge is {config.judge}.",
                    where=option,
                    next_step="Add --judge endpoint or --endpoint-texts, or remove the option.",
                )
        return None
    if not config.endpoint:
        raise InputError(
            "the judge endpoint needs the address of a server."
            if config.judge == "endpoint"
            else "texts from a server need its address.",
            where="--endpoint",
            next_step="Write it like --endpoint http://127.0.0.1:8080/v1 --endpoint-model NAME.",
        )
    server = Server(
        url=str(config.endpoint),
        model=str(config.endpoint_model),
        key_env=str(config.endpoint_key_env),
        retry=RetryPolicy(timeout=float(config.endpoint_timeout)),
        concurrency=int(config.endpoint_concurrency),
        price=tuple(config.endpoint_price),
    )
    server.check()
    return server


def make_judge(name: str, parts: JudgeParts) -> Judge:
    """The judge of this name: one of `KINDS`, or a panel with the user's own probes.

    Raises:
        InputError: there is no such judge.
        ModelError: the probe's model is not installed or does not fit.
    """
    return _complete(judge_kind(name).make(parts), parts.constitution)


def configured_accuracy(config: RunConfig, constitution: Constitution) -> JudgeAccuracy:
    """How accurate the judge of the settings was measured to be, as far as known without loading a model. The JUDGES
    event of a run or session has what was measured of the model itself.

    Raises:
        InputError: the settings are invalid.
        StorageError: a probe's file is damaged.
    """
    check_judge(config)
    if judge_kind(config.judge).critic_decides:
        return JudgeAccuracy(f"{config.judge} of {config.critic or config.generator}")
    parts = JudgeParts(constitution, None, _not_loaded, server=judge_server(config))
    return make_judge(config.judge, parts).accuracy


def _not_loaded(name: str, _device: str) -> LocalModel:
    raise ModelError("no model is loaded to show a judge's accuracy.", where=name)


def make_run_judges(name: str, parts: JudgeParts) -> RunJudges:
    """The judges of a run: one with a rationale for texts that are read, a quick one for candidates, and another one
    for the comparison.

    With a panel, probe A selects the training pairs and probe B, fitted on other texts, judges the comparison. With any
    other judge the comparison is judged by probe B too, if it knows the constitution's principles and its model can be
    loaded. Both probes read weights that are not trained. Their agreement is measured on the compared answers.
    """
    from engine.judges.probe.probe import load

    kind = judge_kind(name)
    probes = load(kind.probes or SHIPPED)
    # One reader for both probes: each text is read once.
    read = make_reader(probes, parts.get_model, parts.device)
    other = _comparison_panel(probes, read, parts, required=bool(kind.probes))
    if kind.probes:
        # Without a model's words: those of a small model are noise, and cost many times the verdict.
        shown = _complete(make_panel(parts.constitution, probes, read, "a"), parts.constitution)
    else:
        shown = make_judge(name, parts)
    quick = shown.without_rationale()
    if other is None:
        return RunJudges(shown, quick, comparison=quick)
    comparison = _complete(other, parts.constitution)
    return RunJudges(shown, quick, comparison, selecting=quick, alongside=bool(kind.probes), independent=True)


def make_comparison_judges(
    name: str, parts: JudgeParts, *, chosen_by: Sequence[str], critic_is_compared: bool
) -> RunJudges:
    """The judge of a comparison of two models: the one of this name, and of a panel the member that chooses no pairs.

    Args:
        chosen_by: judges that chose the training pairs of the compared models.
        critic_is_compared: the critic, which some judges ask, is one of the two models.

    Raises:
        InputError: there is no such judge.
        ModelError: the probe's model is not installed or does not fit.
    """
    from engine.judges.probe.probe import load

    kind = judge_kind(name)
    if kind.probes:
        probes = load(kind.probes)
        read = make_reader(probes, parts.get_model, parts.device)
        panel = _comparison_panel(probes, read, parts, required=True)
        independent = panel is not None
        judge = _complete(panel or make_panel(parts.constitution, probes, read, "a"), parts.constitution)
    else:
        judge = make_judge(name, parts)
        independent = name not in chosen_by and not (kind.critic_decides and critic_is_compared)
    quick = judge.without_rationale()
    return RunJudges(judge, quick, comparison=quick, independent=independent)


def make_panel(constitution: Constitution, probes: ProbeSet, read: ReadVectors, member: str) -> PanelJudge:
    """The panel with one member of a set of probes: "whole", "a" or "b"."""
    from engine.judges.panel import PanelJudge

    return PanelJudge(constitution, probes.probes[member], read, probes.title(member))


def _comparison_panel(probes: ProbeSet, read: ReadVectors, parts: JudgeParts, *, required: bool) -> PanelJudge | None:
    """The panel with probe B; None if it knows none of the principles.

    Raises:
        ModelError: its model cannot be loaded, and the panel is `required`.
    """
    judge = make_panel(parts.constitution, probes, read, "b")
    if not judge.accuracy.summary:
        return None
    if required:
        return judge
    try:
        # Fail now, not at the end of the run.
        parts.get_model(probes.model, parts.device)
    except ModelError:
        return None
    return judge


def _complete(judge: Judge, constitution: Constitution) -> Judge:
    """The judge with what all judges have: matched spans, and no verdict on degenerate answers."""
    return AnswerQualityJudge(judge if judge.finds_spans else SpanAnnotatedJudge(judge, constitution))
