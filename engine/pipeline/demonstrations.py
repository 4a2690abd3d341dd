"""Demonstrations: written answers that came with the training prompts. They are judged and shown like what the model
wrote, and are what it learns (Ouyang et al. 2022, supervised fine-tuning on demonstrations)."""

from __future__ import annotations

from engine.events.generation import Demonstration
from engine.pipeline.context import Context


def add_demonstrations(context: Context) -> None:
    """Write each training prompt's demonstration as its last candidate; the next stage judges it with the others."""
    number = context.demonstration_number
    for prompt in context.drafted():
        if context.demonstrates(prompt) and (prompt.id, number) not in context.finished.candidates:
            context.record.write(
                Demonstration(
                    item=prompt.id,
                    summary=f"written answer · {len(prompt.demonstration.split())} words",
                    demonstration=prompt.demonstration,
                    candidate=number,
                )
            )
