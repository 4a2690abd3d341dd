"""Models that think before they answer: real generation, with the tokens that a form prescribes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.control import Control
from engine.models.inference.requests import Completion, Message, Request, Sampling
from engine.models.local import LocalModel, load_model

Tiny = Callable[..., Path]
_TURNS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SWITCH = "{% if add_generation_prompt and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"


@dataclass
class Prescribed:
    """A form that leaves one token at a time."""

    tokens: list[int]
    vocab: int
    place: int = field(default=0)

    def start(self) -> Prescribed:
        return Prescribed(self.tokens, self.vocab)

    def token_mask(self) -> Any:
        mask = np.zeros(self.vocab, dtype=bool)
        mask[self.tokens[self.place]] = True
        return mask

    def accept(self, _token: int) -> bool:
        self.place += 1
        return self.place == len(self.tokens)


@pytest.fixture
def thinker(tiny: Tiny, tmp_path: Path, redraft_home: Path) -> LocalModel:
    folder = Path(shutil.copytree(tiny("llama"), tmp_path / "thinker"))
    template = "{# <think> </think> #}" + _TURNS + _SWITCH
    (folder / "chat_template.jinja").write_text(template)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": template}))
    return load_model(str(folder), device="cpu", dtype="float32")


def says(model: LocalModel, text: str, *, ends: bool) -> Completion:
    tokens = model.encode_text(text) + ([min(model.codec.ends)] if ends else [])
    limit = len(tokens) if ends else len(tokens) - 1
    form = Prescribed(tokens, int(model.decoder.embedding.shape[0]))
    prompt = model.render([Message("user", "why?")])
    request = Request("a", prompt, Sampling(max_tokens=limit), constraint=form)
    return next(iter(model.generate([request], Control())))


def test_thinking_is_switched_off_where_the_template_has_the_switch(thinker: LocalModel) -> None:
    assert thinker.render([Message("user", "why?")]).endswith("<think>\n\n</think>\n\n")


def test_thoughts_are_kept_raw_and_left_out_of_the_answer_and_of_what_is_learned(thinker: LocalModel) -> None:
    found = says(thinker, "<think>the question</think> the answer", ends=True)
    assert (found.text, found.error) == ("the answer", "")
    assert "<think>the question</think>" in found.raw
    _, learned = thinker.encode_pair([Message("user", "why?")], found.raw)
    assert thinker.decode(learned).strip() == "the answer"


@pytest.mark.parametrize("ends", [True, False])
def test_an_answer_that_ended_inside_its_thinking_is_no_answer(thinker: LocalModel, ends: bool) -> None:
    found = says(thinker, "<think>the question is what", ends=ends)
    assert (found.text, found.finish) == ("", "error")
    assert "thinking" in found.error
    assert ("Raise the token limit" in found.error) == (not ends)
