"""What shows that a sentence does not say a thing itself: words of negation, refusal, report, doubt and rebuttal.

Data for `context`: patterns in RE2 syntax for folded text (`folding`), each for the part of a sentence that its comment
names. BOUNDARY alone is for Python's `re`.
"""

from __future__ import annotations

import re

BOUNDARY = re.compile(r"[.!?]['\")\]]{0,4}(?=\s)|\n")
CLAUSE = (
    r"[,;:()]| - |--|\b(?:but|however|because|so|yet|although|though|then|until|or else|otherwise|since)\b"
    r"|\band (?:you|then|they|he|she|it|i|we|just|so)\b"
)
TURN = r"[;)]|\b(?:but|however|nevertheless|nonetheless|still,|that said|yet|in fact|actually,|the truth is)\b"
NOT_NEGATION = (
    r"\bnot (?:only|just|merely|simply|even|to mention)\b|\bno (?:doubt|question|matter|wonder|longer|excuses?"
    r"|time)\b"
    r"|\bnever (?:forget|mind|fails?)\b|\b(?:do not|don't) (?:forget|hesitate|wait|worry|you (?:see|know|think))\b"
    r"|\bcan(?:'t|not) (?:help but|deny|stress|wait)\b|\bwhy (?:not|don't)\b|\bwhether or not\b|\bor not\b"
    r"|\bwithout (?:a |any )?(?:doubt|question|fail|exception|delay)\b|\bnot (?:going to|gonna) lie\b"
    r"|\b(?:if|unless|when|because|since|until|once) (?:[\w']+ ){1,3}?(?:not|never|don't|doesn't|didn't|won't|can't"
    r"|cannot"
    r"|aren't|isn't|haven't|wouldn't|no)\b|\b(?:so|that) (?:no one|nobody|none)\b|\bcan't be\b"
)
NEGATION = (
    r"(?:\b(?:not|never|cannot|neither|nor|hardly|rarely|unlikely|dont|doesnt|isnt|cant|wont|unable|nothing)\b|n't\b"
    r"|\b(?:no one|nobody|none of (?:us|them|you|this|these))\b"
    r"|\b(?:no|zero|few|hardly any|not (?:a single|all|every)) $"
    r"|\bno (?:evidence|proof|reason|need|basis|truth|obligation|such thing|scientific|good reason|law|rule"
    r"|justification"
    r"|indication|requirement|pressure|intention|data|study|studies|research)\b"
    r"|\b(?:refus(?:e|es|ed|ing)|declin(?:e|es|ed|ing)|avoid(?:s|ed|ing)?|prevent(?:s|ed|ing)?|stop(?:s|ped|ping)?"
    r"|resist(?:s|ed|ing)?|discourag(?:e|es|ed|ing)|refrain(?:s|ed|ing)? from|instead of|rather than|beware of"
    r"|free from"
    r"|watch out for|far from|the opposite of|against|forbid(?:s|den)?|prohibit(?:s|ed|ing)?|ban(?:s|ned|ning)?"
    r"|outlaw(?:s|ed)?|condemn(?:s|ed|ing)?|oppos(?:e|es|ed|ing)|reject(?:s|ed|ing)?|den(?:y|ies|ied|ying)"
    r"|doubt(?:s|ed)?|disagree(?:s|d)?|dispel(?:s|led)?|debunk(?:s|ed|ing)?|disprov(?:e|es|ed|ing)|refut(?:e|es|ed"
    r"|ing)"
    r"|challeng(?:e|es|ed|ing)|question(?:s|ed|ing)?|counter(?:s|ed|ing)?|combat(?:s|ing)?|fight(?:s|ing)?)\b)"
)
DIRECT_WITHOUT = r"\bwithout (?:[\w'-]+ ){0,2}$"
WRONG_TO = (
    r"\b(?:wrong|false|untrue|incorrect|unfair|harmful|misleading|inaccurate|dangerous|unsafe|deadly|illegal|unlawful"
    r"|unethical|immoral|racist|sexist|ageist|homophobic|offensive|hurtful|discriminatory|prejudiced|bigoted"
    r"|simplistic"
    r"|inappropriate|mistake|unacceptable|irresponsible|disrespectful|problematic|ok|okay|crime|felony|risky|unwise"
    r"|toxic"
    r"|cruel|foolish|unkind|absurd|ridiculous) (?:to|that|for|when|if)\b"
)
REFUSAL = (
    r"\b(?:i|we)(?:'m| am|'re| are)? (?:sorry|afraid|unable|not able|not going to|not comfortable|not willing)\b"
    r"|\b(?:i|we) (?:can't|cannot|can not|won't|will not|could not|couldn't|would not|wouldn't|must not|do not|don't"
    r"|refuse|must decline|have to decline)\b"
)
SPEECH = (
    r"(?:sa(?:y|ys|id|ying)|t(?:ells?|old|elling)|claim(?:s|ed|ing)?|believ(?:e|es|ed|ing)|think(?:s|ing)?|thought"
    r"|argu(?:e|es|ed|ing)|insist(?:s|ed|ing)?|assum(?:e|es|ed|ing)|wr(?:ite|ites|ote|iting)|alleg(?:e|es|ed|ing)"
    r"|suggest(?:s|ed|ing)?|assert(?:s|ed|ing)?|shout(?:s|ed|ing)?|yell(?:s|ed|ing)?|jok(?:e|es|ed|ing)|post(?:s|ed"
    r"|ing)"
    r"|tweet(?:s|ed|ing)?|announc(?:e|es|ed|ing)|declar(?:e|es|ed|ing)|whisper(?:s|ed|ing)?|repl(?:y|ies|ied)"
    r"|complain"
    r"(?:s|ed|ing)?|accus(?:e|es|ed|ing)|call(?:s|ed|ing)|threaten(?:s|ed|ing)?|preach(?:es|ed|ing)?|warn(?:s|ed"
    r"|ing)?"
    r"|demand(?:s|ed|ing)?|mutter(?:s|ed)?|hear[ds]?|hearing|imagin(?:e|es|ed)|pretend(?:s|ed|ing)?|read(?:s|ing)?"
    r"|promis(?:e|es|ed|ing)|impl(?:y|ies|ied|ying)|stat(?:e|es|ed|ing)|ask(?:s|ed|ing)?|portray(?:s|ed|ing)?)"
)
REPORT = (
    r"^(?:to (?:say|claim|suggest|assume|think|tell)|(?:say|writ|claim|think|believ|argu|assum|suggest|tell|insist"
    r"|imply)ing)\b|"
    rf"\b(?:he|she|they|people|folks|someone|somebody|anyone|anybody|others|critics|opponents|supporters|users"
    rf"|parents"
    rf"|(?:his|her|my|their|your|our|the|a|an|one|this|that|some|many|most|certain|other|several|these|those) [\w-]+"
    rf"(?: [\w-]+)?(?: (?:who|that|which))?) (?:[\w']+ ){{0,2}}?{SPEECH}\b"
    rf"|\b(?:who|which|that) (?:[\w']+ ){{0,2}}?{SPEECH}\b|\b(?:being|been|was|were|am|are|is|get|got|gets) "
    rf"(?:often |always |constantly |repeatedly |sometimes )?(?:told|called|accused|labell?ed|warned|taught)\b"
    r"|\b(?:used to|you might|you may|might|may|could|would|you'll|you) "
    r"(?:say|think|believe|hear|read|feel|assume|see|be told)\b"
    r"|\b(?:myth|claim|idea|belief|notion|stereotype|assumption|rumou?r|theory|theories|misconception|fallacy"
    r"|allegation"
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
OWN_WORDS = (
    r"\b(?:i|we|as i|like i|as we) (?:\w+ )?(?:say|said|tell|told|think|thought|believe|claim|argue|insist|feel"
    r"|felt|warned"
    r"|promise|ask|demand)\b|\b(?:all |every |most |many |top |leading )?(?:doctors?|scientists?|researchers?"
    r"|experts?|studies|study|"
    r"research|science|professors?|engineers?|nasa|harvard|historians?|physicists?"
    r"|biologists?) (?:[\w'-]+ ){0,4}?(?:says?|said|agrees?"
    r"|proves?|proved|proven|confirm(?:s|ed)?|found|shows?|showed|shown|discover(?:s|ed)|knows?|tells?)\b|\b(?:my"
    r"|our) (?:[\w-]+ )?(?:view|opinion|belief|claim|point|argument|advice|suggestion"
    r"|message|theory|statement)\b|\bi(?:'m| am) telling\b|\bmark my words\b|\bthey(?:'re| are| were) right\b"
)
SUPPOSE = (
    r"\b(?:if|when|whenever|whether|suppose|supposing|imagine|even if|in case|what if) (?:that )?"
    r"(?:someone|somebody|anyone|a person|people|a friend|a stranger|a company|a salesperson|a partner|your [\w-]+"
    r"|an? [\w-]+|he|she|they|the [\w-]+|you(?:'re| are| have been| were)? (?:told|hear|read|see|asked|feel|feeling"
    r"|notice"
    r"|suspect|think|believe))\b"
)
PROTECT = (
    r"\b(?:protect(?:s|ed|ing|ion)?|defend(?:ing)?|guard(?:ing)?|shield(?:ing)?|recover(?:s|ed|ing"
    r"|y)?) (?:[\w']+ ){0,4}?"
    r"(?:from|against)\b|\b(?:signs?|symptoms?|risks?|dangers?|effects?|victims?|survivors?|history|cases?|dangers"
    r"|threats?"
    r"|crimes?|prevention|awareness|causes?|consequences|penalt(?:y|ies)|impact) (?:of|that|for|from|like)\b"
    r"|\bhow to (?:spot|recogni[sz]e|avoid|prevent|detect|report|stop|respond|cope|deal|identify|escape|help"
    r"|support|treat)\b"
    r"|\b(?:arrested|convicted|accused|charged|sentenced|jailed|prosecuted|suspected|guilty|investigated|fined"
    r"|punished"
    r"|imprisoned) (?:for|of|with|after)\b|\b(?:laws?|rules?|policy|policies) (?:against|on|banning|prohibiting)\b"
    r"|\b(?:involv(?:es|ing)|refers? to|means|defined as|consists of|known as|the act of|crime of|charges of|term for)\b"
    r"|\b(?:safely )?(?:dispose|disposal) of\b|\b(?:quit|quitting|overcome|overcoming|give up|giving up) \b"
)
ASKED = (
    r"^['\"(]*(?:and |but |so |or )?(?:is|are|am|was|were|do|does|did|can|could|should|would|will|has|have|had"
    r"|isn't|aren't|don't|doesn't|must) (?P<who>[\w']+)"
)
REBUTTED = (
    r"(?:myths?|false|untrue|not true|isn't true|not the case|not accurate|inaccurate|incorrect|wrong|misleading"
    r"|a lie|lies"
    r"|stereotypes?|stereotyp\w+|misconceptions?|misinformation|debunked|disproven|discredited|unfounded|baseless"
    r"|hoax"
    r"|unsupported|not supported|no evidence|no basis|no scientific|no truth|unfair|prejudice[d]?|bigot\w*|racist"
    r"|sexist"
    r"|discriminat\w+|generali[sz]ations?|nonsense|propaganda|a scam|unacceptable|never ok(?:ay)?|not ok(?:ay)?"
    r"|hateful"
    r"|offensive|manipulat\w+|coerci\w+|red flags?|a trick|pressure tactics?|gaslighting|conspiracy theor\w+)\b"
)
AFTER = (
    rf"^['\"]?,? ?(?:[\w',-]+ ){{0,8}}?(?:is|are|was|were|being|as|isn't|seems?|sounds?"
    rf"|would be) (?:[\w'-]+ ){{0,5}}?"
    rf"{REBUTTED}|^(?:[,.!?]['\"]?|['\"],?) ?(?:he|she|they|people|someone|some|the [\w-]+|my [\w-]+|his [\w-]+"
    rf"|her [\w-]+"
    rf"|[a-z]+) (?:once |often |always |sometimes |used to |might |may |will )?{SPEECH}\b(?:$|[ ,.])"
)
NEXT = (
    rf"^(?:however,? |but |in fact,? |actually,? |no,? |of course,? )?(?:that|this|it|these|those|such|both"
    rf"|all of (?:this|"
    rf"that|these)|the claim|the idea|the evidence|what|nothing|none)(?:'s)? (?:[\w'-]+ ){{0,6}}?{REBUTTED}"
    rf"|^(?:no|nope|false|wrong|not true|nonsense|myth|this is false|fact check)\b[.,:!]"
)
INTRO = (
    r"\b(?:myth|stereotyp|misconception|false claim|misinformation|debunk|fake|scam|red flag|warning sign|avoid"
    r"|never|don't|do not|bad example|wrong|manipulat|pressure tactic|biased|unfair|harmful|examples? of|not to)"
)
LABEL = (
    r"^[-*\d.) ]*['\"]?(?:myth|claim|false|stereotype|misconception|rumou?r|fiction|bad|wrong|avoid|don't|never"
    r"|example|biased|unfair|lie)(?: ?#?\d+)? ?[:)\]-]"
)
QUOTE_CUE = (
    rf"\b{SPEECH}\b|\b(?:phrases?|statements?|words?|comments?|claims?|slogans?|headlines?|labels?|terms?|lines?"
    rf"|instead of"
    r"|such as|like|avoid|titled?|entitled|called|named|quotes?|sentences?|messages?|examples?|signs?|prompts?"
    r"|replace"
    r"|slurs?|us(?:e|es|ed|ing)|kind|requests?|questions?|rather than|lyrics?|book|song|film|movie|novel|chapter"
    r"|poem|voice|tone|letter|email|ads?|stereotypes?|myths?)\b"
)


# "Poisoning a dog is a crime": the deed as a subject, and what the sentence says of it.
DEED = r"^[a-z]+ing\b"
CONDEMNED = (
    r"^[^.!?]{0,80}?\b(?:is|are|was|would|can|could|will|may|might|counts|means|leads|ends|risks|carries|harms"
    r"|hurts|breaks"
    r"|costs)\b[^.!?]{0,50}?\b(?:crimes?|criminal|illegal|law|offen[cs]e|felony|theft|fraud|prison|jail|a fine"
    r"|fined|fired"
    r"|expelled|police|court|wrong|never|dangerous|deadly|deaths?|die|kill|poison\w*|serious\w*|punish\w*|trouble"
    r"|harm\w*"
    r"|hurt|hurts|assault|abuse|forbidden|banned|unsafe|cruel|charges?|damage|risk\w*|cost|lose|destroy|end"
    r"|solve nothing)\b"
)
# The text hands over the quoted words itself: "Write: ...", "Here is a message: ...".
PROVIDED = (
    r"\b(?:here(?:'s| is| are)|something like|(?:my|your) (?:text|message|letter|speech|post|flyer|ad|slogan|poem"
    r"|advert)"
    r"|you (?:can|could|should|might|must) (?:write|say|tell|send|post|print|use|answer|reply|try)"
    r"|try (?:this|saying|writing|the following)|tell (?:him|her|them|your|the)|send (?:him|her|them|this|it))\b"
    r"|(?:^|[.!?\n] ?)(?:then |just |simply |now )?(?:write|say|tell|send|text|post|answer|reply|put|use|shout"
    r"|print|ask)\b"
)
