"""Write the sample journal of a release: `python tests/engine/runs/samples/write_sample.py 0.2`, once per release.

A tiny run with every stage of the method, on a random model; what names this machine is replaced.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[3]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]


def main(version: str) -> None:
    from conftest import _write_tiny
    from tiny_run import LETTERS, constitution, tiny_config

    from engine.control import Control
    from engine.events.codec import encode
    from engine.pipeline.runner import perform
    from engine.runs.journal_reader import read
    from engine.training.config import TrainConfig

    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        os.environ["REDRAFT_HOME"] = str(home / "home")
        model, rules = home / "tiny", home / "plain.toml"
        rules.write_text(constitution(LETTERS))
        _write_tiny(model, "llama", {"max_position_embeddings": 8192})
        train = TrainConfig.sft(num_train_epochs=1, train_batch_size=4, sample_steps=1)
        config = tiny_config(lambda *_, **__: model, rules, n_train=3, n_heldout=1, n_benign=1, train=train)
        records = list(read(perform(config, home / "run", Control())))

    def anonymous(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: anonymous(one) for key, one in value.items()}
        return value.replace(f"{place}/", "") if isinstance(value, str) else value

    lines = []
    for record in records:
        data = anonymous(dict(record.data))
        if "machine" in data:
            data["machine"] = {"cores": 2, "system": "Linux x86_64", "memory": 8_000_000_000}
        # 2025-01-01, to the millisecond.
        time = 1_735_689_600.0 + round(record.time - records[0].time, 3)
        lines.append(encode(dataclasses.replace(record, data=data, summary=anonymous(record.summary), time=time)))
    Path(__file__).with_name(f"journal-{version}.jsonl").write_bytes(b"".join(lines))


if __name__ == "__main__":
    main(sys.argv[1])
