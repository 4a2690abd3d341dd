"""Renders a chat as the one string that a model is sent.

Models with a chat template get theirs. Models without one (gpt2, phi-2) get the plain template::

    {system}

    Question: {user}
    Answer: {assistant}

    Question: {user}
    Answer:

which ends where the answer begins; generation then stops before the model writes the next "Question:" (`Chat.stop`).

What a person or a model wrote can never become part of the template: where a content holds a text that the template or
the tokenizer gives a meaning ("<|im_end|>"), a space is put after its first character. A visible change was chosen over
an invisible character because the journal shows prompts as they were sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import InputError, ModelError
from engine.models.inference.requests import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PLAIN_STOP = ("\nQuestion:",)
"""Stop texts of the plain template."""

ROLES = ("system", "user", "assistant")

# What looks like a role marker in a template's source, though its tokenizer may know no such token: "<|user|>" of
# zephyr's kind, "<start_of_turn>", "[INST]", "<<SYS>>", "</s>".
_MARKER = re.compile(r"<\|[^|<>\s{}]{1,64}\|>|<</?[A-Z]{2,16}>>|</?[a-z]\w{0,63}>|\[/?[A-Z_]{3,32}\]", re.ASCII)
_PLAIN_TURN = re.compile(r"^(?=(?:Question|Answer):)", re.MULTILINE)


@dataclass(frozen=True)
class Chat:
    """How one model's chats are written.

    Args:
        tokenizer: applies the template, where it has one.
        marks: texts that mean something to the template or the tokenizer; `contents` never hold them.
        plain: whether the plain template is used.
    """

    tokenizer: PreTrainedTokenizerBase
    marks: re.Pattern[str] | None
    plain: bool

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts that end an answer beside the model's own end token."""
        return PLAIN_STOP if self.plain else ()

    def render(self, messages: Sequence[Message], *, answer: str | None = None) -> str:
        """The chat as one string, ending where the answer begins, or after `answer` and the end of its turn.

        Args:
            messages: at least one; roles system (first only), user and assistant.
            answer: the assistant's last turn, for training and scoring.

        Raises:
            InputError: for a role that there is not, or no messages.
            ModelError: if the model's template fails on this chat.
        """
        _check(messages)
        turns = [Message(m.role, self.neutral(m.content)) for m in messages]
        if self.plain:
            text = _plain(turns, self._bos())
            return text if answer is None else f"{text} {self.neutral(answer)}{self.tokenizer.eos_token or ''}"
        start = self._apply(turns, True)
        return start if answer is None else start + self._ending(turns, start, self.neutral(answer))

    def neutral(self, content: str) -> str:
        """The content, with a space inside everything that the template or the tokenizer would take for its own."""
        if self.marks is not None:
            # Opening one mark can complete no other (a space is added, nothing removed) unless marks hold spaces.
            for _ in range(4):
                opened = self.marks.sub(_opened, content)
                if opened == content:
                    break
                content = opened
        return _PLAIN_TURN.sub(" ", content) if self.plain else content

    def _bos(self) -> str:
        """What the tokenizer would put before a text by itself: prompts are tokenized without such additions."""
        ids = self.tokenizer.backend_tokenizer.encode("", add_special_tokens=True).ids
        bos = self.tokenizer.bos_token
        return bos if isinstance(bos, str) and ids[:1] == [self.tokenizer.bos_token_id] else ""

    def _ending(self, turns: Sequence[Message], start: str, answer: str) -> str:
        """The answer with what the template writes after an assistant's turn, as far as the end token."""
        whole = self._apply([*turns, Message("assistant", answer)], False)
        eos = self.tokenizer.eos_token
        if whole.startswith(start):
            rest = whole[len(start) :]
            end = rest.rfind(eos) if isinstance(eos, str) else -1
            return rest[: end + len(str(eos))] if end >= 0 else rest
        # The template writes a past turn otherwise than a turn to come; the end token still ends it.
        return f"{answer}{eos or ''}"

    def _apply(self, turns: Sequence[Message], generation: bool) -> str:
        rows = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            try:
                return self._templated(rows, generation)
            except Exception:
                # Some templates (gemma) refuse a system turn: the first user turn carries it then.
                if rows[0]["role"] != "system" or len(rows) < 2:
                    raise
                joined = {"role": rows[1]["role"], "content": f"{rows[0]['content']}\n\n{rows[1]['content']}"}
                return self._templated([joined, *rows[2:]], generation)
        except Exception as error:  # noqa: BLE001 - a template raises whatever it likes
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ModelError(
                f"The model's chat template refuses this chat: {reason}.",
                where="chat template",
                next_step="Turns of user and assistant must take turns, the user first.",
            ) from None

    def _templated(self, rows: list[dict[str, str]], generation: bool) -> str:
        text: Any = self.tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=generation)
        return str(text)


def for_tokenizer(tokenizer: PreTrainedTokenizerBase) -> Chat:
    """The chat of a tokenizer: its own template, or the plain one where it has none."""
    template = tokenizer.chat_template
    plain = not isinstance(template, str) or not template.strip()
    marks = {str(token) for token in tokenizer.all_special_tokens}
    marks |= {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    # Tokens that are added without being special ("<tool_call>") still steer; runs of spaces (phi) do not.
    marks |= {t.content for t in tokenizer.added_tokens_decoder.values() if _MARKER.fullmatch(t.content)}
    if not plain:
        marks |= set(_MARKER.findall(str(template)))
    known = sorted((re.escape(m) for m in marks if len(m) > 1 and m.strip()), key=len, reverse=True)
    return Chat(tokenizer, re.compile("|".join(known)) if known else None, plain)


def _opened(match: re.Match[str]) -> str:
    return f"{match.group()[0]} {match.group()[1:]}"


def _check(messages: Sequence[Message]) -> None:
    if not messages:
        raise InputError("A chat needs at least one message.")
    for place, message in enumerate(messages):
        if message.role not in ROLES or (message.role == "system" and place):
            raise InputError(
                f"A message cannot have the role {message.role[:40]!r} here.",
                where=f"message {place + 1}",
                next_step="Roles are system (first message only), user and assistant.",
            )


def _plain(turns: Sequence[Message], bos: str) -> str:
    parts = []
    for turn in turns:
        match turn.role:
            case "system":
                parts.append(f"{turn.content}\n\n")
            case "user":
                parts.append(f"Question: {turn.content}\nAnswer:")
            case _:
                parts.append(f" {turn.content}\n\n")
    return bos + "".join(parts)
