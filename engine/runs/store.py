"""The runs on this machine: the state of each, and finding one by its name.

Only reads: the ends of journals, never whole ones. Takes damaged, foreign and half-made folders as they are. What a run
writes into its folder is `engine.runs.folder`.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import InputError, StorageError
from engine.events.base import Record
from engine.events.codec import DamagedLine, NewerLine, decode
from engine.files import expanded, write_atomically
from engine.runs.arms import model_names
from engine.runs.journal_reader import JOURNAL
from engine.runs.journal_writer import is_written
from engine.runs.review import review_result
from engine.text import sanitize, truncate

CONFIG = "run.json"
"""Name of the settings in a run's folder."""

REPORT = "report.json"
"""Name of the report in a run's folder; it is there once the run is finished."""

STATES = ("running", "finished", "stopped", "damaged")
"""`stopped` is also a run whose process died: it can be resumed. `damaged`: no record of the journal is whole."""

REMARK = "note.txt"
"""Name of the user's note in a run's folder."""

MAX_REMARK = 200
"""Characters of a note."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LOSS = re.compile(rb'\{"v":\d+,"seq":\d+,"time":[\d.]+,"stage":"EPOCH-\d+-BATCH-\d+".{0,2000}?"loss":([\d.eE+-]+)[,}]')
_MAX_CURVE = 128 << 20

_END_BYTES = 256 << 10
_BEGIN_BYTES = 1 << 20
_MAX_JSON = 256 << 20
_SKEW = 86_400.0
"""Seconds that the clocks of two machines with a common disk may differ by."""

_TURNS = {"RUN-START", "RUN-RESUMED", "RUN-STOPPED", "RUN-COMPLETE", "ERROR"}
_STEPS = {"STAGE-START", "PROGRESS", "STAGE-END"}


@dataclass(frozen=True)
class RunInfo:
    """A run as lists show it.

    Args:
        id: name of its folder.
        folder: where it is.
        state: one of `STATES`.
        started: seconds since the epoch; the folder's own time where the journal does not say.
        ended: time of the newest record; 0 where there is none.
        preset, generator: from its settings; "" where unknown.
        figures: what RUN-COMPLETE says of a finished run; of any other the stage that it is at, with done and total.
        note: why it stopped or what is damaged, for the user; else "".
        remark: what the user wrote on it.
        score: score of the base and of the trained model; None where they were not compared.
    """

    id: str
    folder: Path
    state: str
    started: float
    ended: float = 0.0
    preset: str = ""
    generator: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    remark: str = ""
    score: tuple[float, float] | None = None

    @property
    def model(self) -> str:
        """The generator as lists show it: of a path only the name."""
        return Path(self.generator).name if Path(self.generator).is_absolute() else self.generator


def list_runs(runs: Path | None = None) -> list[RunInfo]:
    """All runs of a folder (default: the user's), newest first; an empty list where there is none. Runs that seem to
    have begun in the future, since a clock was set wrong, come last: one of them must not be "the last run" for years.

    Raises:
        StorageError: the folder is there but cannot be read.
    """
    runs = paths.runs_dir() if runs is None else runs
    found = [inspect(folder) for folder in _folders(runs) if _is_run(folder)]
    latest = time.time() + _SKEW
    return sorted(found, key=lambda run: (run.started <= latest, run.started, run.id), reverse=True)


def inspect(folder: Path) -> RunInfo:
    """The run in a folder. Never raises for what is in it."""
    first, ends = _first(folder / JOURNAL), _last(folder / JOURNAL)
    config = _config(folder, first)
    turn = next((event for event in reversed(ends) if event.stage in _TURNS), None)
    figures: Mapping[str, Any] = {}
    note = ""
    if is_written(folder):
        state, figures = "running", _progress(ends)
    elif first is None or not ends:
        state, note = "damaged", _why_damaged(folder / JOURNAL)
    elif turn is not None and turn.stage == "RUN-COMPLETE":
        state, figures = "finished", turn.data
    else:
        state, figures = "stopped", _progress(ends)
        note = _line(turn.summary) if turn is not None and turn.stage in {"ERROR", "RUN-STOPPED"} else "interrupted"
    return RunInfo(
        id=_line(folder.name),
        folder=folder,
        state=state,
        started=first.time if first is not None else _changed(folder),
        ended=ends[-1].time if ends else 0.0,
        preset=_setting(config, "preset"),
        generator=truncate(_line(model_names(config)), 60),
        figures=figures,
        note=note,
        remark=_remark(folder),
        score=_compared(ends),
    )


def find_run(name: str, runs: Path | None = None) -> Path:
    """The folder of a run, by its id, the beginning of its id, its path, or `last`.

    Raises:
        InputError: there is none, or there are several.
        StorageError: the folder of runs cannot be read.
    """
    runs = paths.runs_dir() if runs is None else runs
    shown = truncate(_line(name), 100)
    if os.sep in name or name in {".", ".."}:
        folder = _from_path(name)
        if folder is None:
            raise InputError("there is no run here.", where=shown, next_step="`redraft runs` lists the runs there are.")
        return folder
    ids = {folder.name: folder for folder in _folders(runs)}
    if name in ids:
        return ids[name]
    if name == "last":
        return _newest(runs)
    found = _by_beginning(name, ids) or _from_path(name)
    if found is not None:
        return found
    raise InputError(
        f"there is no run {shown!r}.", where=str(runs), next_step="`redraft runs` lists the runs there are."
    )


def _newest(runs: Path) -> Path:
    known = list_runs(runs)
    if not known:
        raise InputError("there is no run yet.", where=str(runs), next_step="`redraft run --preset demo` makes one.")
    return known[0].folder


def _by_beginning(name: str, ids: Mapping[str, Path]) -> Path | None:
    """The one run whose id begins with a name; None where no id does."""
    matches = sorted(one for one in ids if name and one.startswith(name))
    if len(matches) > 1:
        some = ", ".join(_line(match) for match in matches[:5]) + (", …" if len(matches) > 5 else "")
        shown = truncate(_line(name), 100)
        raise InputError(f"{len(matches)} runs begin with {shown!r}: {some}.", next_step="Write more of the id.")
    return ids[matches[0]] if matches else None


def read_report(folder: Path) -> dict[str, Any]:
    """The report of a finished run, with what its last blind reading adds up to as member `review`.

    Raises:
        InputError: the run has none (yet).
        StorageError: it cannot be read or is damaged.
    """
    path = folder / REPORT
    try:
        report = _json(path)
    except FileNotFoundError:
        state = inspect(folder).state
        step = {
            "running": "Wait for its end, or follow it: `redraft watch`.",
            "stopped": "Finish it first: `redraft resume`.",
        }.get(state, "`redraft export` still exports what the journal holds.")
        raise InputError(f"the run has no report; it is {state}.", where=str(folder), next_step=step) from None
    except OSError as error:
        raise StorageError(f"the report cannot be read ({error.strerror}).", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise StorageError(
            f"the report is damaged ({error}).",
            where=str(path),
            next_step="`redraft export` reads the journal instead.",
        ) from error
    review = review_result(folder)
    return report if review is None else {**report, "review": review.to_data()}


def write_remark(folder: Path, text: str) -> None:
    """Keep what the user wrote on a run; "" removes it.

    Raises:
        StorageError: it cannot be written.
    """
    write_atomically(folder / REMARK, truncate(_line(text), MAX_REMARK).encode())


def rename(folder: Path, name: str) -> Path:
    """Rename a run's folder; returns the new one.

    Raises:
        InputError: the name cannot be used, is taken, or the run is active.
        StorageError: the folder cannot be renamed.
    """
    name = name.strip()
    if not _NAME.fullmatch(name) or name == "last":
        raise InputError(
            f"{truncate(_line(name), 60)!r} is not a name for a run.", next_step="Use letters, digits, . _ -"
        )
    target = folder.with_name(name)
    if target == folder:
        return folder
    if target.exists():
        raise InputError(f"there is a run {name!r} already.", next_step="Use another name.")
    _move(folder, target)
    return target


def to_trash(folder: Path) -> Path:
    """Move a run into the folder `trash` next to the runs; returns where it is now.

    Raises:
        InputError: the run is active.
        StorageError: it cannot be moved.
    """
    trash = folder.parent.parent / "trash"
    try:
        trash.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"there can be no trash folder ({error.strerror}).", where=str(trash)) from error
    target, number = trash / folder.name, 1
    while target.exists():
        number += 1
        target = trash / f"{folder.name}-{number}"
    _move(folder, target)
    return target


def loss_curve(folder: Path) -> list[float]:
    """The training losses of a run, oldest first, without reading its texts; empty where there are none, or the journal
    is very large."""
    try:
        with open(folder / JOURNAL, "rb") as file:
            if os.fstat(file.fileno()).st_size > _MAX_CURVE:
                return []
            return [float(found[1]) for line in file if (found := _LOSS.match(line))]
    except (OSError, ValueError):
        return []


def _move(folder: Path, target: Path) -> None:
    if is_written(folder):
        raise InputError("the run is active.", where=_line(folder.name), next_step="Stop it first.")
    try:
        folder.rename(target)
    except OSError as error:
        raise StorageError(f"the run cannot be moved ({error.strerror}).", where=str(folder)) from error


def _remark(folder: Path) -> str:
    try:
        with open(folder / REMARK, encoding="utf-8", errors="replace") as file:
            return truncate(_line(file.read(4 * MAX_REMARK)), MAX_REMARK)
    except OSError:
        return ""


def _compared(events: list[Record]) -> tuple[float, float] | None:
    """The scores of the newest summary of a comparison."""
    for event in reversed(events):
        result = event.data.get("result") if event.stage == "COMPARISON-SUMMARY" else None
        score = result.get("score") if isinstance(result, Mapping) else None
        if isinstance(score, Mapping):
            base, trained = score.get("base"), score.get("trained")
            if isinstance(base, int | float) and isinstance(trained, int | float):
                return float(base), float(trained)
    return None


def _folders(runs: Path) -> Iterator[Path]:
    try:
        with os.scandir(runs) as entries:
            # Not entry.is_dir(): it raises for a link that leads to itself.
            yield from sorted(Path(entry.path) for entry in entries if os.path.isdir(entry.path))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(
            f"the runs cannot be listed ({error.strerror}).", where=str(runs), next_step="Check its permissions."
        ) from error


def _is_run(folder: Path) -> bool:
    """A folder of single evaluations has the same files, but says that it is no run."""
    try:
        return bool(_json(folder / CONFIG).get("kind", "run") == "run")
    except FileNotFoundError:
        first = _first(folder / JOURNAL)
        return first is not None and first.stage in _TURNS
    except (OSError, ValueError, RecursionError):
        return True  # damaged, and shown as such


def _from_path(name: str) -> Path | None:
    path = expanded(name)
    try:
        if path.is_file() and path.name in {JOURNAL, CONFIG, REPORT}:
            path = path.parent
        return path if (path / JOURNAL).exists() or (path / CONFIG).exists() else None
    except (OSError, ValueError):
        return None


def _config(folder: Path, first: Record | None) -> Mapping[str, Any]:
    if first is not None and isinstance(first.data.get("config"), Mapping):
        config: Mapping[str, Any] = first.data["config"]
        return config
    try:
        record = _json(folder / CONFIG)
    except (OSError, ValueError, RecursionError):
        return {}
    inner = record.get("config")
    return inner if isinstance(inner, dict) else record


def _json(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        data = file.read(_MAX_JSON + 1)
    if len(data) > _MAX_JSON:
        raise ValueError("too large")
    record = json.loads(data)
    if not isinstance(record, dict):
        raise ValueError("no JSON object")
    return record


def _first(journal: Path) -> Record | None:
    """The first record that is whole, looked for in the first megabyte."""
    try:
        with open(journal, "rb") as file:
            lines = file.read(_BEGIN_BYTES).split(b"\n")
    except OSError:
        return None
    return next(_decoded(lines[:-1]), None)


def _last(journal: Path) -> list[Record]:
    """The whole records in the last stretch of the file, oldest first."""
    try:
        with open(journal, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            stretch = _END_BYTES
            while True:
                start = max(0, size - stretch)
                file.seek(start)
                lines = file.read(size - start).split(b"\n")
                events = list(_decoded(lines[1:-1] if start else lines[:-1]))
                telling = any(event.stage in _TURNS or event.stage in _STEPS for event in events)
                if telling or start == 0 or stretch > 16 << 20:
                    return events
                stretch *= 8
    except OSError:
        return []


def _decoded(lines: list[bytes]) -> Iterator[Record]:
    for line in lines:
        try:
            yield decode(line)
        except DamagedLine:
            continue


def _progress(events: list[Record]) -> Mapping[str, Any]:
    for event in reversed(events):
        if event.stage in _STEPS:
            known = {"name": "stage", "done": "done", "total": "total", "left": "left"}
            return {name: event.data[key] for key, name in known.items() if key in event.data}
    return {}


def _why_damaged(journal: Path) -> str:
    try:
        size = journal.stat().st_size
        with open(journal, "rb") as file:
            if any(_is_newer(line) for line in file.read(_BEGIN_BYTES).split(b"\n")[:-1]):
                return "the journal was written by a newer version of Redraft"
    except FileNotFoundError:
        return "there is no journal"
    except OSError as error:
        return f"the journal cannot be read ({error.strerror})"
    return "no record of the journal is whole" if size else "the journal is empty"


def _is_newer(line: bytes) -> bool:
    try:
        decode(line)
    except NewerLine:
        return True
    except DamagedLine:
        return False
    return False


def _changed(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def _setting(config: Mapping[str, Any], name: str) -> str:
    value = config.get(name, "")
    return truncate(_line(value), 60) if isinstance(value, str) else ""


def _line(text: str) -> str:
    return sanitize(text).replace("\n", " ")
