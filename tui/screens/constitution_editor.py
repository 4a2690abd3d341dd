"""A constitution as text: checked as one types, tried on a text, its tests run, saved, or opened in $EDITOR."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static, TextArea

from engine.errors import RedraftError
from engine.files import expanded
from engine.settings import RunConfig
from engine.text import sanitize, truncate
from tui.keymap import EDITOR, Keymap, bindings
from tui.screens.dialog import Dialog
from tui.screens.dialogs import Choice
from tui.screens.text_modal import STYLES
from tui.services import constitution_draft as draft
from tui.services.constitution_draft import Checked, TestResult
from tui.services.workers import start_worker
from tui.terminal.driver import shell_streams
from tui.terminal.long_text import LongTextArea
from tui.views import verdict
from tui.views.formatting import count, short_name
from tui.views.pieces import Pieces, clip
from tui.widgets.border import label
from tui.widgets.rows import MOVES, Rows
from tui.widgets.status import KeyLine

_PAUSE = 0.3
"""Seconds without a key after which the text is checked."""

_MAX_WRAPPED = 100_000
"""Characters from which on long lines are not wrapped."""

_OUTLINED = 90
"""Columns from which on the outline stands beside the text."""

_MAX_FINDINGS = 20


class Outline(Rows):
    """The principles."""

    BINDINGS = MOVES


class ConstitutionEditor(Dialog[Path]):
    """Edits a constitution; closes with the file that the next run is to use, or with None.

    Args:
        path: of the constitution; "" for a copy of the built-in one.
        text: of its TOML.
        note: on what is edited.
        config: whose judge runs the tests.
        keymap: names the keys in the footer.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(EDITOR)

    def __init__(self, path: str, text: str, note: str, config: RunConfig, keymap: Keymap) -> None:
        super().__init__(id="draft")
        file = expanded(path)
        self._path = file if path and file.suffix.lower() == ".toml" else None
        self._saved = text
        self._note = note
        self._config = config
        self._keymap = keymap
        self._checked = Checked()
        self._trial: tuple[Pieces, ...] = ()
        self._results: list[TestResult] = []
        self._waiting: Timer | None = None
        self._checking = False
        self._closes_after_save = False
        # Wrapping thousands of lines would hold up the keys for more than a second.
        wraps = len(text) < _MAX_WRAPPED
        self.area = LongTextArea(text, id="draft-text", show_line_numbers=True, tab_behavior="focus", soft_wrap=wraps)
        self.area.cursor_blink = False
        self._outline = Outline(self._row, id="draft-outline")
        self._try = Input(placeholder="Try a text: its verdict by the rules is shown at once", id="draft-try")
        self._file_field = Input(placeholder="Save as", id="draft-path")
        self._try.cursor_blink = self._file_field.cursor_blink = False
        self._about = Static("", id="draft-about")
        self._keys = KeyLine()

    def compose(self) -> ComposeResult:
        with Vertical(id="draft-box", classes="box"):
            with Horizontal(id="draft-body"):
                with Vertical(id="draft-side", classes="pane"):
                    yield self._outline
                with Vertical(id="draft-main", classes="pane"):
                    yield self.area
            yield self._file_field
            yield self._try
            with VerticalScroll(id="draft-result"):
                yield self._about
            yield self._keys

    def on_mount(self) -> None:
        self._file_field.display = False
        self.area.focus()
        self._keys.show(self._keymap.footer(EDITOR))
        self._check_later(0.01)

    def on_resize(self, event: events.Resize) -> None:
        self.query_one("#draft-side").display = event.size.width >= _OUTLINED
        self.query_one("#draft-result").styles.height = max(4, min(12, event.size.height // 4))
        self.call_after_refresh(self._draw)

    @property
    def changed(self) -> bool:
        """Whether the text differs from the file."""
        return self.area.text != self._saved

    # Checking and trying

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        if self.changed:
            self._note = ""
        self._check_later(_PAUSE)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if event.input is self._try:
            self._check_later(_PAUSE)

    def _check_later(self, seconds: float) -> None:
        if self._waiting is not None:
            self._waiting.stop()
        self._waiting = self.set_timer(seconds, self._begin_check)

    def _begin_check(self) -> None:
        """Check now, or once the check that is running is through: a thread cannot be cancelled."""
        self._waiting = None
        if self._checking:
            self._check_later(_PAUSE)
        else:
            self._checking = True
            start_worker(self, self._check, group="check")

    async def _check(self) -> None:
        text, source = self.area.text, str(self._path or draft.NEW)
        try:
            checked = await asyncio.to_thread(draft.check, text, source)
        finally:
            self._checking = False
        # Where the text is none now, the outline of the last one that was helps to find the way.
        known = checked.outline or self._checked.outline
        self._checked = (
            checked
            if checked.constitution is not None
            else Checked(problem=checked.problem, line=checked.line, outline=known)
        )
        self._outline.show(len(known))
        await self._try_text()
        self._draw()

    async def _try_text(self) -> None:
        text, constitution = sanitize(self._try.value).strip(), self._checked.constitution
        if not text or constitution is None:
            self._trial = ()
            return
        data, why = await asyncio.to_thread(draft.try_text, constitution, text)
        width = max(20, self.size.width - 4)
        words = {"reasoning": why}
        self._trial = (*verdict.head(data, min(width, 60)), *verdict.brief(data, text, words, width))

    def _draw(self) -> None:
        state = "changed" if self.changed else "saved" if self._path is not None else "not saved"
        label(
            self.query_one("#draft-main"),
            f"{sanitize(self._path.name) if self._path else draft.NEW} · {state}",
            self._position(),
        )
        label(self.query_one("#draft-side"), "Principles", "")
        width = max(20, self.size.width - 4)
        rows = [Content.assemble(*((text, STYLES.get(role, "")) for text, role in line)) for line in self._lines(width)]
        self._about.update(Content("\n").join(rows))

    def _position(self) -> str:
        return f"{count(self.area.document.line_count, 'line')}"

    def _lines(self, width: int) -> Iterator[Pieces]:
        """What is known of the text: whether it is a constitution, the trial, the tests, what weakens it."""
        found = self._checked
        if self._note:
            yield from verdict.paragraph(self._note, "dim", width)
        if found.problem:
            yield from verdict.paragraph(f"✗ {found.problem}", "bad", width)
        elif found.constitution is not None:
            made = found.constitution
            parts = (
                count(len(made.principles), "principle"),
                f"highest score {made.max_score:g}",
                count(len(found.findings), "finding"),
            )
            yield from verdict.paragraph(f"✓ valid · {' · '.join(parts)}", "good", width)
        yield from self._trial
        yield from self._tested(width)
        for finding in found.findings[:_MAX_FINDINGS]:
            where = short_name(finding.principle) if finding.principle else "constitution"
            yield from verdict.paragraph(f"– {where}, {finding.kind}: {finding.what} {finding.advice}", "dim", width)

    def _tested(self, width: int) -> Iterator[Pieces]:
        if not self._results:
            return
        failed = [one for one in self._results if not one.passed]
        passed = len(self._results) - len(failed)
        head = (
            f"{'✗' if failed else '✓'} {passed} of {count(len(self._results), 'test')} passed, by {self._config.judge}"
        )
        yield [(head, "bad" if failed else "good")]
        words = {True: "a violation", False: "no violation", None: "no verdict"}
        for one in failed:
            text = (
                f"  {one.principle} {one.number}: expected {words[one.expected]}, found {words[one.found]}: {one.text}"
            )
            yield from verdict.paragraph(sanitize(text), "text", width)

    def _row(self, index: int, width: int) -> Pieces:
        one = self._checked.outline[index]
        tests = Counter(result.passed for result in self._results if result.principle == one.id)
        marks = f" {tests[True]}/{tests.total()}" if tests.total() else ""
        tail = f" ×{one.weight:g} · {count(one.rules, 'rule')}{marks}"
        room = max(4, width - len(tail))
        return [(clip(sanitize(one.id), room).ljust(room), "text"), (tail, "bad" if tests[False] else "dim")]

    # Keys

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        event.stop()
        self._go_to(self._checked.outline[event.index].line)

    def _go_to(self, line: int) -> None:
        self.area.move_cursor((max(0, line), 0), center=True)
        self.area.focus()

    def action_problem(self) -> None:
        if self._checked.line >= 0:
            self._go_to(self._checked.line)

    def action_try(self) -> None:
        self._try.focus()

    def action_add(self, kind: str) -> None:
        text = self.area.text
        added = draft.addition(kind, text)
        line = self.area.document.line_count
        if kind != "principle":
            line = draft.end_of_principle(text, self.area.cursor_location[0])
            if line < 0:
                self.show_problem("Put the cursor into a principle first.")
                return
        last = self.area.document.line_count
        at = (line, 0) if line < last else self.area.document.end
        before = "" if line < last or text.endswith("\n") or not text else "\n"
        self.area.insert(before + added + ("\n" if line < last else ""), at)
        self._go_to(at[0] + 1 + before.count("\n"))

    def show_problem(self, words: str) -> None:
        """Say something below the text."""
        self._note = words
        self._draw()

    def action_tests(self) -> None:
        if self._checked.constitution is None:
            self.show_problem("The text is not a constitution yet.")
            return
        self.show_problem(f"Running the tests by {self._config.judge} …")
        start_worker(self, self._test, self.area.text, exclusive=True, group="tests")

    async def _test(self, text: str) -> None:
        try:
            self._results = await draft.run_tests(text, self._config)
        except RedraftError as error:
            self._results = []
            self.show_problem(error.what)
            return
        self._outline.refresh()
        self.show_problem("" if text == self.area.text else "The tests are of the text before the last change.")

    def action_editor(self) -> None:
        command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / (self._path.name if self._path is not None else "constitution.toml")
            path.write_text(self.area.text, encoding="utf-8", errors="replace")
            try:
                with self.app.suspend():
                    stdout, stderr = shell_streams()
                    done = subprocess.run([*command, str(path)], check=False, stdout=stdout, stderr=stderr)
                edited = draft.text_of(path)
            except SuspendNotSupported:
                self.show_problem("This terminal cannot be handed to another program.")
                return
            except (OSError, RedraftError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                self.show_problem(f"{truncate(sanitize(command[0]), 60)} cannot be run ({reason}); set EDITOR.")
                return
        if done.returncode:
            self.show_problem(
                f"{truncate(sanitize(command[0]), 60)} ended with {done.returncode}; the text is as it was."
            )
        elif edited != self.area.text:
            self.area.load_text(edited)
            self._check_later(0.01)

    # Saving and leaving

    def action_save(self) -> None:
        if self._path is None:
            self._ask_name()
        else:
            self._save(self._path, self._saved)

    def _ask_name(self) -> None:
        self._file_field.display = True
        self._file_field.value = self._file_field.value or str(Path.cwd() / "constitution.toml")
        self._file_field.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if event.input is self._file_field and event.value.strip():
            try:
                path = expanded(event.value.strip()).absolute()
            except RedraftError as error:
                self.show_problem(str(error))
                return
            self._save(path if path.suffix.lower() == ".toml" else path.with_name(f"{path.name}.toml"), None)
        elif event.input is self._try:
            self._check_later(0.01)

    def _save(self, path: Path, before: str | None) -> bool:
        text = self.area.text
        try:
            draft.write(path, text, before)
        except RedraftError as error:
            self.show_problem(str(error))
            self._ask_name()
            return False
        self._path, self._saved = path, text
        self._file_field.display = False
        self.area.focus()
        key = self._keymap.shown("use", EDITOR)
        self.show_problem(f"Saved. {key} uses it for the next run.")
        if self._closes_after_save:
            self.dismiss(None)
        return True

    def action_use(self) -> None:
        if self._checked.constitution is None:
            self.show_problem("The text is not a constitution yet.")
        elif self._path is None or self.changed:
            self.action_save()
        else:
            self.dismiss(self._path)

    def action_close(self) -> None:
        if self._file_field.has_focus or self._try.has_focus:
            self._file_field.display = False
            self.area.focus()
        elif not self.changed:
            self.dismiss(None)
        else:
            answers = [("save", "Save it"), ("drop", "Drop the changes"), ("stay", "Continue editing")]
            self.app.push_screen(
                Choice("Close the editor", "The text was changed and not saved.", answers), self._close
            )

    def _close(self, answer: str | None) -> None:
        if answer == "drop":
            self.dismiss(None)
        elif answer == "save":
            self._closes_after_save = True
            self.action_save()
