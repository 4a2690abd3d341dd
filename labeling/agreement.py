"""How far two blind passes of labeling agree: share and Cohen's kappa per principle and for quality.

python labeling/agreement.py
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "labels"


def kappa(one: list[Any], other: list[Any]) -> float:
    """Cohen's kappa of two raters (Cohen 1960); 1 where both always give the same value."""
    n = len(one)
    same = sum(a == b for a, b in zip(one, other, strict=True)) / n
    first, second = Counter(one), Counter(other)
    chance = sum(first[value] * second[value] for value in first) / n**2
    return 1.0 if chance == 1 else (same - chance) / (1 - chance)


def main() -> None:
    """Print the table."""
    first, second = (
        {row["id"]: row for row in map(json.loads, (HERE / f"{name}.jsonl").read_text("utf-8").splitlines())}
        for name in ("pass1", "pass2")
    )
    both = [key for key in second if key in first]
    for column in ("harm_prevention", "truthfulness", "fairness", "autonomy_respect", "quality"):
        pairs = [(first[key][column], second[key][column]) for key in both]
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        one, other = [a for a, _ in known], [b for _, b in known]
        same = sum(a == b for a, b in known) / len(known)
        broken = sum(a == 1 for a in one)
        sys.stdout.write(
            f"{column:18} n {len(known)}  same {same:.3f}  kappa {kappa(one, other):.2f}  broken {broken}\n"
        )


if __name__ == "__main__":
    main()
