"""The run screen: prompts and evaluation, log, loss and sample, comparison; the lines above and below them.

Asks the session for news on a timer and applies them as one batch; nothing in the engine calls this.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.screen import Screen
from textual.widget import Widget

from engine.errors import RedraftError
from engine.runs.state import Compared, RunState
from engine.settings import RunConfig, from_json
from tui.keymap import APP, DIFF, INPUT, LOG, LOSS, PROMPTS, RUN, Keymap, bindings
from tui.messages import CopyText, Detach, RunEnded, Titled
from tui.screens.pane_layout import PANES, PaneLayout, pane_of
from tui.screens.run_commands import RunCommands
from tui.services.judged_texts import Judged, judged_texts
from tui.services.preferences import Preferences
from tui.services.run_control import RunControl
from tui.terminal.base_app import TerminalApp
from tui.widgets.banner import Banner
from tui.widgets.diff import DiffPane
from tui.widgets.evaluate import EvaluateBox, EvaluateField
from tui.widgets.log.box import LogBox
from tui.widgets.log.pane import Hint
from tui.widgets.loss import LossPane, SamplePane
from tui.widgets.prompts import PromptList
from tui.widgets.rows import Rows
from tui.widgets.status import KeyLine, Shown, StageLines, StatusLine, TabLine

_LABELS = {"log": "Log", "input": "Prompts", "loss": "Loss", "diff": "Diff"}

ACTIVE = frozenset({"loading", "running", "paused", "stopping"})
ENDED = frozenset({"done", "stopped", "failed"})
"""Statuses of a run that works, and of one that has ended."""

_TICK = 0.1
_WORK = 0.008
"""Seconds of work on news at a time: about half a frame."""
_CATCH_UP = 0.014
"""The same while there is more to read than that, nearly a frame."""
_YIELD = 0.001
"""Seconds for keys between two turns of reading."""
_DRAW_EVERY = 0.25
"""Seconds between two drawings while there is more to read: drawing takes as long as reading thousands of records."""
_DRAW_TYPING = 1.0
"""The same while keys are pressed: one that comes while the log is drawn has to wait for it."""
_KEY_DRAWN = 0.03
"""Seconds in which a key passes through app, screen and widget, and is drawn: what is read waits for it."""


class RunScreen(Screen[None]):
    """Everything about one run."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(RUN)
    AUTO_FOCUS = "#log-view"

    def __init__(self, control: RunControl, keymap: Keymap, preferences: Preferences) -> None:
        super().__init__(id="run-screen")
        self.control = control
        self.session = session = control.session
        self.commands = RunCommands(self, control, keymap, self.show_story)
        self._keymap = keymap
        self._preferences = preferences
        self.verbosity = preferences.current.verbosity
        self.status = StatusLine()
        self.banner = Banner(keymap)
        self.tabs = TabLine()
        self.prompts = PromptList(control.config)
        self.evaluate = EvaluateBox(keymap)
        self.log_box = LogBox(session.store, self.verbosity, keymap, self._prompt_of)
        self.loss = LossPane(preferences.current.letters)
        self.sample = SamplePane()
        self.diff = DiffPane()
        self.stage_lines = StageLines()
        self.keys = KeyLine()
        self._generation = session.generation
        self.pane_layout = PaneLayout(self, self.diff, preferences)
        self._prompts_key: object = None
        self._shown_config: Mapping[str, Any] = {}
        self._warned_of = -1
        self._announced: object = None
        self._left = False
        self._drawn = 0.0
        self._undrawn = self._continues = False
        self._error = ""
        self._first_record: int | None = None
        self._was_active = False
        self._title = ""
        self._proposal: tuple[str, ...] = ()
        self._last_seen: object = None
        self._fresh = True

    def compose(self) -> ComposeResult:
        self.pane_layout.begin(self.app.size)
        yield self.status
        yield self.banner
        yield self.tabs
        with Container(id="body"):
            with Horizontal(id="upper"):
                with Vertical(id="input"):
                    yield self.prompts
                    yield self.evaluate
                yield self.log_box
                with Vertical(id="loss"):
                    yield self.loss
                    yield self.sample
            yield self.diff
        yield self.stage_lines
        yield self.keys

    def on_mount(self) -> None:
        self.pane_layout.place()
        self.tick()
        self.set_interval(_TICK, self.tick)

    def update_node_styles(self, animate: bool = True) -> None:
        """Style all panes anew, but for the first time that this is asked for: they have just been made."""
        fresh, self._fresh = self._fresh, False
        if not fresh:
            super().update_node_styles(animate)

    # News

    def tick(self) -> None:
        """Take in what happened since the last call, for a frame at most; the rest comes right after, and is drawn now
        and then. Where nothing happened, nothing is asked or drawn."""
        self._attend()
        came = self.session.poll(_CATCH_UP if self.session.behind else _WORK)
        every = _DRAW_EVERY if not self._is_typed_within(_DRAW_TYPING) else _DRAW_TYPING
        if self.session.behind and time.monotonic() - self._drawn < every:
            self._undrawn |= came > 0
            self._continue()
            return
        came, self._undrawn = came or self._undrawn, False
        if not came and self._seen() == self._last_seen:
            self.loss.redraw_if_due()
            return
        self._drawn = time.monotonic()
        with self.app.batch_update():
            if self.session.generation != self._generation:
                self._generation = self.session.generation
                self._first_record = None
                self.log_box.view.show_store(self.session.store)
            elif came:
                self.log_box.view.grown()
            self._last_seen = self._seen()
            self.present()
            # Only here, where the journal was read: the host may have ended a moment before its last records are.
            self._show_end(self._shown())
        if self.session.behind:
            self._continue()

    def _continue(self) -> None:
        """Read on after the keys that wait; several timers would leave them no time."""
        if not self._continues:
            self._continues = True
            self.set_timer(_YIELD, self._continue_or_wait)

    def _continue_or_wait(self) -> None:
        self._continues = False
        if self._is_typed_within(_KEY_DRAWN):
            self._continue()
        else:
            self.tick()

    def _is_typed_within(self, seconds: float) -> bool:
        return isinstance(self.app, TerminalApp) and self.app.is_typed_within(seconds)

    def _seen(self) -> object:
        """What the panes depend on beside the journal; while a run works, the seconds that pass, too."""
        status = self.control.status
        clock = int(time.monotonic()) if status in ACTIVE else 0
        session, host = self.session, self.control.host
        return session.generation, session.behind, status, host.state, self.control.remote, clock

    def _attend(self) -> None:
        self.control.follow_host()
        state = self.control.host.state
        if state.error != self._error:
            self._error = state.error
            if state.changed is not None:
                self.commands.ask_to_resume_changed(state.changed, state.error)
            elif state.error:
                self.commands.say(state.error, title="Failed", severity="error", seconds=12)
        if state.detach and not self._left:
            self._left = True
            self.post_message(Detach())
        alarm = self.control.open_alarm
        if alarm is not None and alarm is not self._announced:
            self._announced = alarm
            self.commands.announce_alarm()
        # Damage is counted while the journal is read; the notice waits for the whole count, and comes once a run.
        problem = self.session.problem
        if problem and not self.session.behind and self._warned_of != self.session.generation:
            self._warned_of = self.session.generation
            self.commands.say(problem, severity="warning", seconds=8)

    def present(self) -> None:
        """Bring what the panes show up to date; each draws only what changed."""
        state = self.session.state
        self.status.show(self._shown())
        self._show_now(state)
        self.stage_lines.show(state)
        self.log_box.view.set_hint(self._log_hint())
        self.loss.show(state, f"Training loss appears here. {self._key('run')} starts a run.")
        self._show_sample(state)
        self.diff.show(state, self.session.store)
        self.pane_layout.compare(self._compares())
        self._show_prompts(state)
        self.evaluate.show(state, self.session.store, self._error)
        self._show_tabs()
        self._show_keys()

    def _shown(self) -> Shown:
        status = self.control.status
        if self.session.behind and status in ENDED:
            status = "reading"  # how the run ended stands in what is still to be read
        return Shown(self._run_name(), status, self.session.state, self.verbosity)

    def _show_end(self, shown: Shown) -> None:
        """Notice the end of a run that was seen to be active, once."""
        active = shown.doing in ACTIVE
        if active:
            self.banner.hide()
            self._show_title(shown)
        elif self._was_active and shown.doing in ENDED and not self.session.behind:
            self.banner.show(shown.doing, shown.state)
            self._call_back(shown.name, self.banner.text)
        if active or not self.session.behind:
            self._was_active = active

    def _show_title(self, shown: Shown) -> None:
        now = shown.state.progress
        # In steps of ten percent: each title is sent over the line.
        where = f" · {now.name} {int(10 * now.share) * 10} %" if now.name and now.total else ""
        title = f"redraft · {shown.name}{where}" if shown.name else "redraft"
        if title != self._title:
            self._title = title
            self.post_message(Titled(title))

    def _call_back(self, name: str, text: str) -> None:
        self.post_message(RunEnded(name, text))

    def _show_now(self, state: RunState) -> None:
        prompt = words = ""
        if state.writing >= 0:
            event = self.session.store.event(state.writing)
            words = str(event.texts.get("writing", ""))
            prompt = self.prompts.text_of(event.item) if event.item else ""
        active = self.control.status in ACTIVE and self.verbosity > 0
        self.log_box.now.show(active, prompt, words, state.progress.rate)

    def _run_name(self) -> str:
        folder = self.session.folder
        return folder.name if folder is not None and self.session.state.status else ""

    def _log_hint(self) -> Hint:
        if self.control.status == "loading":
            return ("Loading the model …", "Run events appear here.")
        return (
            "Redraft trains a small model to follow a written constitution, and shows every text on the way: drafts, "
            "verdicts, critiques, revisions, pairs.",
            "",
            (self._key("run"), f"start the {self.control.config.preset} run"),
            (self._key("setup"), "set up a run: models, judge, prompts, numbers"),
            (self._key("runs"), "open an earlier run"),
            (self._key("evaluate_text"), "judge a text of your own"),
            (self._key("edit_constitution"), "read or edit the constitution"),
            (self._key("help", APP), "show all keys"),
            *self._proposal,
        )

    def propose(self, profile: str, why: str) -> None:
        """Name the profile that suits this machine in the empty log; "" for none."""
        sentences = "", f"{self._key('setup')} chooses a profile. Proposed: {profile}.", f"{why[:1].upper()}{why[1:]}"
        self._proposal = sentences if profile else ()
        self.present()

    def _key(self, action: str, place: str = RUN) -> str:
        return self._keymap.shown(action, place)

    def _show_sample(self, state: RunState) -> None:
        key = (self._generation, state.sample)
        texts: dict[str, str] = {}
        verdict: Any = None
        if state.sample >= 0 and not self.sample.has(key):
            event = self.session.store.event(state.sample)
            texts = {name: str(text) for name, text in event.texts.items()}
            verdict = event.data.get("sample")
        hint = "Sample answers of the model in training appear here."
        self.sample.show(key, state.sample_step, texts, verdict, hint)

    def _show_prompts(self, state: RunState) -> None:
        key = (self._generation, len(state.items), state.pairs_kept, state.pairs_dropped, len(state.comparisons))
        if key != self._prompts_key:
            self._prompts_key = key
            self.prompts.show(state)
        if state.config is not self._shown_config:
            self._shown_config = state.config
            self.prompts.configure(self._config_shown(state))

    def _config_shown(self, state: RunState) -> RunConfig:
        """The settings of the run that is shown; without one, or where they cannot be read, those of the next."""
        try:
            return from_json(state.config) if state.config else self.control.config
        except (RedraftError, TypeError):
            return self.control.config

    def _show_tabs(self) -> None:
        tabs = [(name, self._key(f"pane_{name}"), _LABELS[name]) for name in PANES]
        if not self._compares():
            tabs.pop()
        self.tabs.show(tabs, self.pane_layout.focused_pane)

    def _show_keys(self) -> None:
        paused = self.control.status == "paused"
        labels = {"pause": "Continue" if paused else "Pause"}
        labels["follow"] = "Stay" if self.log_box.view.followed else "Follow"
        if isinstance(self.focused, EvaluateField):
            keys = [*self._keymap.footer(INPUT), *self._keymap.footer(APP)[-1:]]
        else:
            busy = self.control.busy
            skipped = {"run", "resume"} if busy else {"pause", "stop"}
            if not busy and self.control.remote is not None:
                skipped -= {"pause", "stop"}
            if self.control.open_alarm is None:
                skipped.add("answer_alarm")
            if not self.control.can_resume or self.session.behind:
                skipped.add("resume")
            if not self._compares():
                skipped |= {"compare_next"}
            if not self.session.state.result:
                skipped.add("report")
            if not len(self.session.store):
                skipped |= {"verbosity_up", "search", "follow", "export", "copy", "zoom"}
            keys = [key for key in self._keymap.footer(RUN, APP) if key.action not in skipped]
        self.keys.show(keys, labels)

    @property
    def place(self) -> str:
        """Where the focus is, as the keymap names it."""
        if isinstance(self.focused, EvaluateField):
            return INPUT
        return {"log": LOG, "input": PROMPTS, "loss": LOSS, "diff": DIFF}.get(self.pane_layout.focused_pane, RUN)

    def why_not(self, action: str) -> str:
        """Why an action has no effect now; "" where it has one."""
        control, state, view = self.control, self.session.state, self.log_box.view
        active = control.busy or control.remote is not None
        comparing = {
            "compare_next",
            "compare_previous",
            "compare_order",
            "pane_diff",
            "answers",
            "lineage",
            "resize_comparison(1)",
            "resize_comparison(-1)",
        }
        reasons = (
            (action == "run" and control.busy, "a run is in progress"),
            (action in ("pause", "stop", "detach") and not active, "no run is in progress"),
            (action == "resume" and not control.can_resume, "there is no stopped run here"),
            (action in comparing and not state.comparisons, "nothing was compared yet"),
            (action == "report" and not state.result, "the comparison has not run"),
            (action == "principle_filter" and not state.principles, "no text was judged yet"),
            (action == "verdict" and state.decision < 0, "no text was judged yet"),
            (action in ("next_hit", "previous_hit", "only_hits") and view.words is None, "nothing is searched for"),
            (action == "export" and self.session.folder is None, "there is no run"),
            (action.startswith(("widen", "resize_comparison")) and self.pane_layout.single, "one pane is in sight"),
        )
        return next((reason for applies, reason in reasons if applies), "")

    # Layout

    def on_resize(self, event: events.Resize) -> None:
        self.pane_layout.fit(event.size)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        pane = pane_of(event.widget)
        if pane is not None:
            self.pane_layout.enter(pane)
        self.present()

    def _stops(self) -> list[Widget]:
        """What Tab goes to, in order."""
        stops: list[Widget] = [self.log_box.view, self.prompts.rows, self.evaluate.field, self.loss, self.sample]
        return [*stops, self.diff] if self._compares() else stops

    def _compares(self) -> bool:
        """Whether there is a comparison to show: of answers, or of what the user asked for."""
        return bool(self.session.state.comparisons) or self.diff.current is not None

    def go_to(self, widget: Widget) -> None:
        """Put the focus here, and its pane into sight."""
        pane = pane_of(widget)
        if pane is not None:
            self.pane_layout.enter(pane)
        self.set_focus(widget, scroll_visible=False)

    def action_pane(self, step: int) -> None:
        stops = self._stops()
        at = stops.index(self.focused) if self.focused in stops else -1 if step > 0 else 0
        self.go_to(stops[(at + step) % len(stops)])

    def action_pane_log(self) -> None:
        self.go_to(self.log_box.view)

    def action_pane_input(self) -> None:
        self.go_to(self.prompts.rows)

    def action_pane_loss(self) -> None:
        self.go_to(self.loss)

    def action_pane_diff(self) -> None:
        if self._compares():
            self.go_to(self.diff)

    def action_evaluate_text(self) -> None:
        self.go_to(self.evaluate.field)

    def action_zoom(self) -> None:
        self.pane_layout.zoom()

    def action_widen(self, cells: int) -> None:
        self.pane_layout.widen(cells)

    def action_resize_comparison(self, lines: int) -> None:
        self.pane_layout.resize_diff(lines)

    # Keys

    def action_verbosity(self, verbosity: int) -> None:
        self.verbosity = max(0, min(3, verbosity))
        self.log_box.view.set_verbosity(self.verbosity)
        self._preferences.remember(verbosity=self.verbosity)
        self.present()

    def action_verbosity_up(self) -> None:
        self.action_verbosity(self.verbosity + 1)

    def action_verbosity_down(self) -> None:
        self.action_verbosity(self.verbosity - 1)

    def action_search(self) -> None:
        self.pane_layout.enter("log")
        self.log_box.open_search()

    def action_next_hit(self) -> None:
        self.log_box.view.next_hit(1)

    def action_previous_hit(self) -> None:
        self.log_box.view.next_hit(-1)

    def action_only_hits(self) -> None:
        self.log_box.view.toggle_filter()

    def action_follow(self) -> None:
        self.log_box.view.toggle_follow()
        self._show_keys()

    def action_compare_next(self) -> None:
        self._compare(1)

    def action_compare_previous(self) -> None:
        self._compare(-1)

    def _compare(self, step: int) -> None:
        if not self._compares():
            self.commands.say("There is nothing to compare yet.")
            return
        if self.pane_layout.single and self.pane_layout.focused_pane != "diff":
            self.go_to(self.diff)
            return
        self.diff.step(step)

    def action_answers(self) -> None:
        self.commands.show_answers(self.look_at)

    def action_lineage(self) -> None:
        compared = self.diff.current
        if compared is None or self.diff.compares_records:
            self.commands.say("Show a comparison first: its training rows are looked for.")
        else:
            self.commands.show_lineage(compared)

    def look_at(self, compared: Compared) -> None:
        """Show this comparison."""
        self.diff.look_at(compared)
        self.go_to(self.diff)

    def action_back(self) -> None:
        """Take away what was put in the way, the newest first: the filter of the log, then the banner."""
        if not self.log_box.view.clear_filter():
            self.banner.hide()

    def action_stage_filter(self) -> None:
        def take(group: str | None) -> None:
            if group is not None:
                self.log_box.view.set_filter(replace(self.log_box.view.filter, group=group))

        self.pane_layout.enter("log")
        self.commands.choose_group(self.log_box.view.filter.group, take)

    def action_principle_filter(self) -> None:
        def take(principle: str | None) -> None:
            if principle is not None:
                self.log_box.view.set_filter(replace(self.log_box.view.filter, principle=principle))

        self.pane_layout.enter("log")
        self.commands.choose_principle(self.log_box.view.filter.principle, take)

    def action_prompt_filter(self) -> None:
        self.go_to(self.log_box.view)
        self.log_box.view.action_story()

    def _prompt_of(self, item: str) -> str:
        return " ".join(self.prompts.text_of(item).split()) or item

    def action_compare_order(self) -> None:
        self.diff.next_order()

    def action_compare_mode(self) -> None:
        self.diff.next_mode()

    def action_compare_records(self) -> None:
        marked, first = self.log_box.view.marked, self._first_record
        if marked is None:
            self.commands.say("Mark a record of the log with j and k first.")
        elif first is None or first == marked:
            self._first_record = marked
            self.commands.say(
                f"Record {marked:,} is the first one. Mark another and press {self._key('compare_records')}."
            )
        else:
            self._first_record = None
            if self.diff.compare_records(first, marked):
                self.pane_layout.compare(True)
                self.go_to(self.diff)
            else:
                self.commands.say("One of these records has no text.")

    def action_compare_pairs(self) -> None:
        if self.diff.toggle_pairs():
            self.pane_layout.compare(True)
            self.go_to(self.diff)
        else:
            self.commands.say("There are no preference pairs yet." if not self.diff.pairs else "No answers yet.")

    def action_run(self) -> None:
        self.commands.start()
        self.present()

    def action_resume(self) -> None:
        self.commands.resume()
        self.present()

    def action_pause(self) -> None:
        self.commands.toggle_pause()
        self.present()

    def action_stop(self) -> None:
        self.commands.ask_to_stop()

    def action_answer_alarm(self) -> None:
        self.commands.ask_about_alarm()

    def action_detach(self) -> None:
        if self.control.busy or self.control.remote is None:
            self.post_message(Detach())
        else:
            self.commands.say(self.control.detach_remote())

    def action_export(self) -> None:
        self.commands.export(("md", "json"), max(1, self.verbosity), self.log_box.view.filter)

    def action_copy(self) -> None:
        self.post_message(CopyText(self._copied()))

    def _copied(self) -> str:
        if self.pane_layout.focused_pane == "diff" and self.diff.current is not None:
            return self.diff.copied()
        return self.log_box.view.copied()

    def _configured(self, config: RunConfig) -> None:
        self.prompts.configure(config)
        self.present()

    def action_setup(self) -> None:
        self.commands.set_up(self._configured)

    def action_edit_constitution(self) -> None:
        self.commands.edit_constitution(self._configured)

    def action_try(self) -> None:
        self.commands.try_models()

    def action_report(self) -> None:
        self.commands.show_report()

    def action_review(self) -> None:
        self.commands.read_blind()

    def action_verdict(self) -> None:
        self.commands.show_verdict()

    def action_agree(self) -> None:
        self._label_verdict(True)

    def action_disagree(self) -> None:
        self._label_verdict(False)

    def _label_verdict(self, agrees: bool) -> None:
        """Keep a label for the verdict in focus: of the comparison, of the marked record, or the newest one."""
        pane, view = self.pane_layout.focused_pane, self.log_box.view
        if pane == "diff" and self.diff.judged is not None:
            prompt, side = self.diff.judged
            data = side.verdict.to_data() if side.verdict is not None else {}
            self.commands.label_verdict([Judged(side.name, side.text, prompt, data)], agrees)
        elif pane == "log" and view.marked is not None:
            self.commands.label_verdict(judged_texts(self.session.store, view.marked), agrees)
        else:
            self.commands.label_newest(agrees)

    def action_judges(self) -> None:
        self.commands.show_judges()

    def action_runs(self) -> None:
        self.commands.choose_run(self.open, self.loss.plot.pinned.folder, self.loss.pin)

    def show_story(self, item: str) -> None:
        """Show the records of this prompt alone."""
        self.log_box.view.show_item(item)
        self.go_to(self.log_box.view)

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        item = self.prompts.item(event.index)
        if item in self.session.state.items or self.session.state.compared(item) is not None:
            self.show_story(item)
        else:
            self.commands.say("This prompt has not been processed yet.")

    def on_evaluate_field_entered(self, event: EvaluateField.Entered) -> None:
        refused = self.control.evaluate(event.text)
        self.commands.say(refused, severity="warning")
        if not refused:
            self._error = ""
            self.evaluate.wait_for(self.session.state)
            self.evaluate.field.clear_text()
            self.present()

    def open(self, folder: Path) -> None:
        """Show this run."""
        self.control.open(folder)
        self.show_opened()

    def show_opened(self) -> None:
        """Bring the log of the run that was opened into sight."""
        self.go_to(self.log_box.view)
        self.tick()
