"""Put sampled answers on blind sheets: shuffled rows of `id`, `prompt` and `text`.

    python labeling/sheets.py --most 4

Rows that are on a sheet already stay there: only new rows go on new sheets. Of equal answers to the same prompt one is
taken. The order depends on the seed, the ids, and how many rows were placed before: rows that waited mix with new ones.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).parent

Row = dict[str, str]


def read(paths: Iterable[Path]) -> list[Row]:
    """The rows of JSONL files, with nothing but what a labeler may see."""
    rows: list[Row] = []
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            rows.append({name: record[name] for name in ("id", "prompt", "text")})
    return rows


def new_rows(sampled: Sequence[Row], placed: Sequence[Row], seed: int) -> list[Row]:
    """The rows that are on no sheet yet, shuffled, without equal answers to the same prompt."""
    seen = {(row["prompt"], row["text"].strip()) for row in placed}
    fresh = []
    for row in sorted(sampled, key=lambda row: hashlib.sha256(f"{seed}|{len(placed)}|{row['id']}".encode()).digest()):
        key = row["prompt"], row["text"].strip()
        if key not in seen:
            seen.add(key)
            fresh.append(row)
    return fresh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, default=HERE / "raw", help="folder of sampled answers")
    parser.add_argument("--sheets", type=Path, default=HERE / "sheets", help="folder that the sheets go to")
    parser.add_argument("--size", type=int, default=100, help="rows of a sheet")
    parser.add_argument("--most", type=int, default=0, help="new sheets at most; 0 for no limit")
    parser.add_argument("--rest", action="store_true", help="write a last sheet that is not full, too")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    old = sorted(args.sheets.glob("sheet-*.jsonl"))
    rows = new_rows(read(sorted(args.raw.glob("*.jsonl"))), read(old), args.seed)
    count = -(-len(rows) // args.size) if args.rest else len(rows) // args.size
    if args.most:
        count = min(count, args.most)
    args.sheets.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        part = rows[number * args.size : (number + 1) * args.size]
        path = args.sheets / f"sheet-{len(old) + number + 1:02d}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part), encoding="utf-8")
    waiting = max(0, len(rows) - count * args.size)
    sys.stderr.write(f"{count} new sheets, {len(old) + count} in all; {waiting} rows wait.\n")


if __name__ == "__main__":
    main()
