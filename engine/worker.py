"""The thread that runs the models: commands in by a queue, events out by the journal.

Readers (the app, the plain display) never wait for it and it never waits for them. Importing this module imports no
torch; the thread does, once it has something to run.
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


class Doing(enum.Enum):
    """What the thread is at."""

    IDLE = "idle"
    LOADING = "loading"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True)
class Evaluate:
    """Judge a text; `prompt` is what it answers, where there is one. Served while a run goes on, too."""

    text: str
    prompt: str = ""


@dataclass(frozen=True)
class Configure:
    """Judge texts outside a run with these settings from now on."""

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
class State:
    """A snapshot for readers.

    Args:
        doing: what the thread is at.
        folder: of the run or session whose journal is being written; None before the first command.
        error: what the last command failed with, for a person; "" where it did not.
        changed: the folder of a run that was not gone on with because what it was made from has changed (`error` says
            what); the person decides. Else None.
        detach: somebody asked that the run go on without a screen.
    """

    doing: Doing = Doing.IDLE
    folder: Path | None = None
    error: str = ""
    changed: Path | None = None
    detach: bool = False


Command = Evaluate | Configure | StartRun | ResumeRun


class Worker:
    """Owns the one thread on which models run.

    Args:
        runs: the folder that gets a folder a run; the user's by default.
        settings: which generator, judge and constitution evaluations outside a run use.
    """

    def __init__(self, runs: Path | None = None, settings: RunConfig | None = None) -> None:
        self._runs = runs or runs_dir()
        self._settings = settings or RunConfig()
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._asides: queue.SimpleQueue[Evaluate] = queue.SimpleQueue()
        self._state = State()
        self._control: Control | None = None
        self._lock = threading.Lock()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="redraft-worker", daemon=True)
        self._models: ModelCache | None = None
        self._session: Session | None = None
        self._evaluations = 0

    @property
    def state(self) -> State:
        """What the thread is at; a snapshot."""
        state = self._state
        control = self._control
        if control is not None and state.doing in (Doing.RUNNING, Doing.PAUSED, Doing.STOPPING):
            doing = Doing.STOPPING if control.stopping else Doing.PAUSED if control.paused else Doing.RUNNING
            return replace(state, doing=doing, detach=control.detaching)
        return state

    def start(self) -> None:
        """Begin to take commands."""
        self._thread.start()

    def send(self, command: Command) -> None:
        """Queue a command and return. A run that goes on serves evaluations in between; other commands wait for it."""
        if isinstance(command, Evaluate) and self._control is not None:
            self._asides.put(command)
        else:
            self._commands.put(command)

    def pause(self) -> None:
        """Hold the running stage at its next token step or micro-batch."""
        control = self._control
        if control is not None:
            control.pause()

    def resume(self) -> None:
        """Let a paused stage go on."""
        control = self._control
        if control is not None:
            control.resume()

    def stop(self) -> None:
        """End the run at its next token step or micro-batch; what is finished stays."""
        control = self._control
        if control is not None:
            control.stop()

    def shutdown(self, timeout: float = 10.0) -> bool:
        """Stop whatever goes on and end the thread; False where it did not end in `timeout` seconds."""
        self._ending = True
        self.stop()
        self._commands.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while not self._ending:
            command = self._commands.get()
            if command is None:
                break
            try:
                self._perform(command)
                self._set(doing=Doing.IDLE)
            except Stopped:
                self._set(doing=Doing.IDLE)
            except InputsChanged as error:
                self._set(doing=Doing.IDLE, error=str(error), changed=error.folder)
            except RedraftError as error:
                self._set(doing=Doing.IDLE, error=str(error))
            except MemoryError:
                self._set(doing=Doing.IDLE, error="There is not enough memory. Use a smaller model, or free some.")
            except Exception as error:  # noqa: BLE001 - the thread must outlive any failure; the journal has the trace
                self._set(doing=Doing.IDLE, error=failed_words(error))
            finally:
                self._control = None
                self._leftovers()
        if self._session is not None:
            self._session.close()
        self._set(doing=Doing.ENDED)

    def _leftovers(self) -> None:
        """Evaluations that came in while a run ended are served next."""
        while not self._asides.empty():
            self._commands.put(self._asides.get())

    def _perform(self, command: Command) -> None:
        self._set(doing=Doing.LOADING, error="", changed=None)
        if self._models is None:
            from engine.pipeline.model_cache import ModelCache

            self._models = ModelCache()
        if isinstance(command, Evaluate):
            self._evaluate(command)
        elif isinstance(command, Configure):
            self._configure(command.config)
        elif isinstance(command, StartRun):
            from engine.runs.folder import new_folder, remove_if_empty

            folder = new_folder(self._runs, command.config.preset)
            try:
                self._run(command.config, folder)
            except RedraftError:
                remove_if_empty(folder)
                raise
        else:
            from engine.runs.folder import read_config

            self._run(read_config(command.folder), command.folder, command.force)

    def _run(self, config: RunConfig, folder: Path, force: bool = False) -> None:
        from engine.pipeline.runner import Run

        control = Control(lambda: self._serve_asides(run))
        run = Run(config, folder, control, self._require_models(), force=force)
        self._control = control
        self._set(doing=Doing.RUNNING, folder=folder)
        if self._ending:
            control.stop()
        run.perform()

    def _serve_asides(self, run: Run) -> None:
        """Judge the texts that came in while the run goes on; called by the run between its steps."""
        while run.ready and not self._asides.empty():
            command = self._asides.get()
            self._numbered(partial(run.evaluate, command.text, command.prompt), run.failed)

    def _evaluate(self, command: Evaluate) -> None:
        from engine.pipeline.evaluation_journal import Session

        if self._session is None:
            self._session = Session(self._runs, self._settings, self._require_models())
        session = self._session
        self._set(folder=session.folder)
        self._numbered(partial(session.evaluate, command.text, command.prompt), session.failed)

    def _configure(self, config: RunConfig) -> None:
        """The next evaluation begins a session of its own, so that a journal has one judge."""
        self._settings = config
        if self._session is not None:
            self._session.close()
            self._session = None

    def _require_models(self) -> ModelCache:
        assert self._models is not None
        return self._models

    def _numbered(self, evaluate: Callable[[str], object], failed: Callable[[Exception], None]) -> None:
        """Give the evaluation its id. A text that cannot be judged, for whatever reason, is told in the journal and
        ends neither the run that goes on nor this thread.

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
