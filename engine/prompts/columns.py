"""What the fields of a row mean: which hold the prompt, its system text and earlier turns, and which are not used.

Read are TRL's prompt-only, preference and conversational rows, Alpaca (instruction, input, history), OpenOrca
(system_prompt, question), rows with a context or passage, OpenAI's messages with content parts and tool calls, ShareGPT
conversations, and the transcripts of hh-rlhf. A row that cannot be asked raises `InputError`; whatever of a usable row
is left out is counted in `Usage`.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.errors import InputError
from engine.models.inference.requests import Message
from engine.prompts.records import Record, kind, plain_name
from engine.text import is_blank, sanitize, truncate

PROMPT_COLUMNS = ("prompt", "instruction", "question", "text")
"""Names under which a prompt is looked for, in this order."""

CHAT_COLUMNS = ("messages", "conversations", "conversation", "dialogue", "dialog", "contents", "turns")
"""Names of lists of turns."""

FALLBACK_COLUMNS = ("query", "problem", "input", "user_prompt", "transcript")
"""Names that hold the prompt where no other column does."""

SYSTEM_COLUMNS = (
    "system_prompt", "system", "system_message", "systemInstruction", "system_instruction", "instructions", "preamble"
)  # fmt: skip
"""Names of system texts: a text, a list of parts, or an object with parts."""

CONTEXT_COLUMNS = ("input", "context", "passage", "document", "article")
"""Names of what an instruction or question is about; put behind it after an empty line."""

ALL_COLUMNS = (*PROMPT_COLUMNS, *CHAT_COLUMNS, *FALLBACK_COLUMNS)

_KNOWN = frozenset({
    *ALL_COLUMNS, *CONTEXT_COLUMNS, *SYSTEM_COLUMNS, "chosen", "rejected", "history", "id", "topic", "principle",
    "demonstration",
})  # fmt: skip
"""Every name of a field that is read."""

_ROLES = ("system", "user", "assistant")
_ROLE_ALIASES = {
    "human": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "developer": "system",
    "function_call": "call",
    "tool_call": "call",
    "tool": "result",
    "function": "result",
    "observation": "result",
    "ipython": "result",
    "function_response": "result",
    "tool_response": "result",
}
_ROLE_KEYS = ("role", "from", "speaker", "author")
_CONTENT_KEYS = ("content", "value", "text", "parts", "refusal")
_TURN_KEYS = {*_ROLE_KEYS, *_CONTENT_KEYS, "tool_calls", "function_call", "tool_call_id", "channel"}
_TOOL_PARTS = frozenset({
    "tool_use", "tool_call", "tool-call", "toolUse", "tool_result", "tool-result", "toolResult", "server_tool_use",
    "functionCall", "function_call", "functionResponse", "function_response", "function_call_output",
})  # fmt: skip
_THOUGHT_PARTS = frozenset({"thinking", "redacted_thinking", "reasoning", "thought"})
_THOUGHT_CHANNELS = ("analysis", "commentary")
"""Where harmony's answers think, or call tools."""
_TRANSCRIPT = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
_HEADED_TURN = re.compile(r"\s*### ?(Human|Assistant): ?")
"""How guanaco's texts write the turns of a transcript, also in the middle of a line."""
_TURNS_AS_TEXT = re.compile(r"""\s*\[\s*\{\s*(["'])(?:role|from|content|value)\1\s*:""")
_TEMPLATE_MARKS = re.compile(
    r"<\|(?:im_start|start_header_id|begin_of_text|user|system)\|>|<start_of_turn>|\[INST\]"
    r"|### (?:Instruction|Response):|<(?:image|video|audio)>"
)
_NO_INPUT = {"<noinput>", "<no input>"}
"""What the rows of Self-Instruct hold where an instruction has no input."""
_MISSING = {"nan", "none", "null", "<na>", "n/a", "nat"}
"""How programs write that there is no text."""


@dataclass
class Usage:
    """What of a file's rows is not used.

    Args:
        unused: column, or field of a turn -> number of rows with a value in it.
        left_out: what of chats -> number of rows.
        templated: mark of a chat template -> number of prompts that hold it.
    """

    unused: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    templated: Counter[str] = field(default_factory=Counter)


def read_prompt(record: Record, usage: Usage) -> tuple[str, tuple[Message, ...]]:
    """The text that a row asks, and the turns before it; counts in `usage` what is not used.

    Raises:
        InputError: there is nothing to ask in the row; names the place and the field.
    """
    record = _with_request_body(with_known_names(record))
    column = _prompt_column(record)
    used = {column, "id", "topic", "principle", "demonstration"}
    _refuse_answer(record, column, used)
    left_out: list[str] = []
    messages = _joined(_with_system(_turns(record, column, used, left_out), record, column, used), left_out)
    text = messages[-1].content.strip()
    if is_blank(text):
        raise _empty(record, column)
    count_unused(record, used, usage)
    if left_out:
        usage.left_out.update(set(left_out))
    if mark := _TEMPLATE_MARKS.search(text):
        usage.templated[mark[0]] += 1
    return text, tuple(messages[:-1])


def _turns(record: Record, column: str, used: set[str], left_out: list[str]) -> list[Message]:
    """The turns that a column holds, whatever its shape, up to the last one of the user; adds to `used`."""
    value = turns_in_text(record, column) or record.fields[column]
    if isinstance(value, dict) and any(key in value for key in (*_ROLE_KEYS, "text")):
        value = [{"role": "user", **value}]
    if column in ("chosen", "rejected"):
        used |= {"chosen", "rejected"}
        left_out.append("answers after the last turn of the user")
        return _transcript(value) if isinstance(value, str) else _shared_turns(record, left_out)
    if column in CHAT_COLUMNS or isinstance(value, list):
        return _chat(value, record, column, left_out)
    if isinstance(value, str) and _is_transcript(value):
        if _with_plain_turns(value).rpartition("\n\n")[2] != "Assistant:":
            left_out.append("answers after the last turn of the user")
        return _transcript(value)
    text = _with_context(record, column, used)
    return [*_history(record, used), Message("user", text)]


def _with_context(record: Record, column: str, used: set[str]) -> str:
    """The column's text, and below it what the row gives as its input; adds to `used`."""
    texts = [read_text(record, column)]
    if is_blank(texts[0]):
        raise _empty(record, column)
    if is_missing(texts[0]):
        raise InputError(
            "the prompt is what programs write for a missing text (nan, None, null).",
            where=f"{record.place}, field {column!r}",
            next_step="Write a text, or delete the row.",
        )
    for extra in CONTEXT_COLUMNS:
        if extra != column and (parts := _context(record, extra)) is not None:
            used.add(extra)
            texts += [text for text in parts if not is_blank(text) and text.strip().casefold() not in _NO_INPUT]
    return "\n\n".join(text.strip() for text in texts)


def _context(record: Record, column: str) -> list[str] | None:
    """The texts that a question is about, those of a list one by one; None where the column holds anything else."""
    value = record.fields.get(column)
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return [sanitize(text) for text in value]
    if not isinstance(value, str):
        return None
    return [] if is_missing(value) else [sanitize(value)]


def is_missing(text: str) -> bool:
    """Whether a text is only how a program writes that there is none: "nan", "None", "null"."""
    return len(text) < 8 and text.strip().casefold() in _MISSING


def read_label(record: Record, column: str) -> str:
    """The text of a field beside the prompt (topic, principle, demonstration); "" where there is none.

    Raises:
        InputError: it is not a text.
    """
    text = read_text(record, column).strip()
    return "" if is_missing(text) else text


def _with_system(messages: list[Message], record: Record, column: str, used: set[str]) -> list[Message]:
    """The turns after the system texts of the row's own columns, where they do not hold them already."""
    if record.fields.keys().isdisjoint(SYSTEM_COLUMNS):
        return messages
    for name in SYSTEM_COLUMNS:
        value = record.fields.get(name)
        if name != column and isinstance(value, str | list | dict) and value:
            used.add(name)
            if isinstance(value, str) and is_missing(value):
                continue
            turn = {"content": value} if not isinstance(value, dict) or "parts" in value else value
            text = (read_content(turn, f"{record.place}, field {name!r}", optional=True) or "").strip()
            if not is_blank(text) and not any(m.role == "system" and m.content.strip() == text for m in messages):
                messages = [Message("system", text), *messages]
    return messages


def _empty(record: Record, column: str) -> InputError:
    return InputError(
        "the prompt is empty.",
        where=f"{record.place}, field {column!r}",
        next_step="Write a text, or delete the row.",
    )


def count_unused(record: Record, used: set[str], usage: Usage) -> None:
    """Count the row's columns with a value that are not among the used ones."""
    for name, value in record.fields.items():
        if name not in used and value is not None and value != "" and value != []:
            usage.unused[truncate(sanitize(str(name)).replace("\n", " ").strip(), 40) or "(no name)"] += 1


def read_text(record: Record, column: str) -> str:
    """The field's text, sanitized; "" where there is none.

    Raises:
        InputError: it is not a text.
    """
    value = record.fields.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(
            f"this is {kind(value)}, not a text.",
            where=f"{record.place}, field {column!r}",
            next_step="Put the text into double quotes.",
        )
    return sanitize(value)


def missing(record: Record, columns: Sequence[str]) -> InputError:
    """The error for a row that has none of the columns, or null in one of them."""
    empty = next((name for name in columns if name in record.fields), None)
    if empty is not None:
        return InputError(
            f"the {columns[0]} is null.",
            where=f"{record.place}, field {empty!r}",
            next_step="Write a text, or delete the row.",
        )
    found = ", ".join(
        truncate(sanitize(str(name)).replace("\n", " ") or "(no name)", 40) for name in list(record.fields)[:12]
    )
    return InputError(
        f"there is no {columns[0]}; the fields are: {found or 'none'}.",
        where=f"{record.place}, field {columns[0]!r}",
        next_step=f'Write {{"{columns[0]}": "..."}}.',
    )


def with_known_names(record: Record) -> Record:
    """The row with known names as those of tables are read (`plain_name`), where it has none of that name already."""
    if record.fields.keys() <= _KNOWN:
        return record
    plain = {name: plain_name(name) for name in record.fields if name not in _KNOWN}
    renamed = {name: known for name, known in plain.items() if known in _KNOWN and known not in record.fields}
    if not renamed:
        return record
    return replace(record, fields={renamed.get(name, name): value for name, value in record.fields.items()})


def _with_request_body(record: Record) -> Record:
    """The row with the fields of a request in it, where it is a line of a batch file (OpenAI, Anthropic, Gemini)."""
    for name in ("body", "params", "request"):
        body = record.fields.get(name)
        if isinstance(body, dict) and any(isinstance(body.get(key), list) for key in ("messages", "contents")):
            rest = {key: value for key, value in record.fields.items() if key != name}
            return replace(record, fields={**rest, **body})
    return record


def _refuse_answer(record: Record, column: str, used: set[str]) -> None:
    """Refuse a row that is a single turn of another role than the user, as in the flat files of OpenAssistant."""
    role = record.fields.get("role")
    if column in CHAT_COLUMNS or not isinstance(role, str):
        return
    used.add("role")
    known = _ROLE_ALIASES.get(role.strip().lower(), role.strip().lower())
    if known in ("system", "assistant", "call", "result"):
        raise InputError(
            f"the row is a turn of the {truncate(sanitize(role), 40)}, not of the user.",
            where=f"{record.place}, field 'role'",
            next_step='Write whole chats: {"messages": [...]}.',
        )


def turns_in_text(record: Record, column: str) -> Any:
    """The list of turns that a text holds as JSON or, as pandas writes it into a CSV file, as Python; None for others.

    Raises:
        InputError: the text looks like such a list, and cannot be read as one.
    """
    text = record.fields[column]
    if not isinstance(text, str) or not _TURNS_AS_TEXT.match(text):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    raise InputError(
        "this text looks like a list of turns, but is neither JSON nor Python.",
        where=f"{record.place}, field {column!r}",
        next_step='Write the turns as JSON: [{"role": "user", "content": "..."}].',
    )


def _prompt_column(record: Record) -> str:
    fields = record.fields
    blank = ""
    for name in ("prompt", *CHAT_COLUMNS, *PROMPT_COLUMNS[1:], *FALLBACK_COLUMNS):
        value = fields.get(name)
        if isinstance(value, str) and is_blank(value):
            blank = blank or name
        elif value is not None:
            return name
    if blank:
        return blank
    chosen = fields.get("chosen")
    if isinstance(chosen, list) or (isinstance(chosen, str) and len(_TRANSCRIPT.findall(sanitize(chosen))) > 1):
        return "chosen"
    raise missing(record, ALL_COLUMNS)


def _chat(turns: Any, record: Record, column: str, left_out: list[str]) -> list[Message]:
    """The turns up to the last one of the user."""
    if not isinstance(turns, list):
        raise InputError(
            f"this must be a list of turns, but it is {kind(turns)}.",
            where=f"{record.place}, field {column!r}",
            next_step='Write [{"role": "user", "content": "..."}].',
        )
    turns = [without_parts(part, left_out) for turn in turns for part in _role_pairs(turn)]
    where = f"{record.place}, field '{column}["
    roles = [_known_role(turn) or read_role(turn, f"{where}{n}]'") for n, turn in enumerate(turns)]
    last = _last_question(roles)
    if last < 0:
        raise InputError(
            "no turn has the role user, so there is nothing to answer.",
            where=f"{record.place}, field {column!r}",
            next_step='Add {"role": "user", "content": "..."}.',
        )
    messages: list[Message] = []
    for number, (role, turn) in enumerate(zip(roles[: last + 1], turns, strict=False)):
        message = _message(role, turn, f"{where}{number}]'", left_out, may_be_blank=number == last)
        if message is not None:
            messages.append(message)
    if last + 1 < len(turns):
        left_out.append("answers after the last turn of the user")
    return messages


def _message(role: str, turn: dict[str, Any], place: str, left_out: list[str], *, may_be_blank: bool) -> Message | None:
    """The message of a turn; None where it is a tool's, or has no text."""
    if not turn.keys() <= _TURN_KEYS:
        left_out += [f"fields of turns ({truncate(sanitize(key), 40)})" for key in _unread_keys(turn)]
    of_tools = role in ("call", "result") or bool(turn.get("tool_calls") or turn.get("function_call"))
    content = read_content(turn, place, optional=of_tools)
    if of_tools and len(turn) > 1:  # else it was counted as parts
        left_out.append("tool calls and their results")
    if role not in _ROLES or content is None:
        return None
    if not is_blank(content) or may_be_blank:
        return Message(role, content)
    if not of_tools:
        left_out.append("turns without a text")
    return None


def without_parts(turn: Any, left_out: list[str]) -> Any:
    """The turn without tool calls, their results and thoughts among its parts; one that is nothing else as a turn of a
    tool."""
    if not isinstance(turn, dict):
        return turn
    if turn.get("channel") in _THOUGHT_CHANNELS:
        left_out.append("thoughts of the model")
        return {"role": "tool"}
    key = next((key for key in _CONTENT_KEYS if isinstance(turn.get(key), list)), None)
    if key is None:
        return turn
    of_tools, thoughts = _parts_of(turn[key], _TOOL_PARTS), _parts_of(turn[key], _THOUGHT_PARTS)
    left_out += ["thoughts of the model"] if thoughts else []
    left_out += ["tool calls and their results"] if of_tools else []
    rest = [part for part in turn[key] if part not in of_tools and part not in thoughts]
    if not of_tools and not thoughts:
        return turn
    return {**turn, key: rest} if rest else {"role": "tool"}


def _parts_of(content: list[Any], kinds: frozenset[str]) -> list[Any]:
    """The parts of these kinds, which a part names as its type or has as a key."""
    return [part for part in content if isinstance(part, dict) and not kinds.isdisjoint((part.get("type"), *part))]


def _last_question(roles: Sequence[str]) -> int:
    """The place of the last turn of the user; -1 where there is none."""
    return max((n for n, role in enumerate(roles) if role == "user"), default=-1)


def _unread_keys(turn: dict[str, Any]) -> list[str]:
    """The keys of a turn that hold something and are not read."""
    return [str(key) for key in turn if key not in _TURN_KEYS and turn[key] not in (None, "", [])]


def _role_pairs(turn: Any) -> Iterator[Any]:
    """The turns of an object that has them under their roles: {"human": "...", "assistant": "..."}."""
    if isinstance(turn, dict) and turn and not any(key in turn for key in _ROLE_KEYS):
        roles = [_ROLE_ALIASES.get(str(key).lower(), str(key).lower()) for key in turn]
        if all(role in _ROLES for role in roles) and all(isinstance(text, str) for text in turn.values()):
            yield from ({"role": role, "content": text} for role, text in zip(roles, turn.values(), strict=True))
            return
    yield turn


def read_role(turn: Any, place: str) -> str:
    """The role of a turn: system, user or assistant, or call and result of tools.

    Raises:
        InputError: there is none, or it is not known.
    """
    if known := _known_role(turn):
        return known
    if not isinstance(turn, dict):
        raise InputError(
            f"a turn is {kind(turn)}, not an object.",
            where=place,
            next_step='Write it as {"role": "user", "content": "..."}.',
        )
    role = _role_value(turn)
    shown = truncate(sanitize(role), 40) if isinstance(role, str) else kind(role)
    raise InputError(f"the role is {shown}.", where=place, next_step=f"Use one of {', '.join(_ROLES)}.")


def _known_role(turn: Any) -> str | None:
    """The role of a turn as `read_role` names it; None where it is not known."""
    role = _role_value(turn) if isinstance(turn, dict) else None
    if not isinstance(role, str):
        return None
    name = role.strip().lower()
    known = _ROLE_ALIASES.get(name, name)
    return known if known in _ROLES or known in ("call", "result") else None


def _role_value(turn: dict[str, Any]) -> Any:
    role = next((turn[key] for key in _ROLE_KEYS if key in turn), None)
    return role.get("role") if isinstance(role, dict) else role


def read_content(turn: dict[str, Any], place: str, *, optional: bool = False) -> str | None:
    """The turn's text: a string, or the text parts of a list; None where there is none and none is needed.

    Raises:
        InputError: there is none, or a part of it is not a text.
    """
    content = next((turn[key] for key in _CONTENT_KEYS if turn.get(key) is not None), None)
    content = content["parts"] if isinstance(content, dict) and "parts" in content else content
    if content is None and optional:
        return None
    if isinstance(content, str):
        return sanitize(content)
    if not isinstance(content, list) or not content:
        raise InputError(f"the content is {kind(content)}.", where=place, next_step="Give the turn's text as content.")
    return "\n".join(_part_text(part, place) for part in content)


def _part_text(part: Any, place: str) -> str:
    text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
    if isinstance(text, str):
        return sanitize(text)
    named = part.get("type") if isinstance(part, dict) else None
    what = truncate(sanitize(named), 40) if isinstance(named, str) else kind(part)
    raise InputError(
        f"a part of the content is not a text ({what}).",
        where=place,
        next_step="Redraft's models read text only: leave the part out, or delete the row.",
    )


def _joined(messages: Sequence[Message], left_out: list[str]) -> list[Message]:
    """The chat as every template takes it: system text first and once, then turns that alternate, the user's first."""
    system = "\n\n".join(m.content.strip() for m in messages if m.role == "system")
    turns: list[Message] = []
    for message in messages:
        if message.role == "system":
            continue
        if not turns and message.role == "assistant":
            left_out.append("turns of the assistant before the first of the user")
        elif turns and turns[-1].role == message.role:
            turns[-1] = Message(message.role, f"{turns[-1].content.rstrip()}\n\n{message.content.lstrip()}")
        else:
            turns.append(message)
    return [Message("system", system), *turns] if system else turns


def _is_exchange(value: Any) -> bool:
    """Whether this is [question, answer]."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(text, str) for text in value)


def _history(record: Record, used: set[str]) -> list[Message]:
    """The earlier turns of an Alpaca row: `history`, a list of [question, answer], or of turns."""
    pairs = record.fields.get("history")
    if isinstance(pairs, list) and pairs and all(isinstance(turn, dict) for turn in pairs):
        used.add("history")
        places = [f"{record.place}, field 'history[{number}]'" for number in range(len(pairs))]
        turns = [(read_role(turn, place), read_content(turn, place)) for turn, place in zip(pairs, places, strict=True)]
        return [Message(role, text) for role, text in turns if role in _ROLES and text]
    if not isinstance(pairs, list) or not all(map(_is_exchange, pairs)):
        return []
    used.add("history")
    return [
        Message(role, sanitize(text)) for pair in pairs for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


def _shared_turns(record: Record, left_out: list[str]) -> list[Message]:
    """The prompt that two conversations of a preference row share."""
    chosen, rejected = record.fields["chosen"], record.fields.get("rejected")
    if isinstance(rejected, list):
        shared = 0
        while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
            shared += 1
        chosen = chosen[:shared] or chosen
    return _chat(chosen, record, "chosen", left_out)


def _is_transcript(text: str) -> bool:
    """Whether a text is a transcript of hh-rlhf: it begins with a question and has an answer, or the place for one."""
    text = _with_plain_turns(text)
    found = _TRANSCRIPT.findall(text)
    return found[:1] == ["Human"] and "Assistant" in found and text.startswith("Human:")


def _with_plain_turns(text: str) -> str:
    """The text with the turns of guanaco's transcripts ("### Human: ...### Assistant: ...") as hh-rlhf writes them."""
    text = sanitize(text).strip()
    return _HEADED_TURN.sub(r"\n\n\1: ", text).strip() if _HEADED_TURN.match(text) else text


def _transcript(text: str) -> list[Message]:
    """The turns of "\\n\\nHuman: ...\\n\\nAssistant: ..." up to the last question."""
    parts = _TRANSCRIPT.split(_with_plain_turns(text))[1:]
    roles = ["user" if name == "Human" else "assistant" for name in parts[::2]]
    turns = [Message(role, text.strip()) for role, text in zip(roles, parts[1::2], strict=True)]
    last = _last_question([turn.role for turn in turns])
    return turns[: last + 1] or [Message("user", "")]
