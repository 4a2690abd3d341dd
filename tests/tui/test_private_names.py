"""Private names of Textual are used in tui/terminal alone: a new version of it can break one folder only."""

from __future__ import annotations

import ast
from pathlib import Path

TUI = Path(__file__).parents[2] / "tui"

ELSEWHERE = {("border.py", "_labels")}
"""What `label` keeps on a pane: it is not Textual's."""


def test_private_names_of_other_objects_are_used_in_the_terminal_folder_only() -> None:
    found = set()
    for path in TUI.rglob("*.py"):
        if path.is_relative_to(TUI / "terminal"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.startswith("__"):
                continue
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls", "super")):
                found.add((path.name, node.attr))
    own = {"_replace", "_exit"} | {  # public in spite of their names: namedtuple's, and os._exit
        node.name
        for path in TUI.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert {(file, name) for file, name in found if name not in own} == ELSEWHERE


def test_private_modules_of_textual_are_imported_in_the_terminal_folder_only() -> None:
    found = [
        f"{path.name}: {node.module}"
        for path in TUI.rglob("*.py")
        if not path.is_relative_to(TUI / "terminal")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("textual._")
    ]
    assert found == []
