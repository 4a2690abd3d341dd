"""docs/journal.md says what the code knows."""

from __future__ import annotations

from pathlib import Path

from engine.events.docs import reference
from engine.events.stages import STAGES

PAGE = Path(__file__).parents[3] / "docs" / "journal.md"


def test_the_page_is_the_one_that_the_code_makes() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run: redraft journal-reference > docs/journal.md"


def test_every_stage_and_every_figure_is_in_it() -> None:
    page = reference()
    for stage in STAGES:
        assert stage.meaning in page
        for keys in stage.data or {}:
            assert all(f"`{key.strip()}`" in page for key in keys.split(","))
