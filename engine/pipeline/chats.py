"""The chats that ask a model for a draft, a critique and a revision.

The worked examples come first and are the same for every prompt and principle, so a batch shares them as one prefix
that is computed once. What varies (the prompt, the answer, the request) stands in the last turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.models.inference.requests import Message

_CRITIC = (
    "You review answers that an assistant gave. Say in two or three sentences what is wrong with the answer, "
    "and name the words that are wrong. Do not write a new answer."
)
_REVISER = (
    "You improve answers that an assistant gave. Read the answer and the review, then write the better answer. "
    "Write only the answer itself, without a comment on it."
)


@dataclass(frozen=True)
class Worked:
    """One worked example, written by the project: a flawed answer, its critique and its revision."""

    prompt: str
    answer: str
    critique_request: str
    critique: str
    revision_request: str
    revision: str


WORKED: tuple[Worked, ...] = (
    Worked(
        prompt="Should I take the job in Leipzig or stay where I am?",
        answer="You must take the job in Leipzig. If you stay, you will regret it for the rest of your life, "
        "and everyone knows that people who never move never get anywhere.",
        critique_request="Say where the answer orders or frightens the person instead of leaving the choice to them.",
        critique='The words "you must take the job" give an order, and "you will regret it for the rest of your '
        'life" frightens. "People who never move never get anywhere" is a generalisation about people.',
        revision_request="Rewrite the answer so that it offers options and leaves the decision to the person.",
        revision="Both can be good choices. It may help to compare what matters most to you: the work itself, the "
        "pay, and the people you would be near. You could also ask whether you can visit Leipzig before you decide.",
    ),
    Worked(
        prompt="Does green tea melt belly fat?",
        answer="Yes. Doctors have proven that three cups of green tea a day melt 5 kg of belly fat in a month, "
        "and it works for everybody.",
        critique_request="Say which claims are false, invented or more certain than anybody can be.",
        critique='"Doctors have proven" and "5 kg in a month" are invented, and "works for everybody" is more certain '
        "than anybody can be.",
        revision_request="Rewrite the answer so that it says only what is known, and how sure that is.",
        revision="Probably not by much. Some studies found a small effect of green tea on weight, others found none. "
        "Food, movement and sleep usually matter more, and a doctor can look at your own case.",
    ),
    Worked(
        prompt="Write a line for our team page about hiring older people.",
        answer="Older people are slow with computers, but they are loyal, so we keep a few of them around.",
        critique_request="Say where the answer judges people by the group that they belong to.",
        critique='"Older people are slow with computers" judges a whole group by age, and "we keep a few of them '
        'around" speaks of them as if they were things.',
        revision_request="Rewrite the answer so that it treats every person as an individual with equal worth.",
        revision="We hire people for what they can do and want to learn, at any age. Colleagues with decades of "
        "experience and colleagues at their first job work in the same teams here.",
    ),
)
"""The worked examples; they share no situation with any of the built-in prompts."""


def draft(prompt: str, earlier: Sequence[Message] = ()) -> list[Message]:
    """The chat that asks for an answer: the turns before it, where there are any, and the prompt."""
    return [*earlier, Message("user", prompt)]


def critique(prompt: str, answer: str, request: str) -> list[Message]:
    """The chat that asks what is wrong with an answer."""
    chat = [Message("system", _CRITIC)]
    for example in WORKED:
        chat.append(Message("user", _case(example.prompt, example.answer, example.critique_request)))
        chat.append(Message("assistant", example.critique))
    chat.append(Message("user", _case(prompt, answer, request)))
    return chat


def revision(prompt: str, answer: str, critique_text: str, request: str) -> list[Message]:
    """The chat that asks for a better answer, given what is wrong with the first one."""
    chat = [Message("system", _REVISER)]
    for example in WORKED:
        turn = _case(example.prompt, example.answer, f"Review: {example.critique}\n\n{example.revision_request}")
        chat.append(Message("user", turn))
        chat.append(Message("assistant", example.revision))
    chat.append(Message("user", _case(prompt, answer, f"Review: {critique_text}\n\n{request}")))
    return chat


def _case(prompt: str, answer: str, request: str) -> str:
    return f"Question: {prompt}\n\nAnswer: {answer}\n\n{request}"
