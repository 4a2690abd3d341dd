"""Base and trained model of a run side by side: type a prompt, both answer, each under the hash of its weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar, Literal

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from engine.errors import RedraftError
from engine.export.conversation import ARMS, Arm, Conversation, TrialAnswer, Turn, keep_prompt
from engine.models.inference.requests import Sampling
from engine.text import sanitize
from tui.keymap import TRY, Keymap, bindings
from tui.screens.dialog import Dialog
from tui.services.trial_host import TrialHost, TrialState
from tui.views import verdict as verdicts
from tui.views.formatting import mark_of, score_words
from tui.views.pieces import Pieces
from tui.widgets.border import label
from tui.widgets.status import KeyLine

_SIDE_BY_SIDE = 80
"""Columns from which on the answers stand side by side."""
_TICK = 0.1
_TITLES: dict[Arm, str] = {"base": "Base", "trained": "Trained"}
_HELP = "/system TEXT · /set temperature 0.8 · /set max_tokens 200 · /set seed 3 · /again · /new · /keep train|heldout"
_ASK = "Ask both models; / and Enter lists the commands."
_STYLES = {"good": "$rd-good", "bad": "$rd-bad", "warn": "$rd-warn", "unsure": "$rd-warn", "dim": "$rd-dim"}
_STYLES |= {"strong": "bold", "accent": "bold $rd-accent", "border": "$rd-border"}


class _Side(VerticalScroll):
    """One model's half of the conversation."""

    can_focus = False

    def __init__(self, arm: Arm) -> None:
        super().__init__(id=f"try-{arm}", classes="pane")
        self._arm = arm
        self._text = Static()
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield self._text

    def show(self, state: TrialState) -> None:
        """Show the turns so far and the text that is being written."""
        partial, whole = state.partial.get(self._arm), state.answers.get(self._arm)
        shown = (state.conversation, state.prompt, partial, whole, self.size.width, state.weights)
        if shown == self._shown:
            return
        self._shown = shown
        width = max(20, self.size.width - 4)
        turns = state.conversation.turns if state.conversation is not None else ()
        blocks = [block for turn in turns for block in self._turn(turn, turn.answer(self._arm), None, width)]
        if state.prompt:
            blocks += self._turn(Turn(state.prompt), whole, partial if partial is not None else "", width)
        empty = Content.styled(f"Answers of the {self._arm} model appear here.", "$rd-dim")
        self._text.update(Content("\n\n").join(blocks) if blocks else empty)
        digits = state.weights.get(self._arm)
        label(self, f"{_TITLES[self._arm]}{f' · weights {digits}' if digits else ''}")
        self.scroll_end(animate=False)

    def _turn(self, turn: Turn, answer: TrialAnswer | None, partial: str | None, width: int) -> list[Content]:
        found = [Content.styled(f"› {sanitize(turn.prompt)}", "bold $rd-accent")]
        if answer is None:
            return [*found, Content(f"{partial} ▌" if partial is not None else "")]
        tag = f"weights {answer.weights} · {answer.tokens} tokens · {answer.finish}"
        text = Content(answer.text) if answer.text.strip() else Content.styled("(no text)", "$rd-dim")
        found += [text, Content.styled(tag, "$rd-dim")]
        return [*found, self._verdict(answer, width)] if answer.verdict else found

    def _verdict(self, answer: TrialAnswer, width: int) -> Content:
        found = verdicts.read(answer.verdict)
        mark = mark_of(found.flagged)
        head = f"{mark.sign} {mark.word}, score {score_words(found.score)}"
        lines: list[Pieces] = [[(head, mark.role)]]
        lines += verdicts.brief(found, answer.text, answer.verdict_texts, width)
        return Content("\n").join(
            Content.assemble(*((text, _STYLES.get(role, "")) for text, role in line)) if line else Content("")
            for line in lines
        )


class TryScreen(Dialog[None]):
    """Asks both models of a run.

    Args:
        name: of the run, and of which training the trained model is where there are several.
        host: answers; started by the screen, and closed with it.
        keymap: names the keys in the footer.
        sampling: how answers are sampled at first.
        system: the system text at first.
        seed: of the first prompt.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(TRY)

    def __init__(
        self, name: str, host: TrialHost, keymap: Keymap, sampling: Sampling, system: str = "", seed: int = 0
    ) -> None:
        super().__init__(id="try")
        self._run_name = name
        self._host = host
        self._keymap = keymap
        self._sampling = sampling
        self._system = system
        self._seed = seed
        self._sides = [_Side(arm) for arm in ARMS]
        self._status = Static(id="try-status")
        self._note = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="try-box", classes="box"):
            with Container(id="try-answers"):
                yield from self._sides
            yield self._status
            yield Input(placeholder=_ASK, id="try-prompt")
            yield KeyLine()

    def on_mount(self) -> None:
        self._host.start()
        self.query_one(Input).focus()
        self.query_one(KeyLine).show(self._keymap.footer(TRY))
        self.set_interval(_TICK, self._refresh)

    def on_unmount(self) -> None:
        self._host.close()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width < _SIDE_BY_SIDE, "-stacked")

    @property
    def conversation(self) -> Conversation:
        """The finished turns, under the system text of now."""
        known = self._host.state.conversation or Conversation()
        return dataclasses.replace(known, system=self._system)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        if not text:
            return
        event.input.value = ""
        self._note = ""
        if text.startswith("/"):
            self._command(text)
        elif self._host.state.status == "working":
            self._note = "Both models are still answering; Ctrl-X stops them."
            event.input.value = text
        else:
            self._host.ask(text, self._sampling, self._seed, self.conversation)
        self._refresh()

    # Keys

    def action_again(self) -> None:
        """Ask the last prompt again with the next seed."""
        turns = self.conversation.turns
        if not turns or self._host.state.status == "working":
            self._note = "There is no finished answer yet."
            return
        self._note = ""
        self._seed += 1
        self._host.ask(turns[-1].prompt, self._sampling, self._seed, self.conversation.without_last())

    def action_stop(self) -> None:
        self._note = ""
        self._host.stop()

    def action_new(self) -> None:
        """Forget the turns so far."""
        if self._host.state.status != "working":
            self._host.replace(Conversation(self._system))

    def action_keep(self, kind: Literal["train", "heldout"]) -> None:
        """Keep the last prompt for a later run."""
        turns = self.conversation.turns
        if not turns:
            self._note = "There is no prompt to keep yet."
            return
        try:
            path = keep_prompt(turns[-1].prompt, self._system, kind)
        except RedraftError as error:
            self._note = str(error)
        else:
            option = {"train": "--train-prompts", "heldout": "--heldout-prompts"}[kind]
            self._note = f"Kept: `redraft run {option} {path}` uses it."

    def _command(self, text: str) -> None:
        name, _, rest = text[1:].partition(" ")
        match name, rest.strip():
            case "system", words:
                self._system = words
                self._note = "System text set; it holds from the next prompt on." if words else "No system text."
            case "set", words:
                self._set(words)
            case "again", _:
                self.action_again()
            case "new", _:
                self.action_new()
            case "keep", "train" | "heldout" as kind:
                self.action_keep(kind)
            case _:
                self._note = _HELP

    def _set(self, words: str) -> None:
        """Change a sampling setting, or the seed."""
        from engine.settings import RunConfig, with_value

        name, _, value = words.partition(" ")
        try:
            if name == "seed":
                self._seed = with_value(RunConfig(), "seed", value.strip(), "/set seed").seed
            else:
                config = dataclasses.replace(RunConfig(), answer=self._sampling)
                self._sampling = with_value(config, f"answer.{name}", value.strip(), f"/set {name}").answer
        except RedraftError as error:
            self._note = str(error)
        else:
            self._note = f"{name} is {value.strip()}."

    def _refresh(self) -> None:
        state = self._host.state
        for side in self._sides:
            side.show(state)
        s = self._sampling
        settings = f"temperature {s.temperature:g} · top_p {s.top_p:g} · max_tokens {s.max_tokens} · seed {self._seed}"
        system = f" · system: {self._system[:40]}" if self._system else ""
        words = self._note or state.sentence or ("answering …" if state.status == "working" else "")
        self._status.update(Content(f"{self._run_name} · {settings}{system}{f' · {words}' if words else ''}"))


def make_screen(
    folder: Path,
    keymap: Keymap,
    *,
    sampling: Sampling | None = None,
    system: str | None = None,
    seed: int = 0,
    judge: str = "",
    training_seed: int | None = None,
) -> TryScreen:
    """The screen for a run, with the sampling that its answers were compared with.

    Raises:
        RedraftError: the run has no such adapter, or its settings cannot be read.
    """
    from engine.runs.folder import read_config
    from engine.runs.trainings import choose, which

    training = choose(folder, training_seed)
    config = read_config(folder)

    def make(progress: Any) -> Any:
        from engine.export.trial import Trial

        return Trial(folder, judge=judge, training_seed=training.seed, progress=progress)

    chosen = sampling or dataclasses.replace(config.answer, max_tokens=max(160, config.answer.max_tokens))
    words = which(folder, training)
    name = f"{folder.name}{words and f' · {words}'}"
    return TryScreen(name, TrialHost(make), keymap, chosen, config.system if system is None else system, seed)
