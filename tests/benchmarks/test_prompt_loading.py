"""The benchmark of prompt files measures the same rows in every format."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.prompt_loading import EXTENSIONS, WRITERS, made, measure


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_holds_the_same_duplicates(tmp_path: Path, name: str) -> None:
    if name in ("zst", "parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / f"{name}.{EXTENSIONS.get(name, name)}"
    WRITERS[name](path, list(made(400)))
    found = measure(path)
    assert (found["rows"], found["exact"], found["near"]) == (400, 33, 43)
