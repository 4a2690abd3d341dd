"""Prompt sets, labeled example texts, and loading of the user's own files."""

from engine.prompts.load import (
    BUILTIN,
    PRINCIPLES,
    Example,
    Prompt,
    PromptSet,
    Row,
    RowSet,
    Skipped,
    load_builtin,
    load_examples,
    load_prompts,
    load_rows,
    overlap,
    prompt_hash,
)

__all__ = [
    "BUILTIN",
    "PRINCIPLES",
    "Example",
    "Prompt",
    "PromptSet",
    "Row",
    "RowSet",
    "Skipped",
    "load_builtin",
    "load_examples",
    "load_prompts",
    "load_rows",
    "overlap",
    "prompt_hash",
]
