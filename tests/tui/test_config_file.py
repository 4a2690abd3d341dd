"""The settings file: look, keys and the next run in one place; what cannot be used is named and left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from driving import RecordingHost
from test_app import settle

from engine.settings import preset
from tui.app import RedraftApp
from tui.services.config_file import load

pytestmark = pytest.mark.usefixtures("own_home")


def write(home: Path, text: str, name: str = "config.toml") -> Path:
    folder = home / "config"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder


async def test_one_file_sets_theme_keys_and_the_next_run(own_home: Path, tmp_path: Path) -> None:
    write(own_home, 'pause = "f8"\nresume = "f9"\n', "keys.toml")
    write(
        own_home,
        'theme = "redraft-light"\nverbosity = 3\nnotify = false\n'
        '[keys]\npause = ["p", "f7"]\n[keys.log]\nfold = "f4"\n'
        '[run]\npreset = "standard"\nn_train = 33\ntrain_prompts = "~/mine.csv"\n[run.train]\nlora_r = 4\n',
    )
    app = RedraftApp(host=RecordingHost(), runs=tmp_path)
    assert app.preferences.current.verbosity == 3
    assert not app.preferences.current.notify
    assert [app.keymap.shown(*key) for key in (("pause",), ("resume",), ("fold", "log"))] == ["p", "F9", "F4"]
    config, standard = app.control.config, preset("standard")
    assert (config.preset, config.n_train, config.train.lora_r) == ("standard", 33, 4)
    assert config.train_prompts == str(Path.home() / "mine.csv")
    assert config.n_heldout == standard.n_heldout
    assert config.train.learning_rate == standard.train.learning_rate
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert app.theme == "redraft-light"
        assert app.run_screen.verbosity == 3


async def test_what_cannot_be_used_is_named_and_the_rest_holds(own_home: Path, tmp_path: Path) -> None:
    write(
        own_home,
        'theme = "pink"\nverbosity = "much"\ncolour = 3\nnotify = false\n[keys]\nfly = "x"\n[run]\nn_train = "many"\n',
    )
    app = RedraftApp(host=RecordingHost(), runs=tmp_path)
    said: list[str] = []
    app.notify = lambda message, **_: said.append(message)  # type: ignore[method-assign]
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
    text = "\n".join(said)
    for words in ("no theme 'pink'", "verbosity is not", "no setting 'colour'", "no action 'fly'", "n_train"):
        assert words in text
    assert not app.preferences.current.notify
    assert app.control.config == preset("demo")


@pytest.mark.parametrize("text", ["=", "keys = 3", "run = 3", '[run]\npreset = "none"', "left = -3", "\x00"])
def test_a_file_that_cannot_be_used_never_raises(own_home: Path, text: str) -> None:
    found = load(write(own_home, text))
    assert found.problems
    assert found.run is None


def test_no_file_says_nothing(own_home: Path) -> None:
    found = load(own_home / "config")
    assert not found.problems
    assert (found.look, found.keys, found.run) == ({}, {}, None)


def test_a_profile_brings_its_models(own_home: Path) -> None:
    run = load(write(own_home, '[run]\npreset = "standard"\nprofile = "single"\n')).run
    assert run is not None
    assert run.generator == "qwen2-1.5b-instruct"
    assert run.preset == "standard"
