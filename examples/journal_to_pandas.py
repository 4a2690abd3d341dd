"""A run's journal as a pandas table: one row per event. Needs pandas.

    python examples/journal_to_pandas.py [RUN]

docs/journal.md describes the columns of each stage.
"""

from __future__ import annotations

import sys

import pandas as pd

import redraft


def events(run: str = "last") -> pd.DataFrame:
    """One row per event: seq, time, stage, item, summary; `data.*` with numbers, `texts.*` with texts."""
    rows = [
        {
            "seq": event.seq,
            "time": pd.to_datetime(event.time, unit="s", utc=True),
            "stage": event.stage,
            "item": event.item,
            "summary": event.summary,
            **{f"data.{name}": value for name, value in event.data.items()},
            **{f"texts.{name}": text for name, text in event.texts.items()},
        }
        for event in redraft.read_journal(run)
    ]
    return pd.DataFrame(rows).set_index("seq")


def main(run: str = "last") -> None:
    table = events(run)
    print(table["stage"].str.replace(r"\d+(/\d+)?", "N", regex=True).value_counts().to_string())
    steps = table[table["stage"].str.contains(r"^EPOCH-\d+-BATCH-\d+$")]
    if not steps.empty:
        print(steps[["data.loss"]].astype(float).describe().to_string())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except redraft.RedraftError as error:
        sys.exit(str(error))
