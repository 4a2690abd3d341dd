"""How long 100,000 rows of prompts take to load and to be freed of duplicates, and the memory they need.

    python -m benchmarks.prompt_loading [ROWS]

Targets: 10 s of one core and 500 MB, the interpreter included.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Print one line of JSON."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    chance = random.Random(1)
    words = [f"w{number}" for number in range(3000)]
    weights = [1 / (number + 1) for number in range(3000)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for number in range(count):
                text = " ".join(chance.choices(words, weights, k=chance.randint(5, 60)))
                row = {"instruction": text, "input": "" if number % 2 else "Some input.", "output": "x", "id": number}
                file.write(json.dumps(row) + "\n")
        size = path.stat().st_size
        from engine.prompts import load_prompts

        wall, cpu = time.perf_counter(), time.process_time()
        loaded = load_prompts(path)
        loading = time.process_time() - cpu
        distinct = loaded.distinct()
        result = {
            "rows": count,
            "file MB": round(size / 1e6, 1),
            "load, CPU s": round(loading, 2),
            "with duplicates, CPU s": round(time.process_time() - cpu, 2),
            "wall s": round(time.perf_counter() - wall, 2),
            "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
            "distinct": len(distinct),
        }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
