"""Renders a chat as the one string that a model is sent.

Models with a chat template get theirs. Models without one (gpt2, phi-2) get the plain template::

    {system}

    Question: {user}
    Answer: {assistant}

    Question: {user}
    Answer:

which ends where the answer begins; generation then stops before the model writes the next "Question:" (`Chat.stop`).

Text of users and models can never become part of the template: where a content holds a text that the template or
the tokenizer treats as special ("<|im_end|>"), a space is put after its first character. A visible change was
chosen over an invisible character because the journal shows prompts as they were sent.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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


THINKING = (("<think>", "</think>"), ("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]"))
"""Marks that models put around what they think before they answer."""

_SENTINELS = ("qzuserone", "qzansweronez", "qzusertwo", "qzsystem")
_DEFAULT_TEMPLATES = ("default", "chat", "chatml")


@dataclass(frozen=True)
class Chat:
    """How one model's chats are written.

    Args:
        tokenizer: applies the template, where it has one.
        marks: texts that mean something to the template or the tokenizer; `contents` never hold them.
        plain: whether the plain template is used.
        template: the model's own, "" for the plain one.
        joins_system: the template leaves a system turn out, so the first user turn carries its text.
        turn_ends: texts that end an assistant's turn, as the template writes it, and that are one token each.
        next_turn: the token that begins the turn after an answer, where the template ends the answer with none: a model
            that writes it has ended its answer.
        opening: what the template writes before an answer and leaves out where it is asked to begin one.
        stops: texts that end a turn where the template has no token for it.
        thinking: the marks around a model's thoughts, where the template or the tokenizer knows them.
    """

    tokenizer: PreTrainedTokenizerBase
    marks: re.Pattern[str] | None
    plain: bool
    template: str = ""
    joins_system: bool = False
    turn_ends: tuple[str, ...] = ()
    next_turn: str = ""
    opening: str = ""
    stops: tuple[str, ...] = ()
    thinking: tuple[str, str] | None = None

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts that end an answer in addition to the model's end tokens."""
        return PLAIN_STOP if self.plain else self.stops

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences on how this model's chats differ from what is asked of it."""
        found = []
        if self.joins_system:
            found.append("The chat template has no place for a system text; the first user turn carries it.")
        if not self.plain and not self.turn_ends:
            found.append(
                "The chat template ends no answer with a token; the tokenizer's end token is trained after it."
            )
        if self.opening:
            found.append(
                "The chat template does not begin an answer where it is asked to; what it writes before answers "
                "is put at the end of each prompt."
            )
        return tuple(found)

    def end_tokens(self) -> frozenset[int]:
        """Ids of the tokens that end an assistant's turn by the template, or begin the next one."""
        vocab = self.tokenizer.get_vocab()
        return frozenset(vocab[text] for text in (*self.turn_ends, self.next_turn) if text in vocab)

    def kept_marks(self) -> tuple[tuple[int, str], ...]:
        """(id, text) of the marks around thoughts, where the tokenizer would leave them out of a decoded text."""
        if self.thinking is None:
            return ()
        special = {token.content: i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        return tuple((special[mark], mark) for mark in self.thinking if mark in special)

    def check(self) -> None:
        """Render chats of each shape that a run uses.

        Raises:
            ModelError: the template fails on one of them, or leaves a turn out.
        """
        # Of two words: a template may write the first one only.
        one, two, three, system = (
            Message(role, f"{text} {text}end")
            for role, text in zip(("user", "assistant", "user", "system"), _SENTINELS, strict=True)
        )
        self.render([one])
        text = self.render([system, one, two, three])
        lost = [m.role for m in (system, one, two, three) if m.content not in text]
        if lost:
            raise ModelError(
                f"The model's chat template leaves out a turn of the chat ({lost[0]}).",
                where="chat template",
                next_step="Name another model, or put a chat_template.jinja that writes every turn into its folder.",
            )

    def render(self, messages: Sequence[Message], *, answer: str | None = None) -> str:
        """The chat as one string, ending where the answer begins, or after `answer` and the end of its turn.

        Args:
            messages: at least one; roles system (first only), user and assistant.
            answer: the assistant's last turn, for training and scoring; without its thoughts, which are not learned.

        Raises:
            InputError: for an unknown role, or no messages.
            ModelError: if the model's template fails on this chat.
        """
        _check(messages)
        turns = [Message(m.role, self.neutral(m.content)) for m in messages]
        if answer is not None:
            answer = self.neutral(self.without_thinking(answer))
        if self.plain:
            text = _plain(turns, self._bos())
            return text if answer is None else f"{text} {answer}{self.tokenizer.eos_token or ''}"
        start = self._apply(turns, True) + self.opening
        prompt = self._without_open_thinking(start)
        return prompt if answer is None else prompt + self._ending(turns, start, answer)

    def without_thinking(self, text: str) -> str:
        """A model's answer without the thoughts before it; "" where it holds nothing else."""
        if self.thinking is None:
            return text
        begin, end = self.thinking
        while text.lstrip().startswith(begin):
            _, closed, text = text.partition(end)
            text = text.lstrip() if closed else ""
        if end in text and begin not in text:
            # The prompt had opened them.
            text = text.rpartition(end)[2].lstrip()
        return text

    def _without_open_thinking(self, start: str) -> str:
        """Thoughts that the template begins by itself are ended at once: answers are asked for, not thoughts."""
        if self.thinking is None or not start.rstrip().endswith(self.thinking[0]):
            return start
        return f"{start.rstrip()}\n\n{self.thinking[1]}\n\n"

    def neutral(self, content: str) -> str:
        """The content, with a space inside everything that the template or the tokenizer would take for its own."""
        content = neutralized(content, self.marks)
        return _PLAIN_TURN.sub(" ", content) if self.plain else content

    def _bos(self) -> str:
        """What the tokenizer would put before a text by itself: prompts are tokenized without such additions."""
        ids = self.tokenizer.backend_tokenizer.encode("", add_special_tokens=True).ids
        bos = self.tokenizer.bos_token
        return bos if isinstance(bos, str) and ids[:1] == [self.tokenizer.bos_token_id] else ""

    def _ending(self, turns: Sequence[Message], start: str, answer: str) -> str:
        """The answer with the token that ends its turn: the template's own, or else the tokenizer's end token, so that
        a model learns where to stop whatever its template writes."""
        eos = self.tokenizer.eos_token
        ends = [*self.turn_ends, *([eos] if isinstance(eos, str) else [])]
        whole = self._apply([*turns, Message("assistant", answer)], False)
        # A template may write a past turn otherwise than a turn to come; then the answer stands as it is.
        rest = whole[len(start) :] if whole.startswith(start) else answer
        body = answer.strip()
        at = rest.find(body) + len(body) if body in rest else 0
        places = [(rest.find(end, at), end) for end in ends if rest.find(end, at) >= 0]
        if places:
            place, end = min(places)
            return rest[: place + len(end)]
        return f"{rest[:at] or answer}{ends[0] if ends else ''}"

    def _apply(self, turns: Sequence[Message], generation: bool) -> str:
        rows = [{"role": turn.role, "content": turn.content} for turn in turns]
        first: Exception | None = None
        for candidate in self._forms(rows):
            try:
                return self._templated(candidate, generation)
            except Exception as error:  # noqa: BLE001 - a template raises whatever it likes
                first = first or error
        assert first is not None
        reason = " ".join(str(first).split())[:200] or type(first).__name__
        raise ModelError(
            f"The model's chat template refuses this chat: {reason}.",
            where="chat template",
            next_step=self._advice(rows),
        ) from None

    def _forms(self, rows: list[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
        """The chat as it stands, and as templates take it that have no system turn or demand that roles alternate."""
        joined = _with_system_joined(rows)
        if not self.joins_system:
            yield rows
        if joined is not rows or self.joins_system:
            yield joined
        merged = _with_neighbors_merged(rows)
        if merged is not rows:
            if not self.joins_system:
                yield merged
            yield _with_system_joined(merged)

    def _advice(self, rows: list[dict[str, str]]) -> str:
        """What helps, by what the template does with a single question."""
        try:
            self._templated([{"role": "user", "content": "a"}], True)
        except Exception:  # noqa: BLE001 - as in `_apply`
            return (
                "It refuses every chat: name another model, or put a chat_template.jinja that takes plain chats into "
                "the model's folder."
            )
        roles = [row["role"] for row in rows if row["role"] != "system"]
        alternate = all(role == ("user", "assistant")[place % 2] for place, role in enumerate(roles))
        if not alternate:
            return "Turns of user and assistant must take turns, the user first."
        return "It takes single questions: name another model for chats of several turns."

    def _templated(self, rows: list[dict[str, str]], generation: bool) -> str:
        # Templates that know neither of the last two ignore them.
        text: Any = self.tokenizer.apply_chat_template(
            rows,
            # One of several has to be named; a single one is the tokenizer's own.
            chat_template=None if isinstance(self.tokenizer.chat_template, str) else self.template,
            tokenize=False,
            add_generation_prompt=generation,
            enable_thinking=False,
            thinking=False,
        )
        return str(text)


def _with_system_joined(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The system text at the beginning of the first user turn; the same list where there is no system turn."""
    if rows[0]["role"] != "system":
        return rows
    text, rest = rows[0]["content"], rows[1:]
    place = next((i for i, row in enumerate(rest) if row["role"] == "user"), None)
    if place is None:
        return [{"role": "user", "content": text}, *rest]
    content = f"{text}\n\n{rest[place]['content']}" if text.strip() else rest[place]["content"]
    return [*rest[:place], {"role": "user", "content": content}, *rest[place + 1 :]]


def _with_neighbors_merged(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Neighboring turns of one role as one; the same list where there are none."""
    found: list[dict[str, str]] = []
    for row in rows:
        if found and found[-1]["role"] == row["role"]:
            found[-1] = {"role": row["role"], "content": f"{found[-1]['content']}\n\n{row['content']}"}
        else:
            found.append(row)
    return found if len(found) < len(rows) else rows


def own_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """The template of a tokenizer that plain chats are written by, "" where it has none.

    Some models bring several by name (for tools, for retrieval); theirs is the one named "default".

    Raises:
        ModelError: there are several, and none is for plain chats.
    """
    found: Any = tokenizer.chat_template
    if isinstance(found, list):
        found = {row.get("name"): row.get("template") for row in found if isinstance(row, dict)}
    if isinstance(found, dict):
        return _default_of({str(name): text for name, text in found.items() if isinstance(text, str) and text.strip()})
    return found if isinstance(found, str) and found.strip() else ""


def _default_of(templates: Mapping[str, str]) -> str:
    chosen = [name for name in _DEFAULT_TEMPLATES if name in templates]
    if not chosen and len(templates) > 1:
        raise ModelError(
            f"The model has {len(templates)} chat templates, none named default: {', '.join(sorted(templates))[:200]}.",
            where="chat template",
            next_step="Put the one to use into the model's folder as chat_template.jinja.",
        )
    return templates[chosen[0]] if chosen else next(iter(templates.values()), "")


def for_tokenizer(tokenizer: PreTrainedTokenizerBase) -> Chat:
    """The chat of a tokenizer: its own template, or the plain one where it has none.

    How the template treats a system turn and how it ends an answer is found by rendering small chats with it.

    Raises:
        ModelError: see `own_template`.
    """
    template = own_template(tokenizer)
    added = {token.content: token.special for token in tokenizer.added_tokens_decoder.values()}
    marks = find_marks(template, added, [str(token) for token in tokenizer.all_special_tokens])
    thinking = next((pair for pair in THINKING if any(mark in template or mark in added for mark in pair)), None)
    chat = Chat(tokenizer, marks, not template, template=template, thinking=thinking)
    return chat if chat.plain else _probed(chat, {*added, *map(str, tokenizer.all_special_tokens)})


def find_marks(template: str, added: Mapping[str, bool], special: Collection[str]) -> re.Pattern[str] | None:
    """What matches every text that means something to a chat template or its tokenizer; None where there is none.

    Args:
        added: tokens that were added to the vocabulary -> whether they are special.
        special: the tokenizer's special tokens.
    """
    marks = {*special, *(content for content, is_special in added.items() if is_special)}
    # Tokens that are added without being special ("<tool_call>") still steer; runs of spaces (phi) do not.
    marks |= {content for content in added if _MARKER.fullmatch(content)}
    marks |= set(_MARKER.findall(template))
    known = sorted((re.escape(m) for m in marks if len(m) > 1 and m.strip()), key=len, reverse=True)
    return re.compile("|".join(known)) if known else None


def neutralized(content: str, marks: re.Pattern[str] | None) -> str:
    """The content, with a space inside everything that these marks match."""
    if marks is not None:
        # Opening one mark can complete no other (a space is added, nothing removed) unless marks hold spaces.
        for _ in range(4):
            opened = marks.sub(_opened, content)
            if opened == content:
                break
            content = opened
    return content


def _probed(chat: Chat, tokens: Collection[str]) -> Chat:
    """The chat with what its template does in three small chats; as it was where the template fails on them."""
    one, two, three, system = _SENTINELS
    user, answer = {"role": "user", "content": one}, {"role": "assistant", "content": two}
    more = {"role": "user", "content": three}
    with contextlib.suppress(Exception):
        text = chat._templated([{"role": "system", "content": system}, user], True)
        chat = replace(chat, joins_system=system not in text and one in text)
    with contextlib.suppress(Exception):
        start, whole = chat._templated([user], True), chat._templated([user, answer], False)
        opening = whole.removeprefix(start).partition(two)[0] if whole.startswith(start) else ""
        # Empty thoughts before an answer are the business of `render`.
        thoughts = any(mark in opening for mark in chat.thinking or ())
        chat = replace(chat, opening=opening if opening.strip() and not thoughts else "")
    with contextlib.suppress(Exception):
        tail = chat._templated([user, answer], False).partition(two)[2].lstrip()
        if end := _leading(tail, tokens):
            return replace(chat, turn_ends=(end,))
        mark = _MARKER.match(tail)
        if mark is not None:
            return replace(chat, stops=(mark.group(),))
        between = chat._templated([user, answer, more], False).partition(two)[2].partition(three)[0]
        return _with_next_turn(chat, between, tokens)
    return chat


def _with_next_turn(chat: Chat, between: str, tokens: Collection[str]) -> Chat:
    """The chat of a template that ends no answer with a token: the next turn's beginning ends it.

    Args:
        between: what the template writes between an answer and the next turn's text.
        tokens: special ones.
    """
    heading = between.strip()
    if begin := _leading(heading, tokens):
        return replace(chat, next_turn=begin)
    if len(heading) > 2:
        return replace(chat, stops=(f"\n{heading}" if "\n" in between else heading,))
    return chat


def _leading(text: str, tokens: Collection[str]) -> str:
    """The longest of these tokens that a text begins with; "" for none."""
    return max((token for token in tokens if token.strip() and text.startswith(token)), key=len, default="")


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
