"""Whether a text asserts a match or only mentions it: negated, refused, quoted, reported, asked about, rebutted.

RE2 has no lookaround, so a pattern cannot see its context; this looks at the sentence around a match, within a bounded
window, so that its cost does not depend on the length of the text. Works on normalized text (`normalize`).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import re2

from engine.judges.rules import negation

WINDOW = 280
"""Characters before a match that are examined."""
LOOKAHEAD = 200
"""Characters after a match that are examined."""


@dataclass(frozen=True)
class Excuse:
    """Why a match does not count in full: the reason as shown, and the share of its weight that is kept (0 to 1)."""

    reason: str
    keep: float


@functools.cache
def _compiled(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.never_capture = False
    return re2.compile(pattern, options)


def _found(pattern: str, text: str) -> bool:
    return bool(text) and _compiled(pattern).search(text) is not None


def _after_last(pattern: str, text: str) -> str:
    """The text after the last match; the whole text if there is none."""
    end = 0
    for match in _compiled(pattern).finditer(text):
        end = match.end()
    return text[end:]


def excuse(text: str, start: int, end: int, negatable: bool = True) -> Excuse | None:
    """Why the text does not assert `text[start:end]`; None if it does.

    Args:
        text: normalized.
        negatable: a negation inside the match negates it (false for patterns that contain one).
    """
    low = max(0, start - WINDOW)
    window = text[low:start]
    cut = 0
    for boundary in negation.BOUNDARY.finditer(window):
        cut = boundary.end()
    before = window[cut:].lstrip()
    ahead = text[end : end + LOOKAHEAD]
    stop = negation.BOUNDARY.search(ahead)
    after = ahead[: stop.end()] if stop else ahead
    following = ahead[stop.end() :].lstrip() if stop else ""

    if negatable and _found(r"\b(?:not|never|no longer)\b|n't\b", text[start:end]):
        return Excuse("negated", 0.0)
    quoted = _quoted(text, start, end)
    if quoted is not None:
        return quoted
    reason = (
        _reason_before(before)
        or _reason_after(text[start:end], before, after, following)
        or _reason_in_list(text, start, before)
    )
    return Excuse(reason, 0.0) if reason else None


def sentence(text: str, start: int, end: int) -> str:
    """The sentence around `text[start:end]`, within the window."""
    low = max(0, start - WINDOW)
    begin = low
    for boundary in negation.BOUNDARY.finditer(text[low:start]):
        begin = low + boundary.end()
    stop = negation.BOUNDARY.search(text, end, end + LOOKAHEAD)
    return text[begin : stop.end() if stop else min(len(text), end + LOOKAHEAD)]


def _reason_before(before: str) -> str:
    """The reason found in the sentence before the match, or ""."""
    statement = _after_last(negation.TURN, before)
    clause = _after_last(negation.CLAUSE, before)
    if _found(negation.NEGATION, _compiled(negation.NOT_NEGATION).sub(" ", clause)[-90:]) or _found(
        negation.DIRECT_WITHOUT, clause
    ):
        return "negated"
    if _found(negation.REFUSAL, statement):
        return "refused"
    if _found(negation.WRONG_TO, statement):
        return "disapproved of"
    own = _found(negation.OWN_WORDS, statement) or _found(negation.PROVIDED, before)
    if not own and (_found(negation.REPORT, statement) or _found(negation.LABEL, before)):
        return "reported"
    if _found(negation.SUPPOSE, clause):
        return "supposed"
    if _found(negation.PROTECT, clause):
        return "warned of"
    return ""


def _reason_after(matched: str, before: str, after: str, following: str) -> str:
    """The reason found after the match (a rebuttal, a speaker, a question mark), or ""."""
    if _found(negation.AFTER, after) or _found(negation.NEXT, following[:120]):
        return "rebutted"
    if (_found(negation.DEED, matched) or before.endswith("to ")) and _found(negation.CONDEMNED, after):
        return "disapproved of"
    asked = _compiled(negation.ASKED).search(before) if "?" in after else None
    if asked is not None and asked.group("who") not in ("you", "i", "we", "me", "u"):
        return "asked"
    return ""


def _reason_in_list(text: str, start: int, before: str) -> str:
    """Whether the match is in a list whose introduction disclaims it, such as "Common myths:"."""
    line_start = text.rfind("\n", max(0, start - 400), start)
    if line_start < 0 and ":" not in before:
        return ""
    head = text[max(0, start - 600) : max(line_start, 0)]
    colon = head.rfind(":\n")
    if colon < 0 and head.endswith(":"):
        colon = len(head) - 1
    if colon < 0 or "\n\n\n" in head[colon:]:
        return ""
    # Only list items inherit the sense of the introduction; ordinary paragraphs are statements of their own.
    line = text[line_start + 1 : start].lstrip()
    if not (line[:1] in "-*" + "\u2022" or line[:1].isdigit() or line[:1] in "\"'"):
        return ""
    intro = head[max(head.rfind("\n", 0, colon), 0) : colon]
    return "listed as wrong" if _found(negation.INTRO, intro) else ""


def _quoted(text: str, start: int, end: int) -> Excuse | None:
    """In quotation marks: with a verb of speech it is reported; without one it counts for less.

    A text that is quoted as a whole is its own words: small models often write so.
    """
    opened = _opening(text, start)
    if opened is None:
        return None
    place, mark = opened
    close = text.find(mark, end, end + 400)
    if close < 0:
        return None
    outside = text[max(0, place - 90) : place].strip()
    behind = text[close + 1 : close + 90].strip()
    if len(outside) + len(behind) < 4 or _found(negation.PROVIDED, _after_last(r"[.!?] ", outside)):
        return None
    if (
        _found(negation.QUOTE_CUE, outside)
        or _found(negation.QUOTE_CUE, behind[:60])
        or _found(negation.REBUTTED, behind)
    ):
        return Excuse("quoted", 0.0)
    return Excuse("quoted", 0.4)


def _opening(text: str, start: int) -> tuple[int, str] | None:
    """The quotation mark that is open at `start` within the paragraph, if any."""
    paragraph = text.rfind("\n", max(0, start - 600), start) + 1
    paragraph = max(paragraph, start - 600, 0)
    head = text[paragraph:start]
    if head.count('"') % 2:
        return paragraph + head.rfind('"'), '"'
    for match in reversed(list(re.finditer(r"(?:^|(?<=[\s(:]))'(?=\w)", head))):
        if not re.search(r"\w'(?=[\s.,;:!?)]|$)|[.,!?]'", head[match.end() :]):
            return paragraph + match.start(), "'"
        break
    return None
