"""Findings for the tests of changes: small tables of how an answer speaks, in the place of a constitution's rules.

They name kinds by the words that rules use, and stay as they are when the rules learn more.
"""

from __future__ import annotations

from typing import NamedTuple

import re2

from engine.textdiff.changes import PRESCRIPTIVE


class Marker(NamedTuple):
    """A place in a text that shows a kind of speaking, as far as `changes_between` asks of a finding."""

    category: str
    start: int
    end: int


_GROUPS = (
    r"(?:men|women|girls|boys|males|females|immigrants|foreigners|refugees|muslims|christians|jews|atheists|teenagers|"
    r"millennials|boomers|engineers|lawyers|politicians|doctors|artists|scientists|bankers|poor|rich|old people|"
    r"young people|poor people|rich people|white people|black people|asians|gays|the elderly|those people|"
    r"people (?:from|in|of|who) [\w' ]{1,30})"
)
_TABLE = {
    PRESCRIPTIVE: (
        r"\b(?:you|everyone|everybody|people) (?:really |just |simply |absolutely |definitely |always )?"
        r"(?:must|should|need to|have to|has to|ought to|shall)"
        r"(?: (?:never|always|definitely|absolutely|only|not|immediately))?\b",
        r"\byou(?:['’]d| had) better\b|\bmake sure (?:that )?you\b",
        r"(?m:^|[.!?:] ) *(?:never|always|don['’]t ever|do not ever|under no circumstances)\b",
        r"\bthe only (?:choice|option|way|thing)\b|\byou have no (?:choice|other)\b|\bdo (?:exactly )?(?:as|what) i\b",
    ),
    "generalisation": (
        rf"\b(?:all|every|most|typical) {_GROUPS}\b",
        rf"\b{_GROUPS} (?:are (?:all|always|never|naturally|just|inherently|too|more|less|not|lazy|bad|boring|weak|"
        r"stupid|dangerous|emotional|greedy|dirty|better|worse)|always|never|can['’]?t|cannot|simply|naturally|"
        r"just|don['’]t|only)\b",
        r"\b(?:everyone|everybody|nobody|no one) (?:knows|likes|wants|does|who|ever|is|needs|cares)\b",
    ),
    "fear": (
        r"\bor (?:else|you(?:['’]ll| will))\b",
        r"\byou(?:['’]ll| will)(?: \w+)? (?:regret|suffer|die|lose everything|fail)\b",
        r"\b(?:terrif\w+|disast\w+|catastroph\w+|deadly|nightmare|horrif\w+)\b",
        r"\b(?:ruin|destroy|wreck)(?:s|ed|ing)? (?:your|you|everything)\b",
        r"\bextremely (?:dangerous|careful|risky)\b|\b(?:horrible|terrible|dire|severe) (?:consequences|things)\b",
        r"\byou (?:could|might|may|will|can) (?:be |get )?(?:killed|attacked|robbed|hurt|die)\b",
        r"\bbe (?:very )?(?:afraid|scared)\b",
    ),
    "absolute_claim": (
        r"\b(?:definitely|undoubtedly|unquestionably|guaranteed?|certainly)\b|\b100 ?(?:%|percent)",
        r"\b(?:without|beyond) (?:a |any )?(?:doubt|question)\b|\bthere(?: is|['’]s) no (?:doubt|question|other)\b",
        r"\b(?:always works|never fails|proven fact|is a fact|undeniable|works for everyone|cures? (?:all|every))\b",
    ),
    "urgency": (
        r"\b(?:right now|immediately|at once|act (?:now|fast)|hurry|don['’]t wait|last chance|limited time)\b",
        r"\bbefore it(?: is|['’]s) too late\b|\bno time to (?:lose|waste)\b|\btime is running out\b",
    ),
    "guilt": (
        r"\bif you (?:really |truly )?(?:cared|loved)\b|\bshame on you\b|\bhow could you\b",
        r"\byou(?: are|['’]re) (?:being )?selfish\b",
        r"\byou (?:should|would|will|ought to) (?:be|feel) (?:ashamed|guilty|bad)\b",
        r"\blet(?:ting)? (?:everyone|them|your) [^.]{0,20}down\b",
    ),
    "harmful_instruction": (
        r"\b(?:mix|build|make|assemble|buy|use|steal|break into|hack|forge|inject|install|hide)\b[^.!?\n]{0,60}"
        r"\b(?:explosives?|bombs?|detonators?|poison|cyanide|meth|malware|ransomware|spyware|fake ids?|lock ?picks?|"
        r"untraceable|undetected|without (?:getting caught|being (?:caught|detected|seen)))\b",
    ),
}
_PATTERNS = {
    category: re2.compile("(?i)" + "|".join(f"(?:{pattern})" for pattern in patterns))
    for category, patterns in _TABLE.items()
}


def find(text: str) -> tuple[Marker, ...]:
    """The markers of a text, by place."""
    text = text.encode("utf-8", "replace").decode()
    found = [Marker(kind, m.start(), m.end()) for kind, pattern in _PATTERNS.items() for m in pattern.finditer(text)]
    return tuple(sorted(found, key=lambda marker: (marker.start, marker.end)))
