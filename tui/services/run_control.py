"""Starts and steers runs, whether this process or another performs them.

Commands return a sentence for the user; "" where what is on the screen says enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import RedraftError
from engine.runs.control_file import CONTINUE, DETACH, KEEP_TRAINING, PAUSE, RESTORE, STOP, send
from engine.runs.journal_writer import is_written
from engine.settings import RunConfig
from engine.text import sanitize
from engine.worker import Configure, Evaluate, ResumeRun, StartRun, WorkerStatus
from tui.services.run_host import BUSY, Host
from tui.services.session import Session
from tui.views.formatting import duration

if TYPE_CHECKING:
    from engine.events.training import HealthAlarm
    from engine.runs.store import RunInfo

MAX_TEXT = 2_000_000
"""Characters of a text to judge; a longer one is a mistake, and would hold up the run."""

RESUMABLE = ("stopped", "failed")
"""Statuses of a run that can be resumed."""

_RECENT = 14 * 86_400.0
"""Seconds after which an interrupted run is no longer offered on start."""

_REQUESTED = {
    PAUSE: "Pause requested; the run pauses at its next step.",
    CONTINUE: "Resume requested.",
    STOP: "Stop requested; what is finished is kept.",
    DETACH: "Detach requested; the run continues without its screen.",
    RESTORE: "Training ends at its next step with the last healthy checkpoint.",
    KEEP_TRAINING: "Training continues.",
}

_NO_RUN = "No active run."


class RunControl:
    """Commands for the current run and the next.

    Args:
        host: performs runs in this process.
        session: the run that is shown.
        config: settings of the next run.
        runs: the folder of runs; the user's by default.
        key: returns an action's key as it is written.
    """

    def __init__(
        self, host: Host, session: Session, config: RunConfig, runs: Path | None, key: Callable[[str], str]
    ) -> None:
        self.host = host
        self.session = session
        self.config = config
        self.runs = runs
        self.offered: Path | None = None
        """An interrupted run that is resumed while no run is shown."""
        self._key = key
        self._opened_before: Path | None = None  # the host's folder when an earlier run was opened
        self._alive: tuple[float, Path | None, bool] = (0.0, None, False)

    # Status

    @property
    def busy(self) -> bool:
        """Whether this process does anything that quitting would end."""
        return self.host.state.status in BUSY

    @property
    def status(self) -> str:
        """What the run that is shown is doing: from the host where it is ours, else from its journal."""
        state = self.host.state
        if state.status is WorkerStatus.LOADING:
            return "loading"
        ours = state.folder is not None and state.folder == self.session.folder
        if ours and state.status in (WorkerStatus.RUNNING, WorkerStatus.PAUSED, WorkerStatus.STOPPING):
            return str(state.status.value)
        status = self.session.state.status
        if status in ("running", "paused") and not self._is_alive(self.session.folder):
            return "stopped"
        return status

    @property
    def can_resume(self) -> bool:
        """Whether `resume` would find a run."""
        return self._resumable is not None

    @property
    def _resumable(self) -> Path | None:
        if self.status in RESUMABLE:
            return self.session.folder
        return self.offered if self.session.folder is None else None

    @property
    def remote(self) -> Path | None:
        """The folder of the run that is shown where another living process performs it; else None."""
        folder, state = self.session.folder, self.session.state
        if folder is None or folder == self.host.state.folder or not state.status or state.ended:
            return None
        return folder if self._is_alive(folder) else None

    def _is_alive(self, folder: Path | None) -> bool:
        """Whether a living process writes this run; the system is asked once a second at most."""
        now = time.monotonic()
        checked, known, alive = self._alive
        if known != folder or now - checked > 1.0:
            alive = folder is not None and is_written(folder)
            self._alive = (now, folder, alive)
        return alive

    # What is shown

    def follow_host(self) -> None:
        """Show what the host writes, except where an earlier run was opened since it began to."""
        folder = self.host.state.folder
        if folder is not None and folder != self._opened_before:
            self.session.attend(folder)

    def open(self, folder: Path) -> None:
        """Show an earlier run; the host's own run does not take the screen back."""
        running = self.host.state.folder
        self._opened_before = running if running != folder else None
        self.session.open(folder)

    def find_offer(self) -> RunInfo | None:
        """A run to show on start: one that another process performs, or the last one if it was interrupted."""
        from engine.runs.store import list_runs

        try:
            known = list_runs(self.runs)
        except RedraftError:
            return None  # the list of runs says why
        if not known:
            return None
        living = next((run for run in known if run.state == "running"), None)
        if living is not None:
            return living
        recent = known[0].state == "stopped" and time.time() - known[0].started < _RECENT
        return known[0] if recent else None

    def offer(self, run: RunInfo) -> str:
        """Take a run that `find_offer` found."""
        if run.state == "running":
            self.session.open(run.folder)
            keys = (self._key(action) for action in ("pause", "stop", "detach"))
            return "Another process performs this run; {} pauses, {} stops, {} detaches it.".format(*keys)
        self.offered = run.folder
        stage, done, total = (run.figures.get(name) for name in ("stage", "done", "total"))
        where = f" at {stage} {done}/{total}" if stage else ""
        ago = duration(max(0.0, time.time() - run.started))
        return f"{run.id}, started {ago} ago, was interrupted{where}. {self._key('resume')} resumes it."

    # Commands

    def configure(self, config: RunConfig) -> None:
        """Set what the next run does."""
        self.config = config
        self.host.send(Configure(config))

    def start(self, config: RunConfig | None = None) -> str:
        """Start a run with the chosen settings, or with these."""
        if self.busy:
            return self._active()
        self._opened_before = self.host.state.folder
        self.host.send(StartRun(config or self.config))
        return ""

    def resume(self) -> str:
        """Resume the run that is shown, or the one that was offered on start."""
        folder = self._resumable
        if folder is None:
            return "This run is not stopped."
        if self.busy:
            return self._active()
        self._opened_before = self.offered = None
        self.host.send(ResumeRun(folder))
        return ""

    def resume_run(self, folder: Path) -> str:
        """Resume a run that was chosen from the list."""
        if self.busy:
            return self._active()
        self._opened_before = self.offered = None
        self.host.send(ResumeRun(folder))
        return ""

    def resume_changed(self, folder: Path) -> None:
        """Resume a run whose inputs changed since it began."""
        if not self.busy:
            self.host.send(ResumeRun(folder, force=True))

    def toggle_pause(self) -> str:
        """Pause the run, or continue it."""
        if self.host.state.status is WorkerStatus.PAUSED:
            self.host.resume()
        elif self.host.state.status is WorkerStatus.RUNNING:
            self.host.pause()
        else:
            return self._request(CONTINUE if self.session.state.status == "paused" else PAUSE)
        return ""

    def stop(self) -> str:
        """Stop the run; what is finished is kept."""
        if not self.busy:
            return self._request(STOP)
        self.host.stop()
        return ""

    @property
    def open_alarm(self) -> HealthAlarm | None:
        """The alarm of training that waits for an answer, while a living process can still obey it."""
        living = self.status in ("running", "paused")
        return self.session.state.health.open if living else None

    def answer_alarm(self, restore: bool) -> str:
        """Answer the alarm of training."""
        if not self.busy:
            return self._request(RESTORE if restore else KEEP_TRAINING)
        self.host.decide("restore" if restore else "continue")
        return _REQUESTED[RESTORE if restore else KEEP_TRAINING]

    def detach_remote(self) -> str:
        """Have the process that performs the run leave its screen."""
        return self._request(DETACH)

    def evaluate(self, text: str) -> str:
        """Have a text judged; returns why it cannot be."""
        text = sanitize(text)
        if not text.strip():
            return "There is no text to judge. Type or paste one first."
        if len(text) > MAX_TEXT:
            return f"The text has {len(text):,} characters; at most {MAX_TEXT:,} can be judged."
        if self.host.state.folder == self._opened_before:
            self._opened_before = None
        self.host.send(Evaluate(text))
        return ""

    def _active(self) -> str:
        return f"A run is already in progress. Press {self._key('stop')} to stop it."

    def _request(self, command: str) -> str:
        folder = self.remote
        if folder is None:
            return _NO_RUN
        try:
            send(folder, command)
        except RedraftError as error:
            return str(error)
        return _REQUESTED[command]
