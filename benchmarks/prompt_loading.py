"""How long the preview of 100,000 rows of prompts takes, with exact and near duplicates among them, and the memory.

    python -m benchmarks.prompt_loading [ROWS [FORMAT...]]

Formats: csv, jsonl, zst, parquet, chat; all of them without one. Each is measured in a process of its own. Targets:
10 s of one core and 500 MB, the interpreter included.
"""

from __future__ import annotations

import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

Rows = list[tuple[str, int]]


def main() -> None:
    """Print one line of JSON per format."""
    if sys.argv[1:2] == ["--measure"]:
        sys.stdout.write(json.dumps(measure(Path(sys.argv[2]))) + "\n")
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    rows = list(made(count))
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[2:] or WRITERS:
            path = Path(folder) / f"{name}.{EXTENSIONS.get(name, name)}"
            WRITERS[name](path, rows)
            command = [sys.executable, "-m", "benchmarks.prompt_loading", "--measure", str(path)]
            sys.stdout.write(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            sys.stdout.flush()


def made(count: int) -> Iterator[tuple[str, int]]:
    """Texts of 5 to 60 words and their numbers; a tenth are copies, a tenth differ from another one in a word."""
    chance = random.Random(1)
    words = [f"w{number}" for number in range(3000)]
    weights = [1 / (number + 1) for number in range(3000)]
    texts: list[str] = []
    for number in range(count):
        text = " ".join(chance.choices(words, weights, k=chance.randint(5, 60)))
        if texts and number % 10 == 9:
            text = chance.choice(texts)
        elif texts and number % 10 == 8:
            other = chance.choice(texts).split()
            other[chance.randrange(len(other))] = "changed"
            text = " ".join(other)
        texts.append(text)
        yield text, number


def measure(path: Path) -> dict[str, object]:
    """What the preview of a file costs."""
    from engine.prompts.preview import preview

    wall, cpu = time.perf_counter(), time.process_time()
    found = preview(path)
    return {
        "format": path.stem,
        "rows": found.rows,
        "exact": found.exact,
        "near": found.near,
        "file MB": round(path.stat().st_size / 1e6, 1),
        "CPU s": round(time.process_time() - cpu, 2),
        "wall s": round(time.perf_counter() - wall, 2),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def _csv(path: Path, rows: Rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("prompt", "id"), *rows])


def _lines(rows: Rows) -> bytes:
    return "".join(json.dumps({"instruction": text, "id": number}) + "\n" for text, number in rows).encode()


def _zst(path: Path, rows: Rows) -> None:
    import pyarrow as arrow

    with arrow.CompressedOutputStream(str(path), "zstd") as file:
        file.write(_lines(rows))


def _parquet(path: Path, rows: Rows) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    parquet.write_table(arrow.table({"prompt": [text for text, _ in rows], "id": [number for _, number in rows]}), path)


def _chat(path: Path, rows: Rows) -> None:
    def turns(text: str) -> list[dict[str, str]]:
        return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]

    path.write_text("".join(json.dumps({"messages": turns(text), "id": number}) + "\n" for text, number in rows))


WRITERS: dict[str, Callable[[Path, Rows], object]] = {
    "csv": _csv,
    "jsonl": lambda path, rows: path.write_bytes(_lines(rows)),
    "zst": _zst,
    "parquet": _parquet,
    "chat": _chat,
}
EXTENSIONS = {"chat": "jsonl", "zst": "jsonl.zst"}


if __name__ == "__main__":
    main()
