"""docs/journal.md says what the code knows."""

from __future__ import annotations

from pathlib import Path

from engine.events.docs import reference
from engine.events.registry import EVENTS
from engine.events.schema import schema

PAGE = Path(__file__).parents[3] / "docs" / "journal.md"


def test_the_page_is_the_one_that_the_code_makes() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run: redraft journal-reference > docs/journal.md"


def test_every_stage_and_every_member_is_in_it() -> None:
    page = reference()
    for cls in EVENTS:
        known = schema(cls)
        section = page[page.index(" ".join((cls.__doc__ or "").split())) :]
        for member in (*known.texts, *known.raw, *known.data):
            assert f"`{member.where}` `{member.key}` |" in section
            assert member.doc.replace("|", "\\|") in section
