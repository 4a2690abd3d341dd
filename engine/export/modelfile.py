"""An Ollama Modelfile for a GGUF file: chat template in Go's syntax, and the texts that end an answer.

The template is written from what the model's own template makes of a small chat: the text before each kind of turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.models import chat
from engine.models.inference.requests import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SYSTEM, _ONE, _ANSWER, _TWO = "qzsystemz", "qzuseronez", "qzanswerz", "qzusertwoz"


def modelfile(gguf_name: str, tokenizer: PreTrainedTokenizerBase, system: str = "") -> str:
    """The text of a Modelfile.

    Args:
        gguf_name: name of the GGUF file next to it.
        tokenizer: the model's, with its chat template.
        system: what the model was trained under; "" for none. A text with three quotes in a row cannot be said.
    """
    chats = chat.for_tokenizer(tokenizer)
    lines = [f"FROM ./{gguf_name}"]
    template = go_template(chats)
    if template:
        lines.append(f'TEMPLATE """{template}"""')
    if system.strip() and '"""' not in system:
        lines.append(f'SYSTEM """{system}"""')
    eos = tokenizer.eos_token
    for stop in dict.fromkeys([*chats.turn_ends, *chats.stop, *([eos] if isinstance(eos, str) else [])]):
        text = stop.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines.append(f'PARAMETER stop "{text}"')
    return "\n".join(lines) + "\n"


def go_template(chats: chat.Chat) -> str:
    """The chat template in the syntax that Ollama reads; "" where it cannot be said there, and Ollama then takes the
    template of the GGUF file.

    Ollama puts the beginning token before the text by itself where the GGUF file says so.
    """
    plain = chats.render([Message("user", _ONE), Message("assistant", _ANSWER), Message("user", _TWO)])
    first, user, answer, end = _between(plain, _ONE, _ANSWER, _TWO)
    pieces = {"first": first, "user": user, "answer": answer, "end": end, "system": "", "after_system": first}
    if not chats.joins_system:
        whole = chats.render([Message("system", _SYSTEM), Message("user", _ONE)])
        pieces["system"], pieces["after_system"], _ = _between(whole, _SYSTEM, _ONE)
    bos = chats.tokenizer.bos_token
    if isinstance(bos, str) and chats.tokenizer.backend_tokenizer.encode("a").ids[:1] == [chats.tokenizer.bos_token_id]:
        pieces = {name: text.removeprefix(bos) for name, text in pieces.items()}
    if any("{{" in text or "}}" in text or '"""' in text for text in pieces.values()):
        return ""
    system = '{{ if eq .Role "system" }}' + pieces["system"] + "{{ .Content }}{{ $last = .Role }}{{ else "
    return (
        '{{ $last := "" }}{{ range .Messages }}'
        + system
        + 'if eq .Role "user" }}{{ if eq $last "system" }}'
        + pieces["after_system"]
        + '{{ else if eq $last "assistant" }}'
        + pieces["answer"]
        + "{{ else }}"
        + pieces["first"]
        + '{{ end }}{{ .Content }}{{ $last = .Role }}{{ else if eq .Role "assistant" }}'
        + pieces["user"]
        + "{{ .Content }}{{ $last = .Role }}{{ end }}{{ end }}"
        + pieces["end"]
    )


def _between(text: str, *marks: str) -> list[str]:
    """The pieces of a text between marks, before the first and after the last."""
    pieces = []
    for mark in marks:
        before, _, text = text.partition(mark)
        pieces.append(before)
    return [*pieces, text]
