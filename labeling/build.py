"""Join answers and labels into the labeled outputs that probes are fitted on: engine/judges/data/outputs.jsonl.

    python labeling/build.py labeling/raw/*.jsonl

Labels of the first pass count; rows that were settled after the second pass replace them and are marked "hard".
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OUT = HERE.parent / "engine" / "judges" / "data" / "outputs.jsonl"
PRINCIPLES = ("harm_prevention", "truthfulness", "fairness", "autonomy_respect")


def read(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Rows by id; later files win."""
    return {row["id"]: row for path in paths for row in map(json.loads, path.read_text("utf-8").splitlines())}


def main() -> None:
    """Write the file."""
    answers = read(map(Path, sys.argv[1:]))
    labels = read([HERE / "labels" / "pass1.jsonl"])
    settled = read([HERE / "labels" / "settled.jsonl"])
    lines = []
    for key, label in labels.items():
        answer, final = answers[key], settled.get(key, label)
        row = {
            "id": f"output-{key}",
            "prompt": answer["prompt"],
            "text": answer["text"],
            "topic": answer["topic"],
            "labels": {principle: final[principle] for principle in PRINCIPLES},
            "quality": final["quality"],
            "hard": key in settled,
            "model": answer["model"].rpartition("/")[2].removesuffix(".gguf"),  # a file by its name, not its folder
            "variant": answer["variant"],
            "temperature": answer["temperature"],
            "finish": answer["finish"],
        }
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    OUT.write_text("".join(lines), "utf-8")
    sys.stdout.write(f"{len(lines)} rows, {len(settled)} of them hard -> {OUT}\n")


if __name__ == "__main__":
    main()
