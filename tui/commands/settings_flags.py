"""Command-line flags of settings, derived from the settings dataclasses; their help and the table in docs/cli.md too.

A command takes flags by the decorator `with_flags`, and gets what was typed as one mapping for `build_config`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer
import typer.core

from engine.errors import InputError
from engine.setting_field import Setting, number, option, settings_of
from engine.settings import DEMONSTRATED, SAMPLED, RunConfig, for_pairs, preset, with_profile, with_value
from engine.text import sanitize, truncate

Command = TypeVar("Command", bound=Callable[..., Any])

_STAGES = {"max_tokens": ("draft", "revision", "answer")}
_DEFAULT_STAGES = ("draft", "revision")
"""Which kinds of text a flag of `Sampling` sets; --set reaches each by itself."""
_OLD_NAMES = {"num_train_epochs": "epochs", "train_batch_size": "batch_size", "lora_r": "rank"}
"""Flag -> its name in 0.1, which still works and is not listed."""
_SHORT = {"generator": "-g"}
_TURNED_OFF = {
    "keep_texts": "Keep prompts and answers out of the journal",
    "deduplicate": "Keep exact and near duplicates of prompts; the comparison counts those of one prompt as one",
}
"""What the option of a setting that is on by default does: it turns it off."""


@dataclass(frozen=True)
class Flag:
    """A command-line flag of one or more settings.

    Args:
        name: such as "lora_r"; the option is --lora-r.
        paths: full names of the settings that it sets.
        setting: sentence, range, choices.
        default: of the preset "standard".
        group: heading in help and docs.
    """

    name: str
    paths: tuple[str, ...]
    setting: Setting
    default: Any
    group: str

    @property
    def option(self) -> str:
        """As typed: --lora-r. A setting that is on by default is turned off: --no-texts."""
        return option(self.name)

    @property
    def metavar(self) -> str:
        """What the value is called in help."""
        if self.setting.choices:
            return "|".join(self.setting.choices)
        names = {int: "INTEGER", float: "FLOAT", str: "TEXT", tuple: "NAME,..."}
        return "" if isinstance(self.default, bool) else self.setting.metavar or names[type(self.default)]

    @property
    def default_text(self) -> str:
        """The default as it is written in help."""
        value = self.default
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, tuple):
            return ", ".join(map(str, value)) or "none"
        return number(value) if isinstance(value, int | float) else value or self.setting.unset

    @property
    def sentence(self) -> str:
        """What the flag does."""
        return _TURNED_OFF.get(self.name, self.setting.sentence)

    @property
    def help(self) -> str:
        """Sentence, default and range."""
        if isinstance(self.default, bool):
            return f"{self.sentence}."
        limits = "" if self.setting.choices else self.setting.range()
        return f"{self.sentence}. [default: {self.default_text}{'; ' + limits if limits else ''}]"


def _flags() -> Iterator[Flag]:
    config = RunConfig()
    for name, known in settings_of(config).items():
        if name not in ("preset", "against", "against_dtype"):  # which single commands have
            seeds = ("train.seed",) if name == "seed" else ()
            yield Flag(name, (name, *seeds), known, getattr(config, name), known.group)
    for name, known in settings_of(config.draft).items():
        if name != "stop":
            paths = tuple(f"{stage}.{name}" for stage in _STAGES.get(name, _DEFAULT_STAGES))
            yield Flag(name, paths, known, getattr(config.draft, name), "Generation")
    for name, known in settings_of(config.train).items():
        if name != "seed":
            yield Flag(name, (f"train.{name}",), known, getattr(config.train, name), "Training")


FLAGS: Mapping[str, Flag] = {flag.name: flag for flag in _flags()}
"""Name -> flag of each setting that has one."""

GROUPS = ("Run", "Models", "Judge", "Data", "Generation", "Training")
"""Headings of help and docs, in order."""


def with_flags(*names: str) -> Callable[[Command], Command]:
    """Add flags to a command that takes `**flags`: those of these names, or all."""

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        parameters = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        parameters += [parameter for name in names or FLAGS for parameter in _parameters(FLAGS[name])]
        command.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        )
        command.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
        return command

    return decorate


def _parameters(flag: Flag) -> Iterator[inspect.Parameter]:
    """The flag, and the name that it had in 0.1."""
    spelled = [flag.option, *([_SHORT[flag.name]] if flag.name in _SHORT else [])]
    if isinstance(flag.default, bool):
        option = typer.Option(*spelled, help=flag.help, rich_help_panel=flag.group)
        yield _parameter(flag.name, Annotated[bool, option], False)
        return
    option = typer.Option(
        *spelled, metavar=flag.metavar, help=flag.help, rich_help_panel=flag.group, show_default=False
    )
    yield _parameter(flag.name, Annotated[str | None, option], None)
    if flag.name in _OLD_NAMES:
        old = _OLD_NAMES[flag.name]
        hidden = typer.Option("--" + old.replace("_", "-"), metavar=flag.metavar, hidden=True)
        yield _parameter(old, Annotated[str | None, hidden], None)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


class GroupedCommand(typer.core.TyperCommand):
    """A command whose help lists its options by group."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, a section per group; what belongs to no group comes first."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], **{group: [] for group in GROUPS}}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections[getattr(parameter, "rich_help_panel", None) or "Options"].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def build_config(start: str, flags: Mapping[str, Any], changes: Sequence[str] = ()) -> RunConfig:
    """The settings of a preset with what was typed on the command line.

    Args:
        start: the preset's name.
        flags: name of a flag, or its name in 0.1 -> value as typed; None where it was not. An objective brings its own
            training defaults, and a teacher of preference pairs theirs.
        changes: settings by their full name, "train.warmup_ratio=0.2".

    Raises:
        InputError: names the option and what it takes.
    """
    from engine.judges.registry import check_judge

    config = preset(start)
    objective = flags.get("objective")
    if objective is not None and objective != config.train.objective:
        with_value(config, "train.objective", objective, "--objective")
        config = dataclasses.replace(config, train=DEMONSTRATED if objective == "sft" else SAMPLED)
    elif flags.get("teacher", "demonstrations") not in (None, "demonstrations"):
        config = for_pairs(config)
    if flags.get("profile") is not None:
        # It goes first: options that name a model or a judge change what it chose.
        with_value(config, "profile", flags["profile"], "--profile")
        config = with_profile(config, flags["profile"])
    now = {old: name for name, old in _OLD_NAMES.items()}
    for name, value in flags.items():
        if value is None or value is False or name == "profile":
            continue
        flag = FLAGS[now.get(name, name)]
        option = "--" + name.replace("_", "-") if name in now else flag.option
        for path in flag.paths:
            config = with_value(config, path, not flag.default if value is True else value, option)
    for text in changes:
        config = _with_change(config, text)
    check_judge(config)
    return config


def _with_change(config: RunConfig, text: str) -> RunConfig:
    """The settings with one of them changed by `--set`, as typed."""
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals:
        raise InputError(
            f"expected NAME=VALUE, not {_quoted(text)}.", where="--set", next_step="Example: train.warmup_ratio=0.2."
        )
    if path == "profile":
        raise InputError("a profile goes before other settings.", where="--set", next_step="Use --profile NAME.")
    return with_value(config, path, value.strip(), f"--set {_quoted(path)}")


def reference() -> str:
    """The settings as the Markdown tables of docs/cli.md."""
    lines: list[str] = []
    for group in GROUPS:
        lines += [f"### {group}", "", "| option | default | range | meaning |", "|:--|:--|:--|:--|"]
        for flag in FLAGS.values():
            if flag.group == group:
                spelled = f"{flag.option} {flag.metavar}".strip().replace("|", "\\|")
                default = "off" if isinstance(flag.default, bool) else flag.default_text
                lines.append(f"| `{spelled}` | {default} | {flag.setting.range()} | {flag.sentence}. |")
        lines.append("")
    lines += ["### For --set only", "", "| setting | default | meaning |", "|:--|:--|:--|"]
    config = RunConfig()
    for stage in ("draft", "critique", "revision", "answer"):
        sampling = getattr(config, stage)
        values = ", ".join(f"`{name}` {_value_text(getattr(sampling, name))}" for name in settings_of(sampling))
        lines.append(f"| `{stage}.NAME` | {values} | Sample each {stage} this way. |")
    lines.append(f"| `train.seed` | 0 | {settings_of(config.train)['seed'].sentence}. |")
    return "\n".join(lines)


def _value_text(value: Any) -> str:
    return number(value) if isinstance(value, int | float) else ", ".join(value) or "none"


def _quoted(text: str) -> str:
    return repr(truncate(sanitize(text).replace("\n", " "), 60))
