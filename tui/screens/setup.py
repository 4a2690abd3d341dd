"""What the next run is to do: preset, model, judge, prompts, constitution, counts, seed; checked before it is taken."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from engine.errors import InputError, RedraftError
from engine.judges.registry import check_judge
from engine.models.hub.catalog import PROFILES, resolve
from engine.models.hub.catalog import profile as find_profile
from engine.models.hub.memory_plan import FITS, plan, proposed_profile
from engine.prompts import load_prompts
from engine.settings import JUDGES, PRESETS, RunConfig, preset, with_profile
from tui.keymap import LIST, bindings
from tui.screens.dialog import Dialog
from tui.widgets.border import label

_FILES = {
    "train_prompts": ("Training prompts", "a file, or empty for the built-in ones"),
    "heldout_prompts": ("Held-out prompts", "a file, or empty for the built-in ones"),
    "constitution": ("Constitution", "a TOML file, or empty for the built-in one"),
}
_PROFILE = ("Profile", f"{', '.join(profile.name for profile in PROFILES)}; fills model, critic and judge")
_JUDGE = {
    "judge": ("Judge", ", ".join(JUDGES)),
    "endpoint": ("Endpoint", "http://host:port/v1, for the judge endpoint"),
    "endpoint_model": ("Endpoint's model", "the server's name for it"),
    "endpoint_key_env": ("Endpoint's key", "name of an environment variable; never the key"),
}
_NUMBERS = {
    "n_train": ("Train on", "prompts, from the first"),
    "n_heldout": ("Held out", "prompts, from the first"),
    "seed": ("Seed", "makes a run repeatable"),
}


class Setup(Dialog[RunConfig]):
    """A form of one line a field. Enter takes all of it; the highlighted preset fills in the numbers."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(LIST), ("ctrl+s", "accept", "Take")]

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        self._config = config

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            label(box, "Set up the next run", "Tab next field · Enter accept · Esc cancel")
            names = list(PRESETS)
            presets = OptionList(*(Option(Content(f"{name}: {PRESETS[name][0]}")) for name in names), id="presets")
            presets.highlighted = names.index(self._config.preset) if self._config.preset in names else 0
            # One row each: with all fields the form has to fit into 24 rows, the problem's line included.
            presets.styles.text_wrap = "nowrap"
            presets.styles.text_overflow = "ellipsis"
            yield presets
            yield from self._field("profile", *_PROFILE)
            yield from self._field("generator", "Model", "a catalog name, hub id, folder or GGUF file")
            for name, (title, hint) in {**_JUDGE, **_FILES, **_NUMBERS}.items():
                yield from self._field(name, title, hint)
            yield Static("", classes="problem")

    def _field(self, name: str, title: str, hint: str) -> ComposeResult:
        with Horizontal(classes="row"):
            yield Label(title)
            field = Input(str(getattr(self._config, name)), placeholder=hint, id=f"set-{name}", compact=True)
            field.cursor_blink = False
            yield field

    def on_mount(self) -> None:
        self.query_one("#presets").focus()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Take the highlighted preset: its numbers stand in the fields at once, whatever key leaves the list."""
        event.stop()
        name = list(PRESETS)[event.option_index]
        if name == self._config.preset:
            return
        chosen = preset(name)
        for number in _NUMBERS:
            self.query_one(f"#set-{number}", Input).value = str(getattr(chosen, number))
        kept = {name: getattr(self._config, name) for name in ("profile", "critic")}
        self._config = dataclasses.replace(chosen, **kept, **self._files(), **self._judge())  # type: ignore[arg-type]

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.action_accept()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        name = str(event.input.id).removeprefix("set-")
        if name == "profile":
            self._take_profile(event.value.strip())
        self._say(self._problem(name))

    def _take_profile(self, name: str) -> None:
        """Fill in the roles of a profile, once its whole name is there."""
        if name == self._config.profile or not any(name == profile.name for profile in PROFILES):
            return
        self._config = with_profile(self._config, name)
        for field in ("generator", "judge"):
            self.query_one(f"#set-{field}", Input).value = str(getattr(self._config, field))

    def _problem(self, name: str) -> str:
        """Why this field cannot be used as it stands; "" where it can. Looks at no file: that is done at the end."""
        try:
            if name == "generator" and self._value(name):
                resolve(self._value(name))
            elif name == "profile" and self._value(name):
                find_profile(self._value(name))
                return _fit(self._config)
            elif name in _NUMBERS:
                _number(self._value(name), name)
        except RedraftError as error:
            return str(error)
        return ""

    def _say(self, problem: str) -> None:
        self.query_one(".problem", Static).update(Content(problem))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_accept()

    def action_accept(self) -> None:
        """Take the settings, or say which field cannot be used."""
        field = ""
        try:
            values: dict[str, str | int] = {"generator": self._value("generator") or self._config.generator}
            field = "generator"
            resolve(str(values[field]))
            field = "profile"
            values |= self._profile(str(values["generator"]))
            for field in _NUMBERS:
                values[field] = _number(self._value(field), field)
            for field in _FILES:
                values[field] = self._checked_file(field)
            config: RunConfig = dataclasses.replace(self._config, **values, **self._judge())  # type: ignore[arg-type]
            field = "judge"
            check_judge(config)
        except RedraftError as error:
            # Errors about the judge name the command line's option; here it is the field of the same name.
            option = error.where.removeprefix("--").replace("-", "_")
            field = option if option in _JUDGE else field
            said = f"{_JUDGE[field][0]}: {error.what} {error.next_step}" if field in _JUDGE else str(error)
            self._say(said)
            self.query_one(f"#set-{field}").focus()
            return
        self.dismiss(config)

    def _value(self, name: str) -> str:
        return self.query_one(f"#set-{name}", Input).value.strip()

    def _profile(self, generator: str) -> dict[str, str]:
        """The profile, where its model was not changed afterwards; a critic of a profile that was left goes with it."""
        name = self._value("profile")
        if name and find_profile(name).generator == generator:
            return {"profile": name}
        return {"profile": "", **({"critic": ""} if self._config.profile else {})}

    def _judge(self) -> dict[str, str]:
        return {name: self._value(name) for name in _JUDGE}

    def _files(self) -> dict[str, str]:
        return {name: self._value(name) for name in _FILES}

    def _checked_file(self, name: str) -> str:
        path = self._value(name)
        if not path:
            return ""
        full = str(Path(path).expanduser())
        if name == "constitution":
            from engine.constitution.load import load
            from engine.judges.rules.matching import failed_examples

            load(full, failed_examples)
        else:
            load_prompts(full)
        return full


def _fit(config: RunConfig) -> str:
    """Whether the chosen models fit into this machine's memory; "" where they do."""
    rows = plan(config.generator, config.critic)
    worst = max(rows, key=lambda row: row.need)
    if all(row.verdict == FITS for row in rows):
        return ""
    return (
        f"{worst.stage} in {worst.dtype} needs {worst.need / 1e9:.1f} GB of {worst.free / 1e9:.1f} GB free: "
        f"{worst.verdict}. {proposed_profile()[1]} `redraft models --plan` shows every stage."
    )


def _number(text: str, name: str) -> int:
    try:
        number = int(text.replace(",", "").replace("_", ""))
    except ValueError:
        number = -1
    if not 0 <= number < 2**31:
        raise InputError("expected a whole number, 0 or more.", where=_NUMBERS[name][0], next_step="Write one.")
    return number
