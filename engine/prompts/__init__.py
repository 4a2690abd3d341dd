"""Prompt sets, labelled example texts, and loading of a person's own files."""

from engine.prompts.load import (
    BUILTIN,
    PRINCIPLES,
    Example,
    Prompt,
    PromptSet,
    Row,
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
    "load_builtin",
    "load_examples",
    "load_prompts",
    "load_rows",
    "overlap",
    "prompt_hash",
]
