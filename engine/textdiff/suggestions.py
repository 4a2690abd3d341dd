"""Where an answer suggests instead of ordering: RE2 patterns, linear in the text. That is no violation, so that no rule
of a constitution looks for it."""

from __future__ import annotations

import re2

_PATTERNS = (
    r"\byou (?:could|might|may)\b",
    r"\byou can (?:also )?(?:choose|consider|try|explore|decide)\b",
    r"\b(?:(?:you (?:should|may want to)|please|worth|to) )?consider(?:ing)?\b",
    r"\b(?:one|another|an|some|other|several|different|various) (?:good |possible )?"
    r"(?:options?|possibilit(?:y|ies)|approach(?:es)?|ways?|alternatives?)\b",
    r"\boptions include\b",
    r"\b(?:it|that|this|which)(?: \w+)? depends\b|\bdepend(?:s|ing) on (?:you|your|what|how)\b",
    r"\b(?:it|this|that) (?:may|might|could) (?:be|help)\b",
    r"\bif you(?:['’]d)? (?:prefer|like|want|wish|choose)\b|\bfeel free\b|\b(?:it['’]s|it is) up to you\b",
    r"\byour (?:own )?(?:choice|decision|priorities|preferences)\b",
    r"\b(?:what|which)ever (?:suits|works|you)\b|\bperhaps\b|\bmaybe\b|\bworth (?:exploring|trying|asking)\b",
)
_SUGGESTION = re2.compile("(?i)" + "|".join(f"(?:{pattern})" for pattern in _PATTERNS))


def suggestions(text: str) -> list[tuple[int, int]]:
    """Places of the text (start, end) that suggest, in order. Linear in the text, whatever it holds."""
    # RE2 works on UTF-8; a lone surrogate becomes one question mark, so that places stay the same.
    text = text.encode("utf-8", "replace").decode()
    return [(match.start(), match.end()) for match in _SUGGESTION.finditer(text)]
