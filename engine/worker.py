"""The thread that runs the models: commands come in through a queue, events go out through the journal.

Readers (the app, the plain display) never wait for it, and it never waits for them. Importing this module does not
import torch; the thread does, once it has something to run.
"""

from __future__ import annotations

import enum
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engine.control import Control
from engine.errors import InputsChanged, RedraftError, Stopped, StorageError, failed_words
from engine.paths import runs_dir
from engine.settings import RunConfig

if TYPE_CHECKING:
    from engine.pipeline.evaluation_journal import Session
    from engine.pipeline.model_cache import ModelCache
    from engine.pipeline.runner import Run


class WorkerStatus(enum.Enum):
    """What the thread does."""

    IDLE = "idle"
    LOADING = "loading"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True)
class Evaluate:
    """Judge a text; `prompt` is what it answers, where there is one. Served during a run, too."""

    text: str
    prompt: str = ""


@dataclass(frozen=True)
class Configure:
    """Use these settings for evaluations outside a run from now on."""

    config: RunConfig


@dataclass(frozen=True)
class StartRun:
    """Perform a whole run."""

    config: RunConfig


@dataclass(frozen=True)
class ResumeRun:
    """Resume an interrupted run; `force` also where its inputs have changed."""

    folder: Path
    force: bool = False


@dataclass(frozen=True)
class WorkerState:
    """A snapshot for readers.

    Args:
        status: what the thread does.
        folder: of the run or session whose journal is being written; None before the first command.
        error: why the last command failed, for the user; "" where it did not.
        changed: the folder of a run that was not resumed because its inputs changed (`error` says which); the user
            decides. Else None.
        detach: the process was asked to leave its terminal.
    """

    status: WorkerStatus = WorkerStatus.IDLE
    folder: Path | None = None
    error: str = ""
    changed: Path | None = None
    detach: bool = False


Command = Evaluate | Configure | StartRun | ResumeRun


class Worker:
    """Owns the one thread on which models run.

    Args:
        runs: the folder in which runs are created; the user's by default.
        settings: generator, judge and constitution of evaluations outside a run.
    """

    def __init__(self, runs: Path | None = None, settings: RunConfig | None = None) -> None:
        self._runs = runs or runs_dir()
        self._settings = settings or RunConfig()
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._side_queue: queue.SimpleQueue[Evaluate] = queue.SimpleQueue()
        self._state = WorkerState()
        self._control: Control | None = None
        self._lock = threading.Lock()
        self._shutting_down = False
        self._thread = threading.Thread(target=self._work, name="redraft-worker", daemon=True)
        self._models: ModelCache | None = None
        self._session: Session | None = None
        self._evaluations = 0

    @property
    def state(self) -> WorkerState:
        """A snapshot."""
        state = self._state
        control = self._control
        if control is not None and state.status is WorkerStatus.RUNNING:
            status: WorkerStatus = state.status
            if control.stopping:
                status = WorkerStatus.STOPPING
            elif control.paused:
                status = WorkerStatus.PAUSED
            return replace(state, status=status, detach=control.detaching)
        return state

    def start(self) -> None:
        """Start serving commands."""
        self._thread.start()

    def send(self, command: Command) -> None:
        """Queue a command and return. Evaluations are served during a run; other commands wait for its end."""
        if isinstance(command, Evaluate) and self._control is not None:
            self._side_queue.put(command)
        else:
            self._commands.put(command)

    def pause(self) -> None:
        """Pause the running stage at its next token step or micro-batch."""
        control = self._control
        if control is not None:
            control.pause()

    def resume(self) -> None:
        """Continue a paused stage."""
        control = self._control
        if control is not None:
            control.resume()

    def stop(self) -> None:
        """Stop the run at its next token step or micro-batch; what is finished is kept."""
        control = self._control
        if control is not None:
            control.stop()

    def decide(self, choice: str) -> None:
        """Answer an alarm of training: "restore" or "continue"."""
        control = self._control
        if control is not None:
            control.decide(choice)

    def shutdown(self, timeout: float = 10.0) -> bool:
        """Stop the run, if any, and end the thread. Returns False if it did not end in `timeout` seconds."""
        self._shutting_down = True
        self.stop()
        self._commands.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while not self._shutting_down:
            command = self._commands.get()
            if command is None:
                break
            try:
                self._perform(command)
                self._set(status=WorkerStatus.IDLE)
            except Stopped:
                self._set(status=WorkerStatus.IDLE)
            except InputsChanged as error:
                self._set(status=WorkerStatus.IDLE, error=str(error), changed=error.folder)
            except RedraftError as error:
                self._set(status=WorkerStatus.IDLE, error=str(error))
            except MemoryError:
                self._set(
                    status=WorkerStatus.IDLE, error="There is not enough memory. Use a smaller model, or free some."
                )
            except Exception as error:  # noqa: BLE001 - the thread must outlive any failure; the journal has the trace
                self._set(status=WorkerStatus.IDLE, error=failed_words(error))
            finally:
                self._control = None
                self._release(command)
                self._requeue_evaluations()
        if self._session is not None:
            self._session.close()
        self._set(status=WorkerStatus.ENDED)

    def _release(self, command: Command) -> None:
        """Forget the models of a run that ended: an app that stays open would keep gigabytes. The next run loads them
        in a second or two, and a text is judged without loading one."""
        if self._models is not None and isinstance(command, StartRun | ResumeRun):
            self._models.clear()

    def _requeue_evaluations(self) -> None:
        """Serve the evaluations that came in while a run ended."""
        while not self._side_queue.empty():
            self._commands.put(self._side_queue.get())

    def _perform(self, command: Command) -> None:
        self._set(status=WorkerStatus.LOADING, error="", changed=None)
        if self._models is None:
            from engine.pipeline.model_cache import ModelCache

            self._models = ModelCache()
        if isinstance(command, Evaluate):
            self._evaluate(command)
        elif isinstance(command, Configure):
            self._configure(command.config)
        elif isinstance(command, StartRun):
            from engine.runs.folder import new_folder, remove_if_empty, remove_unless_begun

            folder = new_folder(self._runs, command.config.preset)
            try:
                self._run(command.config, folder)
            except RedraftError:
                remove_unless_begun(folder)
                remove_if_empty(folder)
                if not folder.exists():
                    self._set(folder=None)
                raise
        else:
            from engine.runs.folder import read_config

            self._run(read_config(command.folder), command.folder, command.force)

    def _run(self, config: RunConfig, folder: Path, force: bool = False) -> None:
        from engine.pipeline.runner import Run

        control = Control(lambda: self._serve_evaluations(run))
        run = Run(config, folder, control, self._require_models(), force=force)
        self._control = control
        self._set(status=WorkerStatus.RUNNING, folder=folder)
        if self._shutting_down:
            control.stop()
        run.perform()

    def _serve_evaluations(self, run: Run) -> None:
        """Judge the texts that came in during the run; called by the run between its steps."""
        while run.ready and not self._side_queue.empty():
            command = self._side_queue.get()
            self._with_id(partial(run.evaluate, command.text, command.prompt), run.failed)

    def _evaluate(self, command: Evaluate) -> None:
        from engine.pipeline.evaluation_journal import Session

        if self._session is None:
            self._session = Session(self._runs, self._settings, self._require_models())
        session = self._session
        self._set(folder=session.folder)
        self._with_id(partial(session.evaluate, command.text, command.prompt), session.failed)

    def _configure(self, config: RunConfig) -> None:
        """The next evaluation starts a new session, so that a journal has one judge."""
        self._settings = config
        if self._session is not None:
            self._session.close()
            self._session = None

    def _require_models(self) -> ModelCache:
        assert self._models is not None
        return self._models

    def _with_id(self, evaluate: Callable[[str], object], failed: Callable[[Exception], None]) -> None:
        """Number the evaluation. A text that cannot be judged, for whatever reason, is logged in the journal and
        ends neither the run nor this thread.

        Raises:
            StorageError: the journal itself cannot be written.
        """
        self._evaluations += 1
        try:
            evaluate(f"text-{self._evaluations}")
        except (Stopped, StorageError):
            raise
        except Exception as error:  # noqa: BLE001 - see above; the journal has the trace
            failed(error)

    def _set(self, **changes: object) -> None:
        with self._lock:
            self._state = replace(self._state, **changes)  # type: ignore[arg-type]
