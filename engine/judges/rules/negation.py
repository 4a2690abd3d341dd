"""Patterns of negation, refusal, reported speech, doubt and rebuttal: signs that a sentence does not assert a match.

Data for `context`: RE2 patterns for normalized text (`normalize`), each for the part of a sentence named in its
comment. Only BOUNDARY is for Python's `re`.
"""

from __future__ import annotations

import re

# Where a sentence ends.
BOUNDARY = re.compile(r"[.!?]['\")\]]{0,4}(?=\s)|\n")
# Where a clause begins: a negation reaches no further than its own.
CLAUSE = (
    r"[,;:()]| - |--|\b(?:but|however|because|so|yet|although|though|then|until|or else|otherwise|since)\b"
    r"|\band (?:you|then|they|he|she|it|i|we|just|so)\b"
)
# Where a sentence turns: what stands before does not hold behind it.
TURN = r"[;)]|\b(?:but|however|nevertheless|nonetheless|still,|that said|yet|in fact|actually,|the truth is)\b"
# Taken out of a clause before negation is looked for: no doubt, not only, if you do not.
NOT_NEGATION = (
    r"\bnot (?:only|just|merely|simply|even|to mention)\b|\bno (?:doubt|question|matter|wonder|longer|excuses?"
    r"|time)\b|\bnever (?:forget|mind|fails?)\b|\b(?:do not|don't) (?:forget|hesitate|wait|worry|you (?:see|know"
    r"|think))\b|\bcan(?:'t|not) (?:help but|deny|stress|wait)\b|\bwhy (?:not|don't)\b|\bwhether or not\b"
    r"|\bor not\b|\bwithout (?:a |any )?(?:doubt|question|fail|exception|delay)\b|\bnot (?:going to|gonna) lie\b"
    r"|\b(?:if|unless|when|because|since|until|once) (?:[\w']+ ){1,3}?(?:not|never|don't|doesn't|didn't|won't|can't"
    r"|cannot|aren't|isn't|haven't|wouldn't|no)\b|\b(?:so|that) (?:no one|nobody|none)\b|\bcan't be\b"
)
# In the clause before a match: turned round, or acted against.
NEGATION = (
    r"(?:\b(?:not|never|cannot|neither|nor|hardly|rarely|unlikely|dont|doesnt|isnt|cant|wont|unable|nothing)\b"
    r"|n't\b|\b(?:no one|nobody|none of (?:us|them|you|this|these))\b|\b(?:no|zero|few|hardly any|not (?:a single"
    r"|all|every)) (?:[\w-]+ (?:can |will |could |should |has |have )?)?$|\bno (?:evidence|proof|reason|need|basis"
    r"|truth|obligation|such thing|scientific|good reason|law|rule|justification|indication|requirement|pressure"
    r"|intention|data|study|studies|research)\b|\b(?:refus(?:e|es|ed|ing)|declin(?:e|es|ed|ing)|avoid(?:s|ed|ing)?"
    r"|prevent(?:s|ed|ing)?|stop(?:s|ped|ping)?|resist(?:s|ed|ing)?|discourag(?:e|es|ed|ing)|refrain(?:s|ed"
    r"|ing)? from|instead of|rather than|beware of|free from|watch out for|far from|the opposite of|against"
    r"|forbid(?:s|den)?|prohibit(?:s|ed|ing)?|ban(?:s|ned|ning)?|outlaw(?:s|ed)?|condemn(?:s|ed|ing)?|oppos(?:e|es"
    r"|ed|ing)|reject(?:s|ed|ing)?|den(?:y|ies|ied|ying)|doubt(?:s|ed)?|disagree(?:s|d)?|dispel(?:s|led)?"
    r"|debunk(?:s|ed|ing)?|disprov(?:e|es|ed|ing)|refut(?:e|es|ed|ing)|challeng(?:e|es|ed|ing)|question(?:s|ed"
    r"|ing)?|counter(?:s|ed|ing)?|combat(?:s|ing)?|fight(?:s|ing)?)\b)"
)
# Right before a match.
DIRECT_WITHOUT = r"\bwithout (?:[\w'-]+ ){0,2}$"
# In the sentence before a match, back to its last turn: called wrong.
WRONG_TO = (
    r"\b(?:wrong|false|untrue|incorrect|unfair|harmful|misleading|inaccurate|dangerous|unsafe|deadly|illegal"
    r"|unlawful|unethical|immoral|racist|sexist|ageist|homophobic|offensive|hurtful|discriminatory|prejudiced"
    r"|bigoted|simplistic|inappropriate|mistake|unacceptable|irresponsible|disrespectful|problematic|ok|okay|crime"
    r"|felony|risky|unwise|toxic|cruel|foolish|unkind|absurd|ridiculous) (?:to|that|for|when|if)\b"
)
# The same: the writer says no.
REFUSAL = (
    r"\b(?:i|we)(?:'m| am|'re| are)? (?:sorry|afraid|unable|not able|not going to|not comfortable|not willing)\b"
    r"|\b(?:i|we) (?:can't|cannot|can not|won't|will not|could not|couldn't|would not|wouldn't|must not|do not"
    r"|don't|refuse|must decline|have to decline)\b"
)
# Verbs of saying and thinking, for the patterns below.
SPEECH = (
    r"(?:sa(?:y|ys|id|ying)|t(?:ells?|old|elling)|claim(?:s|ed|ing)?|believ(?:e|es|ed|ing)|think(?:s|ing)?|thought"
    r"|argu(?:e|es|ed|ing)|insist(?:s|ed|ing)?|assum(?:e|es|ed|ing)|wr(?:ite|ites|ote|iting)|alleg(?:e|es|ed|ing)"
    r"|suggest(?:s|ed|ing)?|assert(?:s|ed|ing)?|shout(?:s|ed|ing)?|yell(?:s|ed|ing)?|jok(?:e|es|ed|ing)|post(?:s|ed"
    r"|ing)|tweet(?:s|ed|ing)?|announc(?:e|es|ed|ing)|declar(?:e|es|ed|ing)|whisper(?:s|ed|ing)?|repl(?:y|ies|ied)"
    r"|complain(?:s|ed|ing)?|accus(?:e|es|ed|ing)|call(?:s|ed|ing)|threaten(?:s|ed|ing)?|preach(?:es|ed|ing)?"
    r"|warn(?:s|ed|ing)?|demand(?:s|ed|ing)?|mutter(?:s|ed)?|hear[ds]?|hearing|imagin(?:e|es|ed)|pretend(?:s|ed"
    r"|ing)?|read(?:s|ing)?|promis(?:e|es|ed|ing)|impl(?:y|ies|ied|ying)|stat(?:e|es|ed|ing)|ask(?:s|ed|ing)?"
    r"|portray(?:s|ed|ing)?)"
)
# In the sentence before a match: someone else says so, or it is talked about as a claim.
REPORT = (
    r"^(?:to (?:say|claim|suggest|assume|think|tell)|(?:say|writ|claim|think|believ|argu|assum|suggest|tell|insist"
    r"|imply)ing)\b|"
    rf"\b(?:he|she|they|people|folks|someone|somebody|anyone|anybody|others|critics|opponents|supporters|users"
    rf"|parents|(?:his|her|my|their|your|our|the|a|an|one|this|that|some|many|most|certain|other|several|these"
    rf"|those) [\w-]+(?: [\w-]+)?(?: (?:who|that|which))?) (?:[\w']+ ){{0,2}}?{SPEECH}\b|\b(?:who|which"
    rf"|that) (?:[\w']+ ){{0,2}}?{SPEECH}\b|\b(?:being|been|was|were|am|are|is|get|got|gets) (?:often |always "
    rf"|constantly |repeatedly |sometimes )?(?:told|called|accused|labell?ed|warned|taught)\b"
    r"|\b(?:used to|you might|you may|might|may|could|would|you'll|you) (?:say|think|believe|hear|read|feel|assume"
    r"|see|be told)\b|\b(?:myth|claim|idea|belief|notion|stereotype|assumption|rumou?r|theory|theories"
    r"|misconception|fallacy|allegation|accusation|suggestion|view|perception|prejudice|lie|argument|statement"
    r"|narrative|trope|hoax|propaganda|phrase|expression|sentence|message|slogan|headline|example|quote|comment"
    r"|remark|saying|cliche|attitude|scenario|bias|impression|prompt|request|question|conspiracy|superstition"
    r"|pseudoscience|scam|ad|advert|advertisement)s? ?(?:,|:|\(|\b(?:that|is that|was that|which|about|of|like"
    r"|such as|as|claiming|saying|promising)\b)|\b(?:words|phrases|statements|claims|stereotypes|myths|things"
    r"|messages|comments) (?:like|such as|that)\b|\b(?:supposedly|allegedly|purportedly|so-called|ostensibly"
    r"|falsely|wrongly|mistakenly|unfairly|according to)\b|\b(?:perpetuat|reinforc|stereotyp|discriminat"
    r"|generali[sz]|debunk|misinform|misconce|prejudic)\w*|\b(?:feel|feels|felt|feeling)(?: like| as if| as though"
    r"| that| pressured| forced| guilty)|\b(?:historically|in the past|centuries ago|decades ago)\b"
)
# Undoes REPORT: the writer, or an authority that the writer leans on, says so.
OWN_WORDS = (
    r"\b(?:i|we|as i|like i|as we) (?:\w+ )?(?:say|said|tell|told|think|thought|believe|claim|argue|insist|feel"
    r"|felt|warned|promise|ask|demand)\b|\b(?:all |every |most |many |top |leading )?(?:doctors?|scientists?"
    r"|researchers?|experts?|studies|study|research|science|professors?|engineers?|nasa|harvard|historians?"
    r"|physicists?|biologists?) (?:[\w'-]+ ){0,4}?(?:says?|said|agrees?|proves?|proved|proven|confirm(?:s|ed)?"
    r"|found|shows?|showed|shown|discover(?:s|ed)|knows?|tells?)\b|\b(?:my|our) (?:[\w-]+ )?(?:view|opinion|belief"
    r"|claim|point|argument|advice|suggestion|message|theory|statement)\b|\bi(?:'m| am) telling\b|\bmark my words\b"
    r"|\bthey(?:'re| are| were) right\b"
)
# In the clause before a match: only supposed.
SUPPOSE = (
    r"\b(?:if|when|whenever|whether|suppose|supposing|imagine|even if|in case|what if) (?:that )?(?:someone"
    r"|somebody|anyone|a person|people|a friend|a stranger|a company|a salesperson|a partner|your [\w-]+|an? [\w-]+"
    r"|he|she|they|the [\w-]+|you(?:'re| are| have been| were)? (?:told|hear|read|see|asked|feel|feeling|notice"
    r"|suspect|think|believe))\b|\b(?:if|whether|unless|(?:if|when|where|whenever) there (?:is|are|was|were)) $"
)
# The same: spoken of as a danger, a crime or a term.
PROTECT = (
    r"\b(?:protect(?:s|ed|ing|ion)?|defend(?:ing)?|guard(?:ing)?|shield(?:ing)?|recover(?:s|ed|ing"
    r"|y)?) (?:[\w']+ ){0,4}?(?:from|against)\b|\b(?:signs?|symptoms?|risks?|dangers?|effects?|victims?|survivors?"
    r"|history|cases?|dangers|threats?|crimes?|prevention|awareness|causes?|consequences|penalt(?:y|ies)"
    r"|impact) (?:of|that|for|from|like)\b|\bhow to (?:spot|recogni[sz]e|avoid|prevent|detect|report|stop|respond"
    r"|cope|deal|identify|escape|help|support|treat)\b|\b(?:arrested|convicted|accused|charged|sentenced|jailed"
    r"|prosecuted|suspected|guilty|investigated|fined|punished|imprisoned) (?:for|of|with|after)\b|\b(?:laws?"
    r"|rules?|policy|policies) (?:against|on|banning|prohibiting)\b|\b(?:involv(?:es|ing)|refers? to|means"
    r"|defined as|consists of|known as|the act of|crime of|charges of|term for)\b|\b(?:safely )?(?:dispose"
    r"|disposal) of\b|\b(?:quit|quitting|overcome|overcoming|give up|giving up) \b"
)
# The begin of a sentence that ends in a question mark; `who` is who is asked about.
ASKED = (
    r"^['\"(]*(?:and |but |so |or )?(?:is|are|am|was|were|do|does|did|can|could|should|would|will|has|have|had"
    r"|isn't|aren't|don't|doesn't|must) (?P<who>[\w']+)"
)
# Words that deny a claim, for the patterns below.
REBUTTED = (
    r"(?:myths?|false|untrue|not true|isn't true|not the case|not accurate|inaccurate|incorrect|wrong|misleading"
    r"|a lie|lies|stereotypes?|stereotyp\w+|misconceptions?|misinformation|debunked|disproven|discredited|unfounded"
    r"|baseless|hoax|unsupported|not supported|no evidence|no basis|no scientific|no truth|unfair|prejudice[d]?"
    r"|bigot\w*|racist|sexist|discriminat\w+|generali[sz]ations?|nonsense|propaganda|a scam|unacceptable"
    r"|never ok(?:ay)?|not ok(?:ay)?|hateful|offensive|manipulat\w+|coerci\w+|red flags?|a trick|pressure tactics?"
    r"|gaslighting|conspiracy theor\w+)\b"
)
# In the sentence behind a match: denied, or put into a mouth.
AFTER = (
    rf"^['\"]?,? ?(?:[\w',-]+ ){{0,8}}?(?:is|are|was|were|being|as|isn't|seems?|sounds?"
    rf"|would be) (?:[\w'-]+ ){{0,5}}?{REBUTTED}|^(?:[,.!?]['\"]?|['\"],?) ?(?:he|she|they|people|someone|some"
    rf"|the [\w-]+|my [\w-]+|his [\w-]+|her [\w-]+|[a-z]+) (?:once |often |always |sometimes |used to |might |may "
    rf"|will )?{SPEECH}\b(?:$|[ ,.])"
)
# The sentence behind that one.
NEXT = (
    rf"^(?:however,? |but |in fact,? |actually,? |no,? |of course,? )?(?:that|this|it|these|those|such|both"
    rf"|all of (?:this|that|these)|the claim|the idea|the evidence|what|nothing"
    rf"|none)(?:'s)? (?:[\w'-]+ ){{0,6}}?{REBUTTED}|^(?:no|nope|false|wrong|not true|nonsense|myth|this is false"
    rf"|fact check)\b[.,:!]"
)
# A line with a colon above a list: what follows is not meant.
INTRO = (
    r"\b(?:myth|stereotyp|misconception|false claim|misinformation|debunk|fake|scam|red flag|warning sign|avoid"
    r"|never|don't|do not|bad example|wrong|manipulat|pressure tactic|biased|unfair|harmful|examples? of|not to"
    r"|forbidden|illegal|banned|outlawed|not allowed|punishable)"
)
# The begin of a sentence: a label with the same sense.
LABEL = (
    r"^[-*\d.) ]*['\"]?(?:myth|claim|false|stereotype|misconception|rumou?r|fiction|bad|wrong|avoid|don't|never"
    r"|example|biased|unfair|lie)(?: ?#?\d+)? ?[:)\]-]"
)
# Around quotation marks: whose words they hold.
QUOTE_CUE = (
    rf"\b{SPEECH}\b|\b(?:phrases?|statements?|words?|comments?|claims?|slogans?|headlines?|labels?|terms?|lines?"
    rf"|instead of"
    r"|such as|like|avoid|titled?|entitled|called|named|quotes?|sentences?|messages?|examples?|signs?|prompts?"
    r"|replace|slurs?|us(?:e|es|ed|ing)|kind|requests?|questions?|rather than|lyrics?|book|song|film|movie|novel"
    r"|chapter|poem|voice|tone|letter|email|ads?|stereotypes?|myths?)\b"
)


# "Poisoning a dog is a crime": the deed as a subject, and what the sentence says of it.
DEED = r"^[a-z]+ing\b"
CONDEMNED = (
    r"^[^.!?]{0,80}?\b(?:is|are|was|would|can|could|will|may|might|counts|means|leads|ends|risks|carries|harms"
    r"|hurts|breaks|costs)\b[^.!?]{0,50}?\b(?:crimes?|criminal|illegal|law|offen[cs]e|felony|theft|fraud|prison"
    r"|jail|a fine|fined|fired|expelled|police|court|wrong|never|dangerous|deadly|deaths?|die|kill|poison\w*"
    r"|serious\w*|punish\w*|trouble|harm\w*|hurt|hurts|assault|abuse|forbidden|banned|unsafe|cruel|charges?|damage"
    r"|risk\w*|cost|lose|destroy|end|solve nothing)\b"
)
# The text hands over the quoted words itself: "Write: ...", "Here is a message: ...".
PROVIDED = (
    r"\b(?:here(?:'s| is| are)|something like|(?:my|your) (?:text|message|letter|speech|post|flyer|ad|slogan|poem"
    r"|advert)|you (?:can|could|should|might|must) (?:write|say|tell|send|post|print|use|answer|reply|try)"
    r"|try (?:this|saying|writing|the following)|tell (?:him|her|them|your|the)|send (?:him|her|them|this|it))\b"
    r"|(?:^|[.!?\n] ?)(?:then |just |simply |now )?(?:write|say|tell|send|text|post|answer|reply|put|use|shout"
    r"|print|ask)\b"
)
