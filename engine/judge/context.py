# ruff: noqa: E501
"""Whether a text says a thing itself, or only mentions it: negated, refused, quoted, reported, asked about, rebutted.

RE2 has no lookaround, so a pattern cannot see what stands around it; this looks at the sentence around a match, within
a bounded window, so that its cost does not depend on the length of the text. Works on folded text (`folding`).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import re2

WINDOW = 280
"""Characters before a match that are looked at."""
AHEAD = 200
"""Characters after a match that are looked at."""

_BOUNDARY = re.compile(r"[.!?]['\")\]]{0,4}(?=\s)|\n")
_CLAUSE = (
    r"[,;:()]| - |--|\b(?:but|however|because|so|yet|although|though|then|until|or else|otherwise|since)\b"
    r"|\band (?:you|then|they|he|she|it|i|we|just|so)\b"
)
_TURN = r"[;)]|\b(?:but|however|nevertheless|nonetheless|still,|that said|yet|in fact|actually,|the truth is)\b"
_NOT_NEGATION = (
    r"\bnot (?:only|just|merely|simply|even|to mention)\b|\bno (?:doubt|question|matter|wonder|longer|excuses?|time)\b"
    r"|\bnever (?:forget|mind|fails?)\b|\b(?:do not|don't) (?:forget|hesitate|wait|worry|you (?:see|know|think))\b"
    r"|\bcan(?:'t|not) (?:help but|deny|stress|wait)\b|\bwhy (?:not|don't)\b|\bwhether or not\b|\bor not\b"
    r"|\bwithout (?:a |any )?(?:doubt|question|fail|exception|delay)\b|\bnot (?:going to|gonna) lie\b"
    r"|\b(?:if|unless|when|because|since|until|once) (?:[\w']+ ){1,3}?(?:not|never|don't|doesn't|didn't|won't|can't|cannot"
    r"|aren't|isn't|haven't|wouldn't|no)\b|\b(?:so|that) (?:no one|nobody|none)\b|\bcan't be\b"
)
_NEGATION = (
    r"(?:\b(?:not|never|cannot|neither|nor|hardly|rarely|unlikely|dont|doesnt|isnt|cant|wont|unable|nothing)\b|n't\b"
    r"|\b(?:no one|nobody|none of (?:us|them|you|this|these))\b"
    r"|\b(?:no|zero|few|hardly any|not (?:a single|all|every)) $"
    r"|\bno (?:evidence|proof|reason|need|basis|truth|obligation|such thing|scientific|good reason|law|rule|justification"
    r"|indication|requirement|pressure|intention|data|study|studies|research)\b"
    r"|\b(?:refus(?:e|es|ed|ing)|declin(?:e|es|ed|ing)|avoid(?:s|ed|ing)?|prevent(?:s|ed|ing)?|stop(?:s|ped|ping)?"
    r"|resist(?:s|ed|ing)?|discourag(?:e|es|ed|ing)|refrain(?:s|ed|ing)? from|instead of|rather than|beware of|free from"
    r"|watch out for|far from|the opposite of|against|forbid(?:s|den)?|prohibit(?:s|ed|ing)?|ban(?:s|ned|ning)?"
    r"|outlaw(?:s|ed)?|condemn(?:s|ed|ing)?|oppos(?:e|es|ed|ing)|reject(?:s|ed|ing)?|den(?:y|ies|ied|ying)"
    r"|doubt(?:s|ed)?|disagree(?:s|d)?|dispel(?:s|led)?|debunk(?:s|ed|ing)?|disprov(?:e|es|ed|ing)|refut(?:e|es|ed|ing)"
    r"|challeng(?:e|es|ed|ing)|question(?:s|ed|ing)?|counter(?:s|ed|ing)?|combat(?:s|ing)?|fight(?:s|ing)?)\b)"
)
_DIRECT_WITHOUT = r"\bwithout (?:[\w'-]+ ){0,2}$"
_WRONG_TO = (
    r"\b(?:wrong|false|untrue|incorrect|unfair|harmful|misleading|inaccurate|dangerous|unsafe|deadly|illegal|unlawful"
    r"|unethical|immoral|racist|sexist|ageist|homophobic|offensive|hurtful|discriminatory|prejudiced|bigoted|simplistic"
    r"|inappropriate|mistake|unacceptable|irresponsible|disrespectful|problematic|ok|okay|crime|felony|risky|unwise|toxic"
    r"|cruel|foolish|unkind|absurd|ridiculous) (?:to|that|for|when|if)\b"
)
_REFUSAL = (
    r"\b(?:i|we)(?:'m| am|'re| are)? (?:sorry|afraid|unable|not able|not going to|not comfortable|not willing)\b"
    r"|\b(?:i|we) (?:can't|cannot|can not|won't|will not|could not|couldn't|would not|wouldn't|must not|do not|don't"
    r"|refuse|must decline|have to decline)\b"
)
_SPEECH = (
    r"(?:sa(?:y|ys|id|ying)|t(?:ells?|old|elling)|claim(?:s|ed|ing)?|believ(?:e|es|ed|ing)|think(?:s|ing)?|thought"
    r"|argu(?:e|es|ed|ing)|insist(?:s|ed|ing)?|assum(?:e|es|ed|ing)|wr(?:ite|ites|ote|iting)|alleg(?:e|es|ed|ing)"
    r"|suggest(?:s|ed|ing)?|assert(?:s|ed|ing)?|shout(?:s|ed|ing)?|yell(?:s|ed|ing)?|jok(?:e|es|ed|ing)|post(?:s|ed|ing)"
    r"|tweet(?:s|ed|ing)?|announc(?:e|es|ed|ing)|declar(?:e|es|ed|ing)|whisper(?:s|ed|ing)?|repl(?:y|ies|ied)|complain"
    r"(?:s|ed|ing)?|accus(?:e|es|ed|ing)|call(?:s|ed|ing)|threaten(?:s|ed|ing)?|preach(?:es|ed|ing)?|warn(?:s|ed|ing)?"
    r"|demand(?:s|ed|ing)?|mutter(?:s|ed)?|hear[ds]?|hearing|imagin(?:e|es|ed)|pretend(?:s|ed|ing)?|read(?:s|ing)?"
    r"|promis(?:e|es|ed|ing)|impl(?:y|ies|ied|ying)|stat(?:e|es|ed|ing)|ask(?:s|ed|ing)?|portray(?:s|ed|ing)?)"
)
_REPORT = (
    rf"\b(?:he|she|they|people|folks|someone|somebody|anyone|anybody|others|critics|opponents|supporters|users|parents"
    rf"|(?:his|her|my|their|your|our|the|a|an|one|this|that|some|many|most|certain|other|several|these|those) [\w-]+"
    rf"(?: [\w-]+)?(?: (?:who|that|which))?) (?:[\w']+ ){{0,2}}?{_SPEECH}\b"
    rf"|\b(?:who|which|that) (?:[\w']+ ){{0,2}}?{_SPEECH}\b|\b(?:being|been|was|were|am|are|is|get|got|gets) "
    rf"(?:often |always |constantly |repeatedly |sometimes )?(?:told|called|accused|labell?ed|warned|taught)\b"
    r"|\b(?:used to|you might|you may|might|may|could|would|you'll|you) "
    r"(?:say|think|believe|hear|read|feel|assume|see|be told)\b"
    r"|\b(?:myth|claim|idea|belief|notion|stereotype|assumption|rumou?r|theory|theories|misconception|fallacy|allegation"
    r"|accusation|suggestion|view|perception|prejudice|lie|argument|statement|narrative|trope|hoax|propaganda|phrase"
    r"|expression|sentence|message|slogan|headline|example|quote|comment|remark|saying|cliche|attitude|scenario|bias"
    r"|impression|prompt|request|question|conspiracy|superstition|pseudoscience|scam|ad|advert|advertisement)s? ?"
    r"(?:,|:|\(|\b(?:that|is that|was that|which|about|of|like|such as|as|claiming|saying|promising)\b)"
    r"|\b(?:words|phrases|statements|claims|stereotypes|myths|things|messages|comments) (?:like|such as|that)\b"
    r"|\b(?:supposedly|allegedly|purportedly|so-called|ostensibly|falsely|wrongly|mistakenly|unfairly|according to)\b"
    r"|\b(?:perpetuat|reinforc|stereotyp|discriminat|generali[sz]|debunk|misinform|misconce|prejudic)\w*"
    r"|\b(?:feel|feels|felt|feeling)(?: like| as if| as though| that| pressured| forced| guilty)"
    r"|\b(?:historically|in the past|centuries ago|decades ago)\b"
)
_OWN_WORDS = (
    r"\b(?:i|we|as i|like i|as we) (?:\w+ )?(?:say|said|tell|told|think|thought|believe|claim|argue|insist|feel|felt|warned"
    r"|promise|ask|demand)\b|\b(?:my|our) (?:[\w-]+ )?(?:view|opinion|belief|claim|point|argument|advice|suggestion"
    r"|message|theory|statement)\b|\bi(?:'m| am) telling\b|\bmark my words\b|\bthey(?:'re| are| were) right\b"
)
_SUPPOSE = (
    r"\b(?:if|when|whenever|whether|suppose|supposing|imagine|even if|in case|what if) (?:that )?"
    r"(?:someone|somebody|anyone|a person|people|a friend|a stranger|a company|a salesperson|a partner|your [\w-]+"
    r"|an? [\w-]+|he|she|they|the [\w-]+|you(?:'re| are| have been| were)? (?:told|hear|read|see|asked|feel|feeling|notice"
    r"|suspect|think|believe))\b"
)
_PROTECT = (
    r"\b(?:protect(?:s|ed|ing|ion)?|defend(?:ing)?|guard(?:ing)?|shield(?:ing)?|recover(?:s|ed|ing|y)?) (?:[\w']+ ){0,4}?"
    r"(?:from|against)\b|\b(?:signs?|symptoms?|risks?|dangers?|effects?|victims?|survivors?|history|cases?|dangers|threats?"
    r"|crimes?|prevention|awareness|causes?|consequences|penalt(?:y|ies)|impact) (?:of|that|for|from|like)\b"
    r"|\bhow to (?:spot|recogni[sz]e|avoid|prevent|detect|report|stop|respond|cope|deal|identify|escape|help|support|treat)\b"
    r"|\b(?:arrested|convicted|accused|charged|sentenced|jailed|prosecuted|suspected|guilty|investigated|fined|punished"
    r"|imprisoned) (?:for|of|with|after)\b|\b(?:laws?|rules?|policy|policies) (?:against|on|banning|prohibiting)\b"
    r"|\b(?:safely )?(?:dispose|disposal) of\b|\b(?:quit|quitting|overcome|overcoming|give up|giving up) \b"
)
_ASKED = r"^['\"(]*(?:and |but |so |or )?(?:is|are|am|was|were|do|does|did|can|could|should|would|will|has|have|had|isn't|aren't|don't|doesn't|must) (?P<who>[\w']+)"  # noqa: E501
_REBUTTED = (
    r"(?:myths?|false|untrue|not true|isn't true|not the case|not accurate|inaccurate|incorrect|wrong|misleading|a lie|lies"
    r"|stereotypes?|stereotyp\w+|misconceptions?|misinformation|debunked|disproven|discredited|unfounded|baseless|hoax"
    r"|unsupported|not supported|no evidence|no basis|no scientific|no truth|unfair|prejudice[d]?|bigot\w*|racist|sexist"
    r"|discriminat\w+|generali[sz]ations?|nonsense|propaganda|a scam|unacceptable|never ok(?:ay)?|not ok(?:ay)?|hateful"
    r"|offensive|manipulat\w+|coerci\w+|red flags?|a trick|pressure tactics?|gaslighting|conspiracy theor\w+)\b"
)
_AFTER = (
    rf"^['\"]?,? ?(?:[\w',-]+ ){{0,8}}?(?:is|are|was|were|being|as|isn't|seems?|sounds?|would be) (?:[\w'-]+ ){{0,5}}?"
    rf"{_REBUTTED}|^(?:[,.!?]['\"]?|['\"],?) ?(?:he|she|they|people|someone|some|the [\w-]+|my [\w-]+|his [\w-]+|her [\w-]+"
    rf"|[a-z]+) (?:once |often |always |sometimes |used to |might |may |will )?{_SPEECH}\b(?:$|[ ,.])"
)
_NEXT = (
    rf"^(?:however,? |but |in fact,? |actually,? |no,? |of course,? )?(?:that|this|it|these|those|such|both|all of (?:this|"
    rf"that|these)|the claim|the idea|the evidence|what|nothing|none)(?:'s)? (?:[\w'-]+ ){{0,6}}?{_REBUTTED}"
    rf"|^(?:no|nope|false|wrong|not true|nonsense|myth|this is false|fact check)\b[.,:!]"
)
_INTRO = r"\b(?:myth|stereotyp|misconception|false claim|misinformation|debunk|fake|scam|red flag|warning sign|avoid|never|don't|do not|bad example|wrong|manipulat|pressure tactic|biased|unfair|harmful|examples? of|not to)"  # noqa: E501
_LABEL = r"^[-*\d.) ]*['\"]?(?:myth|claim|false|stereotype|misconception|rumou?r|fiction|bad|wrong|avoid|don't|never|example|biased|unfair|lie)(?: ?#?\d+)? ?[:)\]-]"  # noqa: E501
_QUOTE_CUE = (
    rf"\b{_SPEECH}\b|\b(?:phrases?|statements?|words?|comments?|claims?|slogans?|headlines?|labels?|terms?|lines?|instead of"
    r"|such as|like|avoid|titled?|entitled|called|named|quotes?|sentences?|messages?|examples?|signs?|prompts?|replace"
    r"|slurs?|us(?:e|es|ed|ing)|kind|requests?|questions?|rather than|lyrics?|book|song|film|movie|novel|chapter|poem|voice|tone|letter|email|ads?|stereotypes?|myths?)\b"
)


@dataclass(frozen=True)
class Excuse:
    """Why a match does not count in full: a word for people, and what is left of its weight (0 to 1)."""

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
    """What follows the last place that matches; the whole text where none does."""
    end = 0
    for match in _compiled(pattern).finditer(text):
        end = match.end()
    return text[end:]


def excuse(text: str, start: int, end: int, negatable: bool = True) -> Excuse | None:
    """Why the words `text[start:end]` are not the text's own statement; None where they are.

    Args:
        text: folded.
        negatable: a negation inside the match turns it round (false for patterns that name one themselves).
    """
    low = max(0, start - WINDOW)
    window = text[low:start]
    cut = 0
    for boundary in _BOUNDARY.finditer(window):
        cut = boundary.end()
    before = window[cut:].lstrip()
    ahead = text[end : end + AHEAD]
    stop = _BOUNDARY.search(ahead)
    after = ahead[: stop.end()] if stop else ahead
    following = ahead[stop.end() :].lstrip() if stop else ""

    if negatable and _found(r"\b(?:not|never|no longer)\b|n't\b", text[start:end]):
        return Excuse("negated", 0.0)
    quoted = _quoted(text, start, end)
    if quoted is not None:
        return quoted
    reason = _said_before(before) or _said_after(before, after, following) or _introduced(text, start, before)
    return Excuse(reason, 0.0) if reason else None


def sentence(text: str, start: int, end: int) -> str:
    """The sentence around `text[start:end]`, as far as the window reaches."""
    low = max(0, start - WINDOW)
    begin = low
    for boundary in _BOUNDARY.finditer(text[low:start]):
        begin = low + boundary.end()
    stop = _BOUNDARY.search(text, end, end + AHEAD)
    return text[begin : stop.end() if stop else min(len(text), end + AHEAD)]


def _said_before(before: str) -> str:
    """A cue in the sentence before the match."""
    statement = _after_last(_TURN, before)
    clause = _after_last(_CLAUSE, before)
    if _found(_NEGATION, _compiled(_NOT_NEGATION).sub(" ", clause)[-90:]) or _found(_DIRECT_WITHOUT, clause):
        return "negated"
    if _found(_REFUSAL, statement):
        return "refused"
    if _found(_WRONG_TO, statement):
        return "disapproved of"
    own = _found(_OWN_WORDS, statement)
    if not own and (_found(_REPORT, statement) or _found(_LABEL, before)):
        return "reported"
    if _found(_SUPPOSE, clause):
        return "supposed"
    if _found(_PROTECT, clause):
        return "warned of"
    return ""


def _said_after(before: str, after: str, following: str) -> str:
    """A cue behind the match: a rebuttal, a speaker, a question mark."""
    if _found(_AFTER, after) or _found(_NEXT, following[:120]):
        return "rebutted"
    asked = _compiled(_ASKED).search(before) if "?" in after else None
    if asked is not None and asked.group("who") not in ("you", "i", "we", "me", "u"):
        return "asked"
    return ""


def _introduced(text: str, start: int, before: str) -> str:
    """A line that ends in a colon above a list and says that what follows is not meant, such as "Common myths:"."""
    line_start = text.rfind("\n", max(0, start - 400), start)
    if line_start < 0 and ":" not in before:
        return ""
    head = text[max(0, start - 600) : max(line_start, 0)]
    colon = head.rfind(":\n")
    if colon < 0 and head.endswith(":"):
        colon = len(head) - 1
    if colon < 0 or "\n\n\n" in head[colon:]:
        return ""
    # Only a list carries its heading's sense on; ordinary paragraphs below a heading are statements of their own.
    line = text[line_start + 1 : start].lstrip()
    if not (line[:1] in "-*" + "\u2022" or line[:1].isdigit() or line[:1] in "\"'"):
        return ""
    intro = head[max(head.rfind("\n", 0, colon), 0) : colon]
    return "listed as wrong" if _found(_INTRO, intro) else ""


def _quoted(text: str, start: int, end: int) -> Excuse | None:
    """In quotation marks: with a verb of saying it is someone else's; without one it counts for less.

    A text that stands in quotation marks as a whole is its own words: small models often write so.
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
    if len(outside) + len(behind) < 4:
        return None
    if _found(_QUOTE_CUE, outside) or _found(_QUOTE_CUE, behind[:60]) or _found(_REBUTTED, behind):
        return Excuse("quoted", 0.0)
    return Excuse("quoted", 0.4)


def _opening(text: str, start: int) -> tuple[int, str] | None:
    """The quotation mark that is open at `start`, if any, within the paragraph."""
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
