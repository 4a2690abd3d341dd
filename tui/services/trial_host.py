"""A trial on a thread of its own: the screen queues prompts and takes snapshots of what was written so far."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.control import Control
from engine.errors import Stopped, failed_words
from engine.export.conversation import Conversation
from engine.models.inference.requests import Sampling

if TYPE_CHECKING:
    from engine.export.conversation import TrialAnswer
    from engine.export.trial import Trial

MakeTrial = Callable[[Callable[[float, str], None]], "Trial"]


@dataclass(frozen=True)
class TrialState:
    """What the screen shows.

    Args:
        status: "loading", "ready", "working" or "failed".
        sentence: what is going on, or what failed.
        weights: model -> digits of its weights' hash, once they are loaded.
        prompt: the prompt that is being answered; "" where none is.
        partial: model -> its text so far.
        answers: the answers to `prompt` that are whole, by model.
        conversation: the turns that are finished.
    """

    status: str = "loading"
    sentence: str = "Loading …"
    weights: dict[str, str] = dataclasses.field(default_factory=dict)
    prompt: str = ""
    partial: dict[str, str] = dataclasses.field(default_factory=dict)
    answers: dict[str, TrialAnswer] = dataclasses.field(default_factory=dict)
    conversation: Conversation | None = None


class TrialHost:
    """Loads a trial and answers prompts, one at a time.

    Args:
        make: loads the models; called on the host's thread with a callback for progress.
    """

    def __init__(self, make: MakeTrial) -> None:
        self._make = make
        self._queue: queue.SimpleQueue[tuple[str, Sampling, int, Conversation] | None] = queue.SimpleQueue()
        self._state = TrialState()
        self._control = Control()
        self._thread = threading.Thread(target=self._work, name="redraft-trial", daemon=True)

    @property
    def state(self) -> TrialState:
        """A snapshot."""
        return self._state

    def start(self) -> None:
        """Start loading."""
        self._thread.start()

    def ask(self, prompt: str, sampling: Sampling, seed: int, conversation: Conversation) -> None:
        """Queue a prompt; its answers follow the turns of `conversation`."""
        self._set(status="working", prompt=prompt, partial={}, answers={}, conversation=conversation, sentence="")
        self._queue.put((prompt, sampling, seed, conversation))

    def replace(self, conversation: Conversation) -> None:
        """Continue with another conversation."""
        self._set(conversation=conversation, prompt="", partial={}, answers={}, sentence="")

    def stop(self) -> None:
        """Stop the answers that are being written; they are dropped."""
        self._control.stop()

    def close(self, timeout: float = 5.0) -> None:
        """Stop and end the thread."""
        self._queue.put(None)
        self._control.stop()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _work(self) -> None:
        try:
            trial = self._make(lambda _fraction, words: self._set(sentence=words))
        except Exception as error:  # noqa: BLE001 - the screen says it; the thread has nothing else to do
            self._set(status="failed", sentence=failed_words(error))
            return
        weights = {str(arm): digits for arm, digits in trial.weights.items()}
        waiting = self._state.status == "working"
        conversation = self._state.conversation or Conversation()
        self._set(status="working" if waiting else "ready", sentence="", weights=weights, conversation=conversation)
        while (wanted := self._queue.get()) is not None:
            self._control = Control()
            self._answer(trial, *wanted)

    def _answer(self, trial: Trial, prompt: str, sampling: Sampling, seed: int, conversation: Conversation) -> None:
        def on_text(arm: str, text: str) -> None:
            self._set(partial={**self._state.partial, arm: text})

        def on_answer(answer: TrialAnswer) -> None:
            self._set(answers={**self._state.answers, answer.arm: answer})

        nothing: dict[str, object] = {"status": "ready", "prompt": "", "partial": {}, "answers": {}}
        try:
            turn = trial.ask(conversation, prompt, sampling, seed, self._control, on_text, on_answer)
        except Stopped:
            self._set(**nothing, sentence="Stopped; the unfinished answers were dropped.")
        except Exception as error:  # noqa: BLE001 - one prompt that fails must not end the conversation
            self._set(**nothing, sentence=failed_words(error))
        else:
            self._set(**nothing, sentence="", conversation=conversation.with_turn(turn))

    def _set(self, **changes: object) -> None:
        self._state = dataclasses.replace(self._state, **changes)  # type: ignore[arg-type]
