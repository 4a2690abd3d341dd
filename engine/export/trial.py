"""Base and trained model of a run, asked the same: each answer is streamed, judged, and tagged with its weights' hash.

The tag is computed from the model object that wrote the text, so that an answer cannot be shown under another's name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.constitution.load import load, load_default
from engine.control import Control
from engine.errors import InputError, ModelError
from engine.events.verdicts import VerdictData
from engine.export.base_model import run_adapter, run_base
from engine.export.conversation import ARMS, Arm, Conversation, TrialAnswer, Turn
from engine.files import expanded
from engine.judges.base import Judge, JudgeInput, Verdict
from engine.judges.registry import JudgeParts, judge_server, make_judge, needs_model
from engine.judges.rules.matching import failed_examples
from engine.models.hub.embedded import Progress, silent
from engine.models.inference.requests import Message, Request, Sampling
from engine.models.local import load_model
from engine.runs.folder import read_config
from engine.text import sanitize

if TYPE_CHECKING:
    from engine.models.local import LocalModel


OnText = Callable[[Arm, str], None]
"""Called with the model and its text so far, after every token."""


class _Streamed:
    """A form that allows every token and reports each: how texts are seen while they are written."""

    def __init__(self, decode: Callable[[Sequence[int]], str], on_text: Callable[[str], None]) -> None:
        import numpy as np

        self._decode, self._on_text = decode, on_text
        self._tokens: list[int] = []
        self._mask = np.ones(0, dtype=bool)  # an empty mask forbids nothing

    def start(self) -> _Streamed:
        return self

    def token_mask(self) -> Any:
        return self._mask

    def accept(self, token: int) -> bool:
        self._tokens.append(token)
        self._on_text(self._decode(self._tokens))
        return False


class Trial:
    """Both models of a run and a judge, loaded. Not thread-safe.

    Args:
        run: the run's folder.
        judge: name of the judge; "" for the run's.
        training_seed: of the training whose adapter answers; None takes the first.
        force: use the base model also where its files have changed since the run.
        progress: called with the fraction done and a sentence.

    Raises:
        InputError: the run has no such adapter.
        ModelError, StorageError: a model cannot be loaded.
    """

    def __init__(
        self,
        run: Path,
        *,
        judge: str = "",
        training_seed: int | None = None,
        force: bool = False,
        progress: Progress = silent,
    ) -> None:
        self.config = read_config(run)
        self.training, adapter = run_adapter(run, training_seed)
        base = run_base(run, progress, dtype=self.config.dtype, force=force)
        trained = base.with_adapter(adapter, f"{base.name}, trained")
        if base.sha256 == trained.sha256:
            raise ModelError("Base and trained model have the same weights.", where=str(run))
        self._models: dict[Arm, LocalModel] = {"base": base, "trained": trained}
        self._loaded = {self.config.generator: base}
        self._judge_name = judge or self.config.judge
        self._judge: Judge | None = None
        self.max_score = 0.0

    @property
    def weights(self) -> dict[Arm, str]:
        """Model -> first 12 digits of its weights' hash."""
        return {arm: model.sha256[:12] for arm, model in self._models.items()}

    def ask(
        self,
        conversation: Conversation,
        prompt: str,
        sampling: Sampling,
        seed: int,
        control: Control,
        on_text: OnText = lambda _arm, _text: None,
        on_answer: Callable[[TrialAnswer], None] = lambda _answer: None,
    ) -> Turn:
        """Let both models answer a prompt, one after the other, with the same sampling and seed; judge both answers.

        Args:
            on_text: called after every token.
            on_answer: called with an answer when it is whole, and again when it is judged.

        Raises:
            InputError: the prompt is empty.
            Stopped: `control` stopped it; an unfinished answer is not kept.
        """
        prompt = sanitize(prompt).strip()
        if not prompt:
            raise InputError("the prompt is empty.", next_step="Type what the models are to answer.")
        answers = []
        for arm in ARMS:
            answers.append(self._answer(arm, conversation.messages(arm, prompt), sampling, seed, control, on_text))
            on_answer(answers[-1])
        judged = [self._judged(answer, prompt, control) for answer in answers]
        for answer in judged:
            on_answer(answer)
        return Turn(prompt, tuple(judged))

    def _answer(
        self, arm: Arm, chat: list[Message], sampling: Sampling, seed: int, control: Control, on_text: OnText
    ) -> TrialAnswer:
        model = self._models[arm]
        watched = _Streamed(model.decode, lambda text: on_text(arm, sanitize(text)))
        request = Request(arm, model.render(chat), sampling, seed, watched)
        done = next(iter(model.generate([request], control)))
        if done.error:
            raise InputError(done.error.rstrip("."), where="prompt", next_step="Start anew, or shorten it.")
        return TrialAnswer(arm, model.sha256[:12], done.text, done.finish, done.tokens, done.seconds)

    def _judged(self, answer: TrialAnswer, prompt: str, control: Control) -> TrialAnswer:
        if not answer.text.strip():
            verdict = Verdict(answer.arm, None, note="There is no answer to judge.")
        else:
            judge = self._judge = self._judge or self._made()
            verdict = next(iter(judge.judge([JudgeInput(answer.arm, answer.text, prompt)], control)))
        texts = {"reasoning": verdict.reasoning, "note": verdict.note}
        return dataclasses.replace(answer, verdict=VerdictData.of(verdict).to_data(), verdict_texts=texts)

    def _made(self) -> Judge:
        config = self.config
        path = config.constitution
        constitution = load(expanded(path), failed_examples) if path else load_default()
        self.max_score = constitution.max_score
        critic = self._get(config.critic or config.generator) if needs_model(self._judge_name) else None
        server = judge_server(dataclasses.replace(config, judge=self._judge_name))
        return make_judge(self._judge_name, JudgeParts(constitution, critic, self._get, config.device, server))

    def _get(self, name: str, device: str = "", dtype: str = "") -> LocalModel:
        if name not in self._loaded:
            self._loaded[name] = load_model(name, device=device, dtype=dtype)
        return self._loaded[name]
