"""What a file of prompts holds, before anything runs: counts, lengths, duplicates, what would be left out and why."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import InputError
from engine.prompts.duplicates import representatives, tokens
from engine.prompts.load import Prompt, load_prompts

Count = Callable[[Sequence[str]], list[int]]
"""Texts -> tokens of each."""

_SCRIPTS = {
    "Cyrillic": "[\u0400-\u04ff]",
    "Greek": "[\u0370-\u03ff]",
    "Arabic": "[\u0600-\u06ff]",
    "Hebrew": "[\u0590-\u05ff]",
    "Devanagari": "[\u0900-\u097f]",
    "Thai": "[\u0e00-\u0e7f]",
    "Korean": "[\uac00-\ud7af]",
    "Japanese": "[\u3040-\u30ff]",
    "Chinese": "[\u4e00-\u9fff]",
}
_PATTERNS = {name: re.compile(pattern) for name, pattern in _SCRIPTS.items()}
_FUNCTION_WORDS = {
    "English": "the and is are of to in what how why do does can i my for with you it that",
    "German": "der die das und ist ein eine nicht wie was ich mit für auf zu den von kann mein",
    "French": "le la les et est un une des que pour dans je mon comment pourquoi avec pas vous du",
    "Spanish": "el la los las y es un una de que para en mi cómo por con no qué del",
    "Portuguese": "o a os as e é um uma de que para em meu como por com não do da",
    "Italian": "il la gli e è un una di che per in mio come con non perché del i lo",
    "Dutch": "de het en is een van dat ik in op te met voor niet mijn hoe wat zijn",
}
_BY_WORD: dict[str, list[str]] = {}
for _name, _words in _FUNCTION_WORDS.items():
    for _word in _words.split():
        _BY_WORD.setdefault(_word, []).append(_name)


@dataclass(frozen=True)
class Lengths:
    """Minimum, median, 95th percentile and maximum of the prompts' lengths, in `unit`."""

    unit: str
    low: int
    median: int
    p95: int
    high: int


@dataclass(frozen=True)
class Preview:
    """What a run would take from a file.

    Args:
        source: the file.
        rows: rows that hold a prompt, and those that were skipped.
        usable: prompts that a run would use, after duplicates were left out.
        exact, near: duplicates by equal words, and by similar ones.
        skipped: reason -> rows that cannot be asked.
        lengths: of the prompts.
        too_long: prompts longer than the model's context; 0 where no model was named.
        languages: name -> prompts, most frequent first; a guess by script and frequent words.
        principles: id -> prompts; "" for those that name none.
        chats, systems: prompts with earlier turns, and with a system text.
        notices: sentences on what of the file is not used.
        shared: prompts that a compared set holds, too.
    """

    source: str
    rows: int
    usable: int
    exact: int
    near: int
    skipped: Mapping[str, int]
    lengths: Lengths
    too_long: int
    languages: Mapping[str, int]
    principles: Mapping[str, int]
    chats: int
    systems: int
    notices: tuple[str, ...] = ()
    shared: int = 0
    examples: tuple[str, ...] = field(default=())


def preview(
    path: Path | str,
    *,
    columns: Mapping[str, str] | None = None,
    count: Count | None = None,
    context: int = 0,
    against: Sequence[Prompt] = (),
) -> Preview:
    """Read a file of prompts as a run would, and say what it holds.

    Args:
        path: the file.
        columns: as `load_prompts`.
        count: counts tokens; None counts words.
        context: most tokens of a prompt; 0 for no limit.
        against: prompts of other sets, which this one must not share.

    Raises:
        InputError: the file cannot be used; names file, line and field.
    """
    found = load_prompts(path, columns=columns)
    questions = [prompt.question for prompt in found]
    first = representatives(questions)
    exact, near = _duplicates(questions, first)
    lengths = count(questions) if count is not None else [len(question.split()) for question in questions]
    known = {prompt.sha256 for prompt in against}
    reasons = Counter(one.reason.rstrip(".") for one in found.skipped)
    return Preview(
        source=str(path),
        rows=len(found) + len(found.skipped),
        usable=len(found) - exact - near,
        exact=exact,
        near=near,
        skipped=dict(reasons.most_common()),
        lengths=_lengths(lengths, "words" if count is None else "tokens"),
        too_long=sum(length >= context for length in lengths) if context else 0,
        languages=dict(Counter(map(guess_language, questions)).most_common()),
        principles=dict(Counter(prompt.principle for prompt in found).most_common()),
        chats=sum(any(message.role != "system" for message in prompt.messages) for prompt in found),
        systems=sum(any(message.role == "system" for message in prompt.messages) for prompt in found),
        notices=found.notices,
        shared=sum(prompt.sha256 in known for prompt in found),
        examples=tuple(" ".join(found.prompts[place].text.split()) for place in list(dict.fromkeys(first))[:3]),
    )


def _duplicates(questions: Sequence[str], first: Sequence[int]) -> tuple[int, int]:
    """How many prompts are exact duplicates of an earlier one, and how many near ones."""
    copies = [place for place, representative in enumerate(first) if representative != place]
    exact = sum(tokens(questions[place]) == tokens(questions[first[place]]) for place in copies)
    return exact, len(copies) - exact


def _lengths(lengths: Sequence[int], unit: str) -> Lengths:
    ordered = sorted(lengths)
    at = [
        ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1 if share else 0)]
        for share in (0, 0.5, 0.95, 1)
    ]
    return Lengths(unit, *at)


def guess_language(text: str) -> str:
    """The language or script of a text, by its characters and frequent words; "unknown" for too little of both."""
    sample = text[:500]
    if not sample.isascii():
        letters = sum(map(str.isalpha, sample))
        for name, pattern in _PATTERNS.items():
            if letters and len(pattern.findall(sample)) > 0.3 * letters:
                return name
    votes: dict[str, int] = {}
    for word in sample.lower().split():
        for name in _BY_WORD.get(word.strip(".,;:!?\"'()¿¡"), ()):
            votes[name] = votes.get(name, 0) + 1
    best = sorted(votes.values())[-2:]
    if not best or (len(best) > 1 and best[0] == best[1]):
        return "unknown"
    return max(votes, key=lambda name: votes[name])


def parse_columns(pairs: Sequence[str], where: str = "--map") -> dict[str, str]:
    """A column mapping as it is typed: "prompt=question" reads the column `question` as `prompt`.

    Raises:
        InputError: a part is not NAME=COLUMN, or a name occurs twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, column = (part.strip() for part in pair.partition("="))
        if not equals or not name or not column:
            raise InputError(
                f"expected NAME=COLUMN, not {pair[:60]!r}.", where=where, next_step="Example: prompt=question."
            )
        if name in found:
            raise InputError(f"{name} is mapped twice.", where=where, next_step="Remove one.")
        found[name] = column
    return found
