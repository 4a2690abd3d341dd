"""The documentation names files that exist, and links to pages and headings that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOP = ("engine", "tui", "themes", "tests", "docs", "examples", "scripts", "benchmarks", ".github", ".ci")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
"""docs/log is left out: it is a record, and names files of its time."""

_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def named_paths(text: str) -> Iterator[str]:
    """What is written in backticks and starts with one of the project's folders: `tui/app.py`, `docs/*.md`."""
    for span in _CODE.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        for word in span.split():
            path = word.rstrip(".,:;")
            if path.split("/")[0] in TOP and "/" in path and "://" not in path:
                yield path


def anchors(page: Path) -> set[str]:
    """The ids that GitHub and MkDocs give to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_in_backticks_exists(page: Path) -> None:
    named = [path for path in named_paths(page.read_text(encoding="utf-8")) if page.name != "CHANGELOG.md"]
    missing = [path for path in named if not any(ROOT.glob(path.rstrip("/")))]
    assert not missing


@pytest.mark.parametrize(
    "page", [*PAGES, *sorted((ROOT / "docs/log").glob("*.md"))], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(re.sub(r"`[^`\n]*`", "", page.read_text(encoding="utf-8"))):
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        if "://" in link or link.startswith("mailto:"):
            continue
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_the_site_shows_every_page() -> None:
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")]
    assert not [str(page) for page in pages if f": {page}\n" not in listed]


def test_the_contributing_table_names_the_places_to_start() -> None:
    walk = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tasks = "a judge|an objective|a model family|a key|a pane|a command|a setting|what a stage asks|a stage's event"
    for task in tasks.split("|"):
        row = next(line for line in walk.split("\n") if line.startswith("| ") and task in line)
        assert list(named_paths(row)), task
