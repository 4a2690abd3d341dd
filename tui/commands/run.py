"""`redraft run` and `redraft resume`: the whole loop without a screen."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import typer

from tui.commands import options
from tui.commands.settings_flags import build_config, with_flags
from tui.terminal import output

if TYPE_CHECKING:
    from engine.export.trackers import Reporting
    from engine.settings import RunConfig

Command = TypeVar("Command", bound=Callable[..., None])


def with_other_processes(command: Command) -> Command:
    """Let the first of several launched processes perform the command, and the others share its trainings."""

    @functools.wraps(command)
    def shared(*arguments: Any, **options: Any) -> None:
        from engine.launch_environment import process_count, process_index

        if process_count() == 1:
            command(*arguments, **options)
            return
        from engine.pipeline.shared_training import release, serve

        if process_index() > 0:
            serve()
            return
        try:
            command(*arguments, **options)
        finally:  # however it ended, the others may end, too
            release()

    return cast(Command, shared)


@with_flags()
@with_other_processes
def run(
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="Begin with the settings of this preset: demo, standard or thorough.")
    ] = "standard",
    set_: options.Set = None,
    folder: options.NewFolder = None,
    report_to: options.ReportTo = None,
    verbosity: options.Shown = None,
    as_json: options.Json = False,
    **flags: Any,
) -> None:
    """Run the whole loop without a screen: draft, judge, revise, train, compare.

    Options show the defaults of --preset standard. The journal always contains everything; --verbosity chooses what is
    printed.
    """
    start(build_config(preset, flags, set_ or []), folder, verbosity, as_json, report_to or ())


def start(
    config: RunConfig,
    folder: Path | None = None,
    verbosity: int | None = None,
    as_json: bool = False,
    report_to: Sequence[str] = (),
) -> None:
    """Begin a run. Everything that can be refused is refused before its folder is made; what fails after that and
    before the first stage (weights that are not finite, a server that does not answer) leaves no folder either.

    Args:
        config: its settings.
        folder: new or empty; None makes one among the others.
        verbosity: 0 to 3; None takes the command's default.
        as_json: write the result as JSON to stdout, and the stages to stderr.
        report_to: names of trackers.
    """
    from engine import paths
    from engine.errors import RedraftError
    from engine.models.hub.catalog import resolve
    from engine.runs.folder import new_folder, remove_if_empty, remove_unless_begun

    _check_trackers(report_to)
    for name in (config.generator, config.against, config.critic):
        if name:
            resolve(name)
    target = new_folder(paths.runs_dir(), config.preset) if folder is None else _own(folder)
    made_by_user = folder is not None and target.exists()
    try:
        _perform(config, target, verbosity, as_json, report_to=report_to)
    except RedraftError:
        remove_unless_begun(target)
        if folder is None:
            remove_if_empty(target)
        elif not made_by_user:
            with contextlib.suppress(OSError):
                target.rmdir()
        raise


@with_other_processes
def resume(
    run: options.Run = "last",
    force: Annotated[
        bool, typer.Option("--force", help="Resume even if constitution, prompts, model or versions changed.")
    ] = False,
    anyway: Annotated[bool, typer.Option("--anyway", hidden=True)] = False,
    report_to: options.ReportTo = None,
    verbosity: options.Shown = None,
    as_json: options.Json = False,
) -> None:
    """Resume a run that was stopped or interrupted; what is finished is not repeated.

    A run whose inputs changed is refused, with what changed, unless --force is given.
    """
    from engine.errors import InputError
    from engine.runs.folder import read_config
    from engine.runs.store import find_run, inspect

    folder = find_run(run)
    _check_trackers(report_to or ())
    state = inspect(folder).state
    if state == "running":
        raise InputError(
            "the run is in progress.", where=folder.name, next_step=f"Follow it: `redraft watch {folder.name}`."
        )
    if state == "finished":
        output.notice(f"{folder.name} is already finished.")
        _print_result(folder, as_json)
        return
    _perform(read_config(folder), folder, verbosity, as_json, force or anyway, report_to or ())


def _check_trackers(names: Sequence[str]) -> None:
    if names:
        from engine.export.trackers import check_trackers

        check_trackers(names)


def _reporting(names: Sequence[str], folder: Path, config: RunConfig) -> Reporting | None:
    if not names:
        return None
    from engine.export.trackers import Reporting, make_tracker

    return Reporting({name: make_tracker(name, folder, config) for name in names}, output.notice)


def _perform(
    config: RunConfig,
    folder: Path,
    verbosity: int | None,
    as_json: bool,
    force: bool = False,
    report_to: Sequence[str] = (),
) -> None:
    import threading

    from engine.control import Control
    from engine.errors import RedraftError, Stopped
    from engine.runs.folder import has_begun
    from engine.runs.journal_reader import JOURNAL
    from tui.commands.headless import perform
    from tui.commands.plain import PlainDisplay

    begun = threading.Event()

    def work(control: Control) -> None:
        # Imported on the run's own thread: Ctrl-C works while it takes its seconds.
        from engine.pipeline.model_cache import ModelCache
        from engine.pipeline.runner import Run

        accepted = Run(config, folder, control, ModelCache(), force=force)
        output.notice(f"run {folder.name} in {folder}")
        begun.set()
        accepted.perform()

    shown = verbosity if verbosity is not None else (1 if as_json else 2)
    display = PlainDisplay(sys.stderr if as_json else sys.stdout, sys.stderr, shown)
    reporting = _reporting(report_to, folder, config)
    try:
        if reporting is None:
            perform(work, folder, display, begun)
        else:
            perform(work, folder, display, begun, reporting.add)
    except Stopped:
        if (folder / JOURNAL).exists():
            output.notice(f"stopped; resume with `redraft resume {_name(folder)}`.")
        if as_json:
            _print_result(folder, as_json)
        raise
    except RedraftError:
        if has_begun(folder):
            output.notice(f"what is finished is kept; resume with `redraft resume {_name(folder)}`.")
        raise
    finally:
        if reporting is not None:
            reporting.close()
    _print_result(folder, as_json)


def _print_result(folder: Path, as_json: bool) -> None:
    from engine.runs.store import REPORT, inspect

    run = inspect(folder)
    report = folder / REPORT
    if as_json:
        output.emit(
            {
                "run": run.id,
                "folder": str(folder),
                "state": run.state,
                "report": str(report) if report.exists() else None,
                "figures": run.figures,
            }
        )
    else:
        output.notice(
            f"{run.state}: see the report with `redraft show {_name(folder)}`, export all texts with `redraft export`."
        )


def _name(folder: Path) -> str:
    """The run as a command takes it: its id where it is in the runs folder, else its path."""
    from engine import paths

    return folder.name if folder.parent == paths.runs_dir() else str(folder)


def _is_empty_start(entry: Path) -> bool:
    from engine.files import is_part
    from engine.runs.journal_reader import JOURNAL

    empty = entry.name == JOURNAL and entry.is_file() and not entry.stat().st_size
    return empty or entry.name == "lock" or is_part(entry)


def _own(folder: Path) -> Path:
    from engine.errors import InputError, StorageError
    from engine.files import expanded

    folder = expanded(folder).absolute()
    try:
        # A process that died before its run began leaves a lock, an empty journal and perhaps half of its settings.
        if folder.exists() and (not folder.is_dir() or any(not _is_empty_start(entry) for entry in folder.iterdir())):
            raise InputError(
                "this is a file." if not folder.is_dir() else "the folder is not empty.",
                where=f"--output {folder}",
                next_step="Name a new folder, or resume the run in it: `redraft resume DIR`.",
            )
        _refuse_unwritable(next(place for place in (folder, *folder.parents) if place.exists()), folder)
    except OSError as error:
        raise StorageError(
            f"the folder cannot be used ({error.strerror}).", where=f"--output {folder}", next_step="Name another."
        ) from error
    return folder


def _refuse_unwritable(place: Path, folder: Path) -> None:
    """Refuse a folder that cannot be made, before models are loaded.

    Args:
        place: the folder, or the nearest one above it that is there.
    """
    from engine.errors import InputError, StorageError

    if not place.is_dir():
        raise InputError(f"{place} is a file.", where=f"--output {folder}", next_step="Name another folder.")
    if not os.access(place, os.W_OK | os.X_OK):
        read_only = os.statvfs(place).f_flag & os.ST_RDONLY
        reason = os.strerror(errno.EROFS) if read_only else "there is no permission"
        raise StorageError(
            f"nothing can be written in {place}: {reason}.",
            where=f"--output {folder}",
            next_step="Name another folder.",
        )
