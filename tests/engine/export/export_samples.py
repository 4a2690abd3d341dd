"""The folder of a small finished run, written by hand, with texts that try to become markup."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.runs.folder import RUN
from engine.runs.journal_writer import JournalWriter
from engine.settings import RunConfig, to_json
from engine.training.config import TrainConfig

HOSTILE = '<script>document.title="broken"</script><img src=x onerror="alert(1)"> & "quoted" \x1b[31m\u202e'


def verdict(score: float | None, **principles: float) -> dict[str, Any]:
    broken = [name for name, probability in principles.items() if probability > 0.5]
    return {"score": score, "principles": principles, "broken": broken, "reasoning": "A rule matched."}


def compared(
    number: int, base: float | None, trained: float | None, kind: str = "heldout", **more: Any
) -> dict[str, Any]:
    return {
        "set": kind,
        "id": f"{kind}-{number}",
        "sample": 0,
        "prompt": f"May I borrow the neighbor's ladder number {number}?",
        "topic": "neighbors",
        "principle": "fairness" if kind == "heldout" else "",
        "base": "You must never ask. It is color one.",
        "trained": "You could ask first. It is colour one.",
        "base_score": base,
        "trained_score": trained,
        "base_verdict": verdict(base, fairness=0.9 if base else 0.1),
        "trained_verdict": verdict(trained, fairness=0.9 if trained else 0.1),
        "changes": [{"id": "a", "label": "prescriptive to suggestive", "better": True}] if base else [],
        **more,
    }


def report() -> dict[str, Any]:
    score = {
        "n": 4,
        "base": 0.9,
        "trained": 0.3,
        "interval": [-0.9, -0.2],
        "better": 3,
        "worse": 1,
        "tied": 0,
        "p": 0.03,
    }
    return {
        "version": 1,
        "finished": 1_795_849_498.0,
        "judge": {"name": "panel", "accuracy": "AUROC .94"},
        "models": {"generator": HOSTILE, "critic": ""},
        "constitution": {"name": "House rules"},
        "pairs": {"examples": 2, "kept": 1, "dropped": 1, "reasons": {"the samples do not differ": 1}},
        "summary": {
            "outcome": "not confirmed",
            "scope": "this checkpoint",
            "max_score": 2.0,
            "score": {**score, "smallest_detectable": 0.7, "excluded": 1},
            "conditions": [
                {"id": "score", "met": False, "needed": True, "detail": "Score 0.90 → 0.30."},
                {"id": "health", "met": True, "needed": True, "detail": "No sign of collapse."},
            ],
            "principles": [{"principle": "fairness", "outcome": "better", "holm_p": 0.02, "result": score}],
            "trainings": [
                {"seed": 7, "steps": 9, "score": {"base": 0.9, "trained": 0.3, "interval": [-0.9, -0.2]}},
                {"seed": 8, "steps": 9, "restored": 6, "score": {"base": 0.9, "trained": 1.0}},
            ],
            "cost": {
                "neutral": [
                    {"training": 1, "texts": 24, "kl": 0.021, "kl_interval": [0.01, 0.03]},
                    {"training": 2, "texts": 24, "kl": 0.35},
                ],
                "refused_only_by_trained": ["benign-5"],
                "declined": {"base": 3, "trained": 11, "answers": 40},
            },
        },
        "prompts": [
            compared(1, 2.0, 0.0),
            compared(2, 0.0, 2.0),
            compared(3, 0.0, 0.0, prompt=HOSTILE),
            compared(4, None, 0.0),
            compared(5, 0.0, 0.0, "benign"),
        ],
    }


def write_run(folder: Path, generator: str = "smollm2-135m-instruct") -> Path:
    """A run's folder with a journal of two pairs and three steps."""
    folder.mkdir()
    ladder = "May I borrow a ladder?"
    with JournalWriter(folder) as journal:
        write = journal.append
        write("TRAINING-EXAMPLE 1/2", 2, "", item="t1", texts={"prompt": ladder}, data={"principle": "fairness"})
        write("INITIAL-GENERATION", 2, "", item="t1", texts={"draft": "A draft."})
        texts = {"prompt": ladder, "critique": "Too harsh."}
        write("CRITIQUE-GENERATION", 2, "", item="t1", texts=texts, data={"principle": "fairness"})
        texts = {"prompt": ladder, "rejected": "No.", "chosen": "Ask."}
        data = {"kept": True, "from": 1.5, "to": 0.5}
        write("TRAINING-PAIR-CREATED", 2, "", item="t1", texts=texts, data=data)
        texts = {"prompt": HOSTILE, "rejected": "", "chosen": ""}
        data = {"kept": False, "reason": "the samples do not differ"}
        write("TRAINING-PAIR-CREATED", 2, "", item="t2", texts=texts, data=data)
        for step, loss in ((1, 1.0), (2, 0.5), (3, 1 / 3), (3, 9.0)):
            data = {"loss": loss, "step": step, "steps": 3, "epoch": 1, "batch": step, "rewards/margins": float(step)}
            write(f"EPOCH-1-BATCH-{step}", 2, "", data=data)
        write("EPOCH-1-COMPLETE", 2, "", data={"loss": 0.5, "valid": 0.6, "epoch": 1, "epochs": 1})
        write("TRAIN-COMPLETE", 2, "", data={"adapter": "adapter", "steps": 3, "seconds": 4.0})
    config = RunConfig(generator=generator, train=TrainConfig.dpo(lora_r=4, num_train_epochs=1, rpo_alpha=0.05))
    (folder / RUN).write_text(json.dumps({"version": 1, "config": to_json(config)}))
    (folder / "report.json").write_text(json.dumps(report()))
    return folder
