"""Take the revision candidates of a run out of its journal, as rows of the labeling set.

python labeling/candidates.py --run ~/.local/share/redraft/runs/NAME --out labeling/raw/revisions.jsonl
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from engine.runs.state import CANDIDATE, DRAFT
from labeling.sample import row_id


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run")
    parser.add_argument("--out", type=Path, required=True, help="JSONL file; it is written anew")
    args = parser.parse_args()

    events = [json.loads(line) for line in (args.run / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    config = next(event["data"]["config"] for event in events if event["stage"] == "RUN-START")
    prompts: dict[str, dict[str, str]] = {}
    rows = []
    for event in events:
        item, data = event.get("item", ""), event.get("data", {})
        if event["stage"].startswith("TRAINING-EXAMPLE"):
            prompts[item] = {
                "prompt_id": item,
                "prompt": event["texts"]["prompt"],
                "topic": data["topic"],
                "principle_hint": data["principle"],
            }
        elif event["stage"] in (CANDIDATE, DRAFT) and not data["error"]:
            kind, number = ("draft", 0) if event["stage"] == DRAFT else ("revision", data["candidate"])
            sampling = config[kind]
            rows.append(
                {
                    "id": row_id(f"run-{kind}-{number}", item),
                    **prompts[item],
                    "variant": f"run-{kind}",
                    "model": config["generator"],
                    "adapter": "",
                    "temperature": sampling["temperature"],
                    "seed": config["seed"],
                    "max_tokens": sampling["max_tokens"],
                    "text": event["texts"][kind],
                    "finish": data.get("finish", ""),
                    "tokens": data["tokens"],
                }
            )
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    args.out.write_text("".join(lines), encoding="utf-8")
    sys.stderr.write(f"{len(rows)} texts\n")


if __name__ == "__main__":
    main()
