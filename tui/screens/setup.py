"""What the next run is to do: preset, models, judge, prompts, constitution, counts, seed; checked as one types, with
memory, time and the smallest change that it can show before it starts."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from engine.errors import InputError, RedraftError
from engine.files import expanded
from engine.judges.registry import check_judge
from engine.models.hub.catalog import PROFILES, resolve
from engine.models.hub.catalog import profile as find_profile
from engine.prompts import load_prompts
from engine.prompts.hub_datasets import is_dataset
from engine.settings import JUDGES, PRESETS, RunConfig, preset, with_profile
from tui.keymap import SETUP, bindings
from tui.screens.dialog import Dialog, box_height, box_width
from tui.screens.dialogs import Choice
from tui.screens.pick_file import CONSTITUTION_FILES, PROMPT_FILES, PickFile
from tui.services import run_plan
from tui.services.run_plan import Offered
from tui.services.workers import start_worker
from tui.views.pieces import clause, clip
from tui.views.wrap import cells
from tui.widgets.border import label

_BUILT_IN = "a file; empty: built-in"

# Name of a field -> its title, then what it says while it is empty: the first that fits.
_FILES = {
    "train_prompts": ("Training prompts", "a file, or empty for the built-in ones", _BUILT_IN),
    "heldout_prompts": ("Held-out prompts", "a file, or empty for the built-in ones", _BUILT_IN),
    "constitution": ("Constitution", "a TOML file, or empty for the built-in one", _BUILT_IN),
}
_MODELS = {
    "profile": ("Profile", "fills model, critic and judge; the list names them", "fills models and judge"),
    "generator": ("Model", "a catalog name, hub id, folder or GGUF file", "name, hub id or folder"),
}
_JUDGE = {
    "judge": ("Judge", ", ".join(JUDGES), "a judge's name"),
    "endpoint": ("Endpoint", "http://host:port/v1, for the judge endpoint", "http://host:port/v1"),
    "endpoint_model": ("Endpoint's model", "the server's name for it"),
    "endpoint_key_env": (
        "Endpoint's key",
        "name of an environment variable; never the key",
        "an environment variable's name, not the key",
        "environment variable",
    ),
}
_NUMBERS = {
    "n_train": ("Prompts to train on", "a number, from the first"),
    "n_heldout": ("Prompts held out", "a number, from the first"),
    "seed": ("Seed", "makes a run repeatable"),
}
_FIELDS = {**_MODELS, **_JUDGE, **_FILES, **_NUMBERS}
_PICKED = frozenset({"profile", "generator", "judge", *_FILES})
"""Fields with a list to choose from."""

_PAUSE = 0.25
"""Seconds without a key after which files are read and the run is planned."""

_TALL = 32
"""Lines of the terminal from which on presets are told in full."""

_BESIDE = 26
"""Cells beside a field's text (themes/app.tcss)."""


class Setup(Dialog[RunConfig]):
    """A form of one line a field. Enter takes all of it; the highlighted preset fills in the numbers.

    Args:
        config: settings to begin with.
        runs: the folder of earlier runs, from which the time of the next one is estimated.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(SETUP)

    def __init__(self, config: RunConfig, runs: Path | None = None) -> None:
        super().__init__()
        self._config = config
        self._runs = runs
        self._fields = VerticalScroll(id="setup-fields", can_focus=False)
        self._note = Static("", id="setup-note")
        self._waiting: Timer | None = None
        self._said = ""
        self._checked = ""
        """Name of the file's field that was typed in last."""

    def compose(self) -> ComposeResult:
        with Vertical(classes="box", id="setup-box") as box:
            label(box, "Set up the next run", "↓ list · Tab next · Enter accept · Esc")
            with self._fields:
                names = list(PRESETS)
                presets = OptionList(*(Option(Content(f"{name}: {PRESETS[name][0]}")) for name in names), id="presets")
                presets.highlighted = names.index(self._config.preset) if self._config.preset in names else 0
                yield presets
                for name, (title, *hints) in _FIELDS.items():
                    yield from self._field(name, title, hints[0])
            yield self._note

    def _field(self, name: str, title: str, hint: str) -> ComposeResult:
        with Horizontal(classes="row"):
            yield Label(title)
            field = Input(str(getattr(self._config, name)), placeholder=hint, id=f"set-{name}", compact=True)
            field.cursor_blink = False
            yield field
            yield Label("▾" if name in _PICKED else "", classes="mark")

    def on_mount(self) -> None:
        self.query_one("#presets").focus()
        self._fit_words()
        self._say("Estimating memory and time ...", "$rd-dim")
        self._plan_later()

    def on_resize(self) -> None:
        self._make_room()
        self._fit_words()

    def _make_room(self) -> None:
        """Let the fields have what the lines below them leave of the window."""
        presets = self.query_one("#presets").styles
        # One row each where all fields and the two lines on the run have to fit into 24 rows.
        tall = self.app.size.height >= _TALL
        presets.text_wrap, presets.text_overflow = ("wrap", "fold") if tall else ("nowrap", "ellipsis")
        presets.margin = (0, 0, 1 if tall else 0, 0)
        width = box_width(self.app.size.width) + 1  # without a scroll bar
        below = max(2, sum(-(-cells(line) // width) for line in self._said.split("\n")))
        self._fields.styles.max_height = max(4, box_height(self.app.size.height) - below)

    def _fit_words(self) -> None:
        """Shorten the hints of the fields and the lines of the presets to whole words that fit."""
        room = box_width(self.app.size.width)
        for name, (_, *hints) in _FIELDS.items():
            self._input(name).placeholder = next((one for one in hints if cells(one) <= room - _BESIDE), hints[-1])
        presets = self.query_one("#presets", OptionList)
        for number, (name, (about, _)) in enumerate(PRESETS.items()):
            line = f"{name}: {about}"
            is_whole = presets.styles.text_wrap == "wrap"
            presets.replace_option_prompt_at_index(number, Content(line if is_whole else clause(line, room)))

    # What was typed

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Take the highlighted preset: its numbers stand in the fields at once, whatever key leaves the list."""
        event.stop()
        name = list(PRESETS)[event.option_index]
        if name == self._config.preset:
            return
        chosen = preset(name)
        for number in _NUMBERS:
            self._input(number).value = str(getattr(chosen, number))
        kept = {name: getattr(self._config, name) for name in ("profile", "critic")}
        self._config = dataclasses.replace(chosen, **kept, **self._files(), **self._judge())  # type: ignore[arg-type]
        self._plan_later()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.action_accept()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        name = str(event.input.id).removeprefix("set-")
        if name == "profile":
            self._take_profile(event.value.strip())
        if name in _FILES:
            self._checked = name
        problem = self._problem(name)
        self._say(problem)
        if not problem:
            self._plan_later()

    def _take_profile(self, name: str) -> None:
        """Fill in the roles of a profile, once its whole name is there."""
        if name == self._config.profile or not any(name == profile.name for profile in PROFILES):
            return
        self._config = with_profile(self._config, name)
        for field in ("generator", "judge"):
            self._input(field).value = str(getattr(self._config, field))

    def _problem(self, name: str) -> str:
        """Why this field cannot be used as it stands; "" where it can. Looks at no file: that is done in a thread."""
        try:
            if name == "generator" and self._value(name):
                resolve(self._value(name))
            elif name == "profile" and self._value(name):
                find_profile(self._value(name))
                return run_plan.is_fit(self._config)
            elif name in _NUMBERS:
                _number(self._value(name), name)
            elif name in _JUDGE and self._value("judge"):
                check_judge(dataclasses.replace(self._config, **self._judge()))  # type: ignore[arg-type]
        except RedraftError as error:
            return self._words(error, name)
        return ""

    def _say(self, text: str, role: str = "$rd-bad") -> None:
        self._said = text
        self._make_room()
        self._note.update(Content.styled(text, role))

    def _plan_later(self) -> None:
        """Read the file that was typed, and say what is known of the run, once no key comes."""
        if self._waiting is not None:
            self._waiting.stop()
        self._waiting = self.set_timer(_PAUSE, lambda: start_worker(self, self._plan, exclusive=True, group="plan"))

    async def _plan(self) -> None:
        name, self._checked = self._checked, ""
        about = ""
        if name and self._value(name):
            kind = "constitution" if name == "constitution" else "prompts"
            path = Path(self._value(name))
            try:
                path = expanded(path)
                about = (await asyncio.to_thread(run_plan.preview_of, kind, path))[0]
            except RedraftError as error:
                self._say(self._words(error, name))
                return
            except OSError as error:
                self._say(f"{_FILES[name][0]}: {path}: {error.strerror}.")
                return
        plan = await asyncio.to_thread(run_plan.plan_of, self._typed(), self._runs)
        about = clip(about, max(20, self._note.size.width))
        self._say("\n".join(filter(None, (about, plan.sentence()))), "$rd-dim")

    def _typed(self) -> RunConfig:
        """The settings as far as they can be used now."""
        numbers = {}
        for name in _NUMBERS:
            try:
                numbers[name] = _number(self._value(name), name)
            except InputError:
                continue
        generator = self._value("generator") or self._config.generator
        return dataclasses.replace(self._config, generator=generator, **numbers, **self._judge())  # type: ignore[arg-type]

    # Lists to choose from

    def action_pick(self) -> None:
        focused = self.focused
        name = str(focused.id).removeprefix("set-") if isinstance(focused, Input) else ""
        if name in _FILES:
            self._pick_file(name)
        elif name in _PICKED:
            start_worker(self, self._pick, name, exclusive=True, group="pick")
        elif isinstance(focused, Input):
            self.focus_next()

    def _pick_file(self, name: str) -> None:
        constitution = name == "constitution"
        kind, extensions = ("constitution", CONSTITUTION_FILES) if constitution else ("prompts", PROMPT_FILES)
        try:
            value = self._value(name)
            typed = expanded("." if is_dataset(value) or not value else value).absolute()
        except RedraftError as error:
            self._say(self._words(error, name))
            return
        folder = typed if typed.is_dir() else typed.parent
        picker = PickFile(_FILES[name][0], folder, extensions, lambda path: run_plan.preview_of(kind, path))
        self.app.push_screen(picker, lambda path: self._take(name, path))

    async def _pick(self, name: str) -> None:
        lists: dict[str, tuple[str, Callable[[], list[Offered]]]] = {
            "profile": ("Profile", run_plan.profiles),
            "generator": ("Model: memory of a whole run in float32", run_plan.models),
            "judge": ("Judge: accuracy as measured", lambda: run_plan.judges(self._typed())),
        }
        title, found = lists[name]
        rows = await asyncio.to_thread(found)
        answers = [*zip((row.value for row in rows), _aligned(rows, box_width(self.app.size.width) - 2), strict=True)]
        values = [row.value for row in rows]
        marked = values.index(self._value(name)) if self._value(name) in values else 0
        if self.is_active:
            self.app.push_screen(Choice(title, "", answers, marked, wide=True), lambda value: self._take(name, value))

    def _take(self, name: str, value: str | None) -> None:
        if value is not None:
            self._input(name).value = value

    # The end

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
                values[field] = str(expanded(self._value(field))) if self._value(field) else ""
            config: RunConfig = dataclasses.replace(self._config, **values, **self._judge())  # type: ignore[arg-type]
        except RedraftError as error:
            self._refuse(error, field)
            return
        if self._waiting is not None:
            self._waiting.stop()
        if any(values[field] for field in _FILES):
            self._say("Reading the files ...", "$rd-dim")
        start_worker(self, self._finish, config, exclusive=True, group="plan")

    async def _finish(self, config: RunConfig) -> None:
        """Take the settings, once the files are read: a dataset of the hub is fetched, which takes its time."""
        field = ""
        try:
            for field in _FILES:
                await asyncio.to_thread(_check_file, field, str(getattr(config, field)))
            field = "judge"
            check_judge(config)
        except RedraftError as error:
            self._refuse(error, field)
            return
        if self.is_active:
            self.dismiss(config)

    def _refuse(self, error: RedraftError, field: str) -> None:
        """Say what cannot be used, and go to its field."""
        if self._waiting is not None:
            self._waiting.stop()
        self._say(self._words(error, field))
        # Errors about the judge name the command line's option; here it is the field of the same name.
        option = error.where.removeprefix("--").replace("-", "_")
        self._input(option if option in _JUDGE else field).focus()

    def _words(self, error: RedraftError, field: str) -> str:
        option = error.where.removeprefix("--").replace("-", "_")
        field = option if option in _JUDGE else field
        return f"{_JUDGE[field][0]}: {error.what} {error.next_step}" if field in _JUDGE else str(error)

    def _input(self, name: str) -> Input:
        return self.query_one(f"#set-{name}", Input)

    def _value(self, name: str) -> str:
        return self._input(name).value.strip()

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


def _check_file(name: str, path: str) -> None:
    """Read a file as a run would.

    Raises:
        RedraftError: it cannot be used.
    """
    if path and name == "constitution":
        run_plan.principles_in(Path(path))
    elif path:
        load_prompts(path)


def _aligned(rows: list[Offered], width: int) -> list[str]:
    """The rows' cells in columns; the last column takes what is left of the width."""
    columns = [*zip(*(row.cells[:-1] for row in rows), strict=True)]
    widths = [max(cells(text) for text in column) for column in columns]
    lines = []
    for row in rows:
        head = "  ".join(text.ljust(room) for text, room in zip(row.cells[:-1], widths, strict=True))
        lines.append(clip(f"{head}  {row.cells[-1]}".rstrip(), width))
    return lines


def _number(text: str, name: str) -> int:
    try:
        number = int(text.replace(",", "").replace("_", ""))
    except ValueError:
        number = -1
    if not 0 <= number < 2**31:
        raise InputError("expected a whole number, 0 or more.", where=_NUMBERS[name][0], next_step="Write one.")
    return number
