"""What is on the screen, without a screen: the journals being followed, the log's store, and the run's state."""

from __future__ import annotations

from pathlib import Path

from engine.runs.journal_reader import JOURNAL
from engine.runs.state import RunState
from tui.services.journal_tailer import JournalTailer
from tui.services.log_store import LogStore
from tui.views.formatting import count


class Session:
    """The run that is shown (or, before there is one, the evaluations)."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        """The run's folder; before there is one, that of the evaluations."""
        self.store = LogStore()
        self.state = RunState(resumable=False)
        self._feed = JournalTailer()
        self._sources: dict[Path, int] = {}
        self.missing = False
        """Whether the folder that was opened has no journal."""
        self.generation = 0
        """Rises when another run is opened, so that panes drop what they kept."""

    @property
    def behind(self) -> bool:
        """Whether the last `poll` left something unread."""
        return self._feed.behind

    @property
    def problem(self) -> str:
        """Why a journal cannot be read, or how many places of it are damaged; "" where all is well."""
        if self._feed.problem:
            return self._feed.problem
        if self.missing:
            return f"{self.folder}: there is no journal in this folder. Press l to open another run."
        damaged = count(self._feed.damaged, "damaged place")
        return f"{damaged} in the journal; the records around are shown." if self._feed.damaged else ""

    def open(self, folder: Path) -> None:
        """Show this run from its beginning instead of what was shown before; later evaluations are added to it."""
        self.store.close()
        readers, sources = self._feed.forget(), self._sources
        self.store, self.state = LogStore(), RunState(resumable=False)
        self._sources = {}
        self.generation += 1
        self.folder = folder
        self.missing = not (folder / JOURNAL).exists()
        self._follow(folder)
        for earlier, number in sources.items():
            if earlier != folder and is_session(earlier):
                source = self._sources[earlier] = len(self._sources)
                self.store.add_source(self._feed.follow_on(source, readers[number]))

    def attend(self, folder: Path) -> None:
        """Events arrive in this folder now. A new run takes the screen from another run; evaluations join what is
        shown, and a first run joins the evaluations before it."""
        if folder in self._sources:
            return
        run_is_shown = bool(self.state.status)
        if run_is_shown and not is_session(folder):
            self.open(folder)
            return
        self._follow(folder)
        if not run_is_shown:
            self.folder = folder

    def poll(self, seconds: float) -> int:
        """Take in news for about this long. Gives how many events came."""
        before, apply = len(self.store), self.state.apply
        for update in self._feed.poll(seconds):
            levels = [event.level for event in update.events]
            first = self.store.extend(update.source, update.offsets, update.lengths, levels)
            for number, event in enumerate(update.events, first):
                apply(event, number)
        return len(self.store) - before

    def close(self) -> None:
        """Close the files."""
        self.store.close()
        self._feed.forget()

    def _follow(self, folder: Path) -> None:
        source = self._sources[folder] = len(self._sources)
        self.store.add_source(self._feed.follow(source, folder))


def is_session(folder: Path) -> bool:
    """Whether the folder holds evaluations made outside any run."""
    return not (folder / "run.json").exists() or '"kind": "session"' in _head(folder / "run.json")


def _head(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(4096)
    except OSError:
        return ""
