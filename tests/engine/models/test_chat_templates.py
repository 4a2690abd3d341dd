"""A model is asked, and taught, in the form that its own template writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ModelError
from engine.models import chat
from engine.models.hub import load
from engine.models.inference.requests import Message

Tiny = Callable[..., Path]
ASKED = [Message("user", "How tall is it?")]
SYSTEM = [Message("system", "Be brief."), *ASKED]
TURNS = [Message("user", "Hi"), Message("assistant", "Hello"), *ASKED]
ROWS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
START = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
CHATML = ROWS + START
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endif %}{% endfor %}" + START
)
ALTERNATING = (
    "{% for m in messages if m.role != 'system' %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}" + CHATML
)
WORDS = (
    "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}### assistant:\n{% endif %}"
)
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


@pytest.fixture
def folder(tiny: Tiny, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny("llama"), tmp_path / "model"))


def with_template(folder: Path, template: Any) -> chat.Chat:
    """The chat of the folder with this template: a string, or what stands in `tokenizer_config.json`."""
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    if isinstance(template, str):
        (folder / "chat_template.jinja").write_text(template)
    else:
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))
    return chat.for_tokenizer(load.folder_tokenizer(folder))


def answer_of(which: chat.Chat, answer: str) -> str:
    """What is learned after the question."""
    prompt = which.render(ASKED)
    whole = which.render(ASKED, answer=answer)
    assert whole.startswith(prompt)
    return whole[len(prompt) :]


QUESTION = "<|im_start|>user\nHow tall is it?<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    "named",
    [
        [{"name": "tool_use", "template": "tools!"}, {"name": "default", "template": CHATML}],
        [{"name": "chatml", "template": CHATML}],
        {"default": CHATML, "rag": "documents!"},
    ],
)
def test_the_default_of_several_templates_is_used(folder: Path, named: Any) -> None:
    assert with_template(folder, named).render(ASKED) == QUESTION


def test_templates_in_files_of_their_own_are_read(folder: Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("tools!")
    assert with_template(folder, CHATML).render(ASKED) == QUESTION
    shutil.rmtree(folder / "additional_chat_templates")
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": CHATML}))
    assert chat.for_tokenizer(load.folder_tokenizer(folder)).render(ASKED) == QUESTION


def test_templates_without_a_default_are_refused_by_name(folder: Path) -> None:
    named = [{"name": "rag", "template": CHATML}, {"name": "tool_use", "template": CHATML}]
    with pytest.raises(ModelError, match=r"none named default: rag, tool_use.*chat_template\.jinja"):
        with_template(folder, named)


def test_a_system_text_that_a_template_leaves_out_joins_the_question(folder: Path) -> None:
    which = with_template(folder, NO_SYSTEM)
    joined = QUESTION.replace("How", "Be brief.\n\nHow")
    assert which.render(SYSTEM) == joined
    assert "system" in which.notices[0]
    empty = [Message("system", ""), *ASKED]
    assert which.render(empty) == QUESTION


def test_a_template_that_leaves_turns_out_is_refused(folder: Path) -> None:
    last = "<|im_start|>user\n{{ messages[-1].content }}<|im_end|>\n<|im_start|>assistant\n"
    with pytest.raises(ModelError, match="leaves out a turn"):
        with_template(folder, last).check()


def test_a_template_that_writes_the_first_word_of_a_system_text_is_refused(folder: Path) -> None:
    cut = "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    cut += "{{ m.content.split(' ')[0] if m.role == 'system' else m.content }}"
    with pytest.raises(ModelError, match=r"leaves out a turn of the chat \(system\)"):
        with_template(folder, cut + "<|im_end|>\n{% endfor %}<|im_start|>assistant\n").check()


def test_neighboring_turns_are_joined_where_a_template_demands_that_roles_alternate(folder: Path) -> None:
    which = with_template(folder, ALTERNATING)
    assert which.render([Message("user", "Hi"), *ASKED]) == QUESTION.replace("How", "Hi\n\nHow")
    which.check()
    with pytest.raises(ModelError, match=r"roles must alternate.*the user first"):
        which.render([Message("assistant", "Hello"), *ASKED])


def test_a_template_that_refuses_every_chat_is_advised_on_itself(folder: Path) -> None:
    which = with_template(folder, "{% if not tools %}{{ raise_exception('tools needed') }}{% endif %}" + CHATML)
    with pytest.raises(ModelError, match=r"tools needed\. It refuses every chat"):
        which.check()


def test_the_token_that_ends_a_turn_ends_an_answer(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token": "<|endoftext|>"}))
    which = with_template(folder, CHATML)
    assert which.tokenizer.eos_token == "<|endoftext|>"
    assert which.end_tokens() == {which.tokenizer.convert_tokens_to_ids("<|im_end|>")}
    assert answer_of(which, "It is tall.") == "It is tall.<|im_end|>"


def test_a_token_that_begins_the_next_turn_ends_an_answer(folder: Path) -> None:
    """As in GLM-4's template, which writes nothing after an answer."""
    template = ROWS.replace("<|im_end|>\n", "") + START
    which = with_template(folder, template)
    assert which.turn_ends == ()
    assert which.end_tokens() == {which.tokenizer.convert_tokens_to_ids("<|im_start|>")}
    assert answer_of(which, "It is tall.") == "It is tall.<|im_end|>"


def test_a_template_that_begins_no_answer_gets_what_it_writes_before_answers(folder: Path) -> None:
    which = with_template(folder, ROWS)
    assert which.render(ASKED) == QUESTION
    assert answer_of(which, "It is tall.") == "It is tall.<|im_end|>"
    assert any("does not begin an answer" in notice for notice in which.notices)
    assert with_template(folder, CHATML).opening == ""
    assert with_template(folder, THINKING).opening == ""


def test_an_end_that_is_not_one_token_stops_by_its_text(folder: Path) -> None:
    which = with_template(folder, CHATML.replace("<|im_end|>", "<|eot|>"))
    assert which.turn_ends == ()
    assert which.stop == ("<|eot|>",)


@pytest.mark.parametrize("template", [WORDS, WORDS.replace("\n\n", "\n"), WORDS.replace("### ", "")])
def test_the_end_token_is_learned_where_the_template_writes_none(folder: Path, template: str) -> None:
    which = with_template(folder, template)
    assert answer_of(which, "It is tall.") == "It is tall.<|im_end|>"
    assert len(which.stop) == 1
    assert "user" in which.stop[0]


@pytest.mark.parametrize("answer", ["e", "im_end", "", "a\n", "assistant", "It is tall. It is tall."])
def test_an_answer_ends_with_one_end_token_whatever_it_says(folder: Path, answer: str) -> None:
    for template in (CHATML, WORDS, THINKING, NO_SYSTEM):
        learned = answer_of(with_template(folder, template), answer)
        assert learned.endswith("<|im_end|>")
        assert learned.count("<|im_end|>") == 1
        assert learned.startswith(answer.strip())


def test_a_model_that_can_think_is_asked_without(folder: Path) -> None:
    which = with_template(folder, THINKING)
    assert which.render(ASKED) == QUESTION + "<think>\n\n</think>\n\n"
    assert answer_of(which, "<think>\nHmm.\n</think>\n\nTall.") == "Tall.<|im_end|>"
    assert answer_of(which, "Tall.") == "Tall.<|im_end|>"


def test_thoughts_that_a_template_begins_are_ended(folder: Path) -> None:
    which = with_template(folder, ROWS + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}")
    assert which.render(ASKED) == QUESTION + "<think>\n\n</think>\n\n"
    assert answer_of(which, "Tall.") == "Tall.<|im_end|>"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>\nHmm.\n</think>\n\nTall.", "Tall."),
        ("<think></think><think>again</think>Tall.", "Tall."),
        ("Hmm.\n</think>\n\nTall.", "Tall."),
        ("<think>\nHmm, and it goes on", ""),
        ("Tall, I <think>.", "Tall, I <think>."),
        ("Tall.", "Tall."),
    ],
)
def test_thoughts_are_kept_out_of_the_answer(folder: Path, text: str, answer: str) -> None:
    assert with_template(folder, THINKING).without_thinking(text) == answer


def test_a_model_without_thoughts_may_write_such_marks(folder: Path) -> None:
    assert with_template(folder, CHATML).without_thinking("<think>a</think>b") == "<think>a</think>b"


def test_a_prompt_begins_with_one_bos_at_most(folder: Path) -> None:
    for template in (CHATML, "{{ bos_token }}" + CHATML):
        which = with_template(folder, template)
        assert which.render(SYSTEM).count("<|endoftext|>") == template.count("bos_token")
