"""What the run screen's keys do beyond its panes: start and steer runs, open windows, write files."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from textual.screen import Screen

from engine.errors import RedraftError
from engine.runs.state import Compared
from engine.settings import RunConfig
from engine.text import sanitize, truncate
from tui.keymap import Keymap
from tui.screens.dialog import Answer
from tui.screens.dialogs import Choice
from tui.services import exports, judge_accuracy
from tui.services.judged_texts import Judged, judged_texts
from tui.services.log_filter import GROUPS, LogFilter
from tui.services.pinned_run import PinnedRun
from tui.services.run_control import RunControl
from tui.services.workers import start_worker
from tui.views.formatting import count, short_name
from tui.views.verdict import correction_words, label_words, read
from tui.widgets.evaluate import shown


class RunCommands:
    """Commands on the run that is shown.

    Args:
        screen: the run screen; windows open above it.
        control: steers runs.
        keymap: names keys in windows.
        show_item: shows the records of a prompt.
    """

    def __init__(
        self, screen: Screen[Any], control: RunControl, keymap: Keymap, show_item: Callable[[str], None]
    ) -> None:
        self._show_item = show_item
        self._screen = screen
        self._control = control
        self._session = control.session
        self._keymap = keymap

    def open(self, window: Screen[Answer], closed: Callable[[Answer | None], None] | None = None) -> None:
        """Open a window. Does nothing where another one is open: the key for it came twice."""
        if self._screen.is_active:
            self._screen.app.push_screen(window, closed)

    def say(self, notice: str, *, title: str = "", severity: str = "information", seconds: float = 5.0) -> None:
        """Show a notice; nothing for ""."""
        if notice:
            self._screen.app.notify(
                notice,
                title=title,
                severity=severity,  # type: ignore[arg-type]
                timeout=seconds,
                markup=False,
            )

    # Steering

    def start(self) -> None:
        """Start a run with the chosen settings."""
        self.say(self._control.start())

    def compare_models(self) -> None:
        """Ask for two models and start their comparison; the run that is shown is suggested, where it trained one."""
        from engine.runs.folder import ADAPTER
        from tui.screens.compare_models import CompareModels

        if self._control.busy:
            self.say(self._control.start())  # which says that one is in progress
            return
        folder = self._session.folder
        trained = folder is not None and (folder / ADAPTER).is_dir()
        first, second = (f"{folder}@base", str(folder)) if trained else (self._control.config.generator, "")

        def begin(config: RunConfig | None) -> None:
            if config is not None:
                self.say(self._control.start(config))

        self.open(CompareModels(self._control.config, first, second), begin)

    def resume(self) -> None:
        """Resume the run that is shown, or the one that was offered."""
        self.say(self._control.resume())

    def ask_to_resume_changed(self, folder: Path, why: str) -> None:
        """What a run was made from has changed: ask whether to resume it all the same."""

        def decide(answer: bool | None) -> None:
            if answer:
                self._control.resume_changed(folder)

        answers = [(False, "Leave it as it is"), (True, "Resume with what is there now, mixing both in one run")]
        self.open(Choice("Resume anyway?", why.partition(" Restore them;")[0], answers), decide)

    def toggle_pause(self) -> None:
        """Pause the run, or continue it."""
        self.say(self._control.toggle_pause())

    def ask_to_stop(self) -> None:
        """Stop the run, after a question."""
        if not self._control.busy and self._control.remote is None:
            self.say(self._control.stop())
            return

        def decide(answer: bool | None) -> None:
            if answer:
                self.say(self._control.stop())

        answers = [(True, "Stop; what is finished is kept, and the run can be resumed"), (False, "Keep it running")]
        self.open(Choice("Stop the run?", "", answers), decide)

    def announce_alarm(self) -> None:
        """Say that training raised an alarm, and which key answers it."""
        alarm = self._control.open_alarm
        if alarm is not None:
            key = self._keymap.shown("answer_alarm")
            self.say(
                f"{key} answers. At {_line(alarm.summary)}", title="Alarm of training", severity="warning", seconds=30
            )

    def ask_about_alarm(self) -> None:
        """Training raised an alarm: return to the last healthy checkpoint, or continue?"""
        alarm = self._control.open_alarm
        if alarm is None:
            self.say("No alarm waits for an answer.")
            return

        def decide(answer: bool | None) -> None:
            if answer is not None:
                self.say(self._control.answer_alarm(answer))

        last = alarm.last_healthy
        back = f"step {last}, the last healthy checkpoint" if last else "nothing trained: no step was healthy"
        answers = [
            (True, f"Stop training; compare {back}"),
            (False, "Continue training; compare its last step"),
        ]
        self.open(Choice("Alarm of training", _line(alarm.summary), answers), decide)

    # Windows

    def set_up(self, done: Callable[[RunConfig], None]) -> None:
        """Choose what the next run does."""
        from tui.screens.setup import Setup

        def take(config: RunConfig | None) -> None:
            if config is not None:
                self._control.configure(config)
                done(config)

        self.open(Setup(self._control.config, self._control.runs), take)

    def edit_constitution(self, done: Callable[[RunConfig], None]) -> None:
        """Edit the constitution of the next run; `done` gets the settings where they name another one then."""
        from tui.screens.constitution_editor import ConstitutionEditor
        from tui.services.constitution_draft import read

        config = self._control.config
        try:
            text, note = read(config.constitution)
        except RedraftError as error:
            self.say(str(error), severity="warning", seconds=8)
            return

        def use(path: Path | None) -> None:
            if path is not None:
                changed = dataclasses.replace(self._control.config, constitution=str(path))
                self._control.configure(changed)
                done(changed)
                self.say(f"The next run uses {path.name}.")

        self.open(ConstitutionEditor(config.constitution, text, note, config, self._keymap), use)

    def choose_run(self, chosen: Callable[[Path], None], pinned: Path, pin: Callable[[PinnedRun], None]) -> None:
        """Choose an earlier run; the list pins one of them to the chart, too."""
        from tui.screens.runs import Chosen, Runs

        def take(choice: Chosen | None) -> None:
            if choice is not None:
                chosen(choice.folder)
                if choice.resume:
                    self.say(self._control.resume_run(choice.folder))

        self.open(Runs(self._control.runs, self._session.folder, pinned, pin), take)

    def show_report(self) -> None:
        """The report of this run."""
        from engine.runs.store import read_report
        from tui.screens.report import ReportScreen

        folder, result = self._session.folder, self._session.state.result
        note = ""
        try:
            report: Any = read_report(folder) if folder is not None else {}
        except RedraftError as error:
            report, note = dict(result), str(error)
        if report:
            self.open(ReportScreen(folder.name if folder else "", report, note))
        else:
            self.say("No results yet: the comparison has not run.")

    def read_blind(self, seed: int | None = None, count: int | None = None) -> None:
        """Read the answers of this run without knowing which model wrote them.

        Args:
            seed, count: as `Review` takes them.
        """
        start_worker(self._screen, self._read_blind, seed, count, group="review", exclusive=True)

    async def _read_blind(self, seed: int | None, count: int | None) -> None:
        from engine.runs.review import PAIRS, Review
        from tui.screens.review import ReviewScreen

        folder = self._session.folder
        if folder is None:
            self.say("There is nothing to read before a run.")
            return
        try:
            review = await asyncio.to_thread(Review, folder, seed, PAIRS if count is None else count)
        except RedraftError as error:
            self.say(str(error), severity="warning", seconds=8)
        else:
            self.open(ReviewScreen(review, self._keymap))

    def try_models(self, **options: Any) -> None:
        """Ask the base and the trained model of this run; `options` as for `tui.screens.try_models.make_screen`."""
        from tui.screens.try_models import make_screen

        folder = self._session.folder
        if folder is None or self._control.busy:
            self.say("Try a run once it is finished; another one may be opened with l.")
            return
        try:
            self.open(make_screen(folder, self._keymap, **options))
        except RedraftError as error:
            self.say(str(error), severity="error", seconds=12)

    def choose_group(self, current: str, chosen: Callable[[str | None], None]) -> None:
        """Choose which stages the log shows."""
        answers = [("", "all stages"), *((group, group) for group in GROUPS)]
        marked = [group for group, _ in answers].index(current)
        self.open(Choice("Show only records of", "", answers, marked), chosen)

    def choose_principle(self, current: str, chosen: Callable[[str | None], None]) -> None:
        """Choose of which principle the log shows the records."""
        names = list(dict.fromkeys((*self._session.state.principles, *([current] if current else []))))
        if names:
            answers = [("", "all principles"), *((name, short_name(name)) for name in names)]
            marked = [name for name, _ in answers].index(current)
            self.open(Choice("Show only records on", "", answers, marked), chosen)
        else:
            self.say("No text was judged yet.")

    def show_answers(self, chosen: Callable[[Compared], None]) -> None:
        """The answers that became worst and best; the one that is chosen is compared."""
        from tui.screens.answers import Answers

        state = self._session.state
        if not state.comparisons:
            self.say("There is nothing to compare yet.")
        else:
            window = Answers(state.comparisons, self._session.store, state.arms, self.show_lineage)
            self.open(window, lambda compared: chosen(compared) if compared is not None else None)

    def show_lineage(self, compared: Compared) -> None:
        """The training rows that are nearest to the second answer of a comparison; Enter shows the records of one."""
        from tui.screens.lineage import LineageScreen

        folder = self._session.folder
        if folder is None:
            return
        texts = self._session.store.event(compared.event).texts
        prompt, answer = (str(texts.get(name, "")) for name in ("prompt", compared.names[1]))
        # From the list of answers, too, so above whichever window is open.
        self._screen.app.push_screen(LineageScreen(folder, prompt, answer), self._close_to_story)

    def _close_to_story(self, item: str | None) -> None:
        if item is None:
            return
        for window in self._screen.app.screen_stack[:0:-1]:
            if window is not self._screen:
                window.dismiss(None)
        self._show_item(item)

    def show_verdict(self) -> None:
        """The newest verdict in full."""
        found = shown(self._session.state, self._session.store)
        if found is None:
            self.say("No verdict yet.")
        else:
            from tui.screens.text_modal import verdict_sheet

            self.open(verdict_sheet(found, self._keymap))

    def label_newest(self, agrees: bool) -> None:
        """Keep a label for the newest verdict on a text that was typed in."""
        state = self._session.state
        if state.decision < 0:
            self.say("No verdict is in focus. Mark one in the log with j and k, or go to the comparison.")
        else:
            self.label_verdict(judged_texts(self._session.store, state.decision), agrees)

    def label_verdict(self, judged: Sequence[Judged], agrees: bool) -> None:
        """Keep a label for a verdict: it is right, or corrected after a question; of two texts after asking which."""
        from engine.judges.feedback import agreement

        if not judged:
            self.say("The marked record has no verdict, or its text was not kept.")
        elif len(judged) > 1:
            answers = [(one, f"{one.name.capitalize()}: {label_words(read(one.verdict))}") for one in judged]
            title = "Agree with which verdict?" if agrees else "Disagree with which verdict?"
            self.open(Choice(title, "", answers), lambda one: self.label_verdict([one], agrees) if one else None)
        elif agrees:
            self._keep_label(judged[0], agreement(judged[0].verdict), True)
        else:
            self._ask_correction(judged[0])

    def _ask_correction(self, judged: Judged) -> None:
        from engine.judges.feedback import corrections

        answers = [(broken, correction_words(name)) for name, broken in corrections(judged.verdict)]

        def decide(broken: dict[str, bool] | None) -> None:
            if broken:
                self._keep_label(judged, broken, False)

        if answers:
            self.open(Choice(f"The verdict: {label_words(read(judged.verdict))}. Which is right?", "", answers), decide)
        else:
            self.say("This verdict names no principle to correct.")

    def _keep_label(self, judged: Judged, broken: Mapping[str, bool], agrees: bool) -> None:
        from engine.judges.feedback import Feedback, keep, labels_path

        if not broken:
            self.say("There is no verdict to agree with; disagree says what is right.")
            return
        folder = self._session.folder
        run = folder.name if folder is not None else ""
        judge = str(judged.verdict.get("judge") or "")
        try:
            rows = keep(Feedback(judged.text, judged.prompt, broken, agrees, judge, run))
        except RedraftError as error:
            self.say(str(error), title="Not kept", severity="error", seconds=12)
        else:
            words = count(len(broken), "label")
            self.say(
                f"{words} kept, {rows:,} in all: redraft judge fit {labels_path()}",
                title="Agreed" if agrees else "Corrected",
                seconds=8,
            )

    def show_judges(self) -> None:
        """How good the judges of this run, or of the next text, were measured to be."""
        start_worker(self._screen, self._show_judges, group="judges", exclusive=True)

    async def _show_judges(self) -> None:
        from tui.screens.text_modal import judges_sheet

        judges = self._session.state.judges
        if not judges:
            judges = await asyncio.to_thread(judge_accuracy.of, self._control.config, self._session.folder)
        self.open(judges_sheet(judges, self._session.state.result.get("agreement"), self._keymap))

    # Files

    def export(self, formats: Sequence[str], verbosity: int, shown: LogFilter | None = None) -> None:
        """Write the run's records into its folder."""
        folder = self._session.folder
        if folder is None:
            self.say("There is nothing to export before a run or an evaluation.")
        else:
            start_worker(self._screen, self._export, folder, formats, verbosity, shown, group="export")

    async def _export(self, folder: Path, formats: Sequence[str], verbosity: int, shown: LogFilter | None) -> None:
        try:
            written = await exports.write_export(folder, formats, verbosity, shown)
        except RedraftError as error:
            self.say(str(error), title="Not exported", severity="error", seconds=12)
        else:
            self.say(written, title="Exported", seconds=10)

    def write_page(self) -> None:
        """Write the report of this run as one HTML file."""
        folder = self._session.folder
        if folder is not None:
            start_worker(self._screen, self._write_page, folder, group="export")

    async def _write_page(self, folder: Path) -> None:
        try:
            path = await exports.write_page(folder)
        except RedraftError as error:
            self.say(str(error), title="Not written", severity="error", seconds=12)
        else:
            # The name first: the border of a window has no room for a long path.
            self.say(f"{path.name} in {path.parent}", title="Report written", seconds=10)

    def write_picture(self) -> None:
        """Write a picture of the screen beside the run's other exports."""
        try:
            path = exports.write_picture(self._session.folder, self._screen.app.export_screenshot())
        except RedraftError as error:
            self.say(str(error), severity="error")
        else:
            self.say(str(path), title="Picture written to", seconds=10)

    def copy(self, text: str, put: Callable[[str, str], None]) -> None:
        """Copy a text; `put` sends it to the terminal."""
        if not text:
            self.say("There is nothing to copy.")
            return
        try:
            title, sentence = exports.copy(self._session.folder, text, put)
        except RedraftError as error:
            self.say(str(error), severity="error")
        else:
            self.say(sentence, title=title, seconds=10)


def _line(text: str) -> str:
    """A summary of a journal, which may come from elsewhere, on one line."""
    return truncate(" ".join(sanitize(text).split()), 300)
