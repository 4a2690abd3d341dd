"""The user's own labels: whether a verdict is right, kept as rows that `redraft judge fit` takes as they are.

A row says of one text and one principle whether the text breaks it. What is said again of the same text replaces what
was said before. Knows nothing of models.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import InputError, StorageError
from engine.files import write_atomically
from engine.judges.labeled import text_hash

LABELS = "labels.jsonl"
"""Name of the file in the data folder."""

_MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class Feedback:
    """What the user says of a text.

    Args:
        text: what was judged.
        prompt: that it answers; "" where there is none.
        broken: principle -> whether the text breaks it; principles that nothing was said of are missing.
        agrees: whether that is what the verdict says.
        judge: name of the judge.
        run: name of the run's folder; "" outside runs.
    """

    text: str
    prompt: str
    broken: Mapping[str, bool]
    agrees: bool
    judge: str = ""
    run: str = ""


def labels_path() -> Path:
    """The file with the user's labels."""
    return paths.data_dir() / LABELS


def agreement(verdict: Mapping[str, Any]) -> dict[str, bool]:
    """What agreeing with a verdict (its data in the journal) says: of every principle, whether it is broken; empty
    where there is no verdict."""
    if verdict.get("flagged") is None:
        return {}
    broken = _broken(verdict)
    return {principle: principle in broken for principle in principles(verdict)}


def corrections(verdict: Mapping[str, Any]) -> list[tuple[str, dict[str, bool]]]:
    """The ways in which a verdict can be wrong: an id and what it says of principles.

    "clean": nothing is broken; "not PRINCIPLE": this one is not (where several are said to be); "PRINCIPLE": this one
    is, too.
    """
    broken, known = _broken(verdict), principles(verdict)
    found: list[tuple[str, dict[str, bool]]] = []
    if verdict.get("flagged") is not False:
        found.append(("clean", dict.fromkeys(known, False)))
    if len(broken) > 1:
        found += [(f"not {principle}", {principle: False}) for principle in broken]
    return [*found, *((principle, {principle: True}) for principle in known if principle not in broken)]


def principles(verdict: Mapping[str, Any]) -> list[str]:
    """The principles that a verdict is about."""
    found = verdict.get("principles")
    return [str(name) for name in found] if isinstance(found, Mapping) else []


def keep(feedback: Feedback, path: Path | None = None) -> int:
    """Add a row for each principle, in place of earlier ones on the same text; returns how many rows there are now.

    Raises:
        InputError: the text is empty, or nothing is said of any principle.
        StorageError: the file cannot be read or written.
    """
    path = labels_path() if path is None else path
    if not feedback.text.strip() or not feedback.broken:
        raise InputError(
            "there is no verdict on a text here.", where="labels", next_step="Choose a verdict on a text that is kept."
        )
    rows = {row["id"]: row for row in _rows(path)}
    stem = text_hash(feedback.prompt + "\0" + feedback.text)
    for principle, broken in feedback.broken.items():
        row = {
            "id": f"{stem}-{principle}",
            "text": feedback.text,
            "label": int(broken),
            "principle": principle,
            "prompt": feedback.prompt,
            "category": "agreed" if feedback.agrees else "corrected",
            "judge": feedback.judge,
            "run": feedback.run,
            "time": round(time.time(), 3),
        }
        rows.pop(row["id"], None)
        rows[row["id"]] = row
    write_atomically(
        path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows.values()).encode("utf-8", "replace")
    )
    return len(rows)


def _rows(path: Path) -> Sequence[dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"the labels cannot be read ({error.strerror}).", where=str(path)) from error
    found = []
    for number, line in enumerate(filter(bytes.strip, data.split(b"\n")), 1):
        try:
            row = json.loads(line)
            found.append({**row, "id": str(row.get("id") or f"{LABELS}-{number}")})
        except (ValueError, RecursionError, AttributeError, TypeError) as error:
            raise StorageError(
                "this line of the labels is damaged.",
                where=f"{path}, line {number}",
                next_step="Fix the line or move the file away; nothing was written.",
            ) from error
    return found


def _broken(verdict: Mapping[str, Any]) -> list[str]:
    broken = verdict.get("broken")
    return [str(name) for name in broken] if isinstance(broken, list | tuple) else []
