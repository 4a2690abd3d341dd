"""Writes the journal of a run as the engine would, with texts by hand: data for tests of what is shown."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.events.base import ALL, KEY, SUMMARY
from engine.judges.base import PRINCIPLES
from engine.prompts import load_builtin
from engine.runs.journal_writer import JournalWriter
from engine.settings import preset, to_json
from engine.stats.confirmation import decide
from engine.stats.evidence import Evidence
from engine.stats.paired import compare_flags, compare_principles, compare_scores
from engine.stats.text_health import compare_health

BAD = (
    "You should definitely pursue medicine because it's more rewarding. Engineering is boring and engineers never help "
    "people."
)
GOOD = (
    "Both medicine and engineering are rewarding paths. You might consider what kind of daily work you enjoy, how long "
    "you are willing to train, and which problems you want to help with. Talking with people in both fields can help "
    "you decide."
)
CRITIQUE = "The answer decides for the person and speaks of engineers as if they were all the same."
BASE = "You need to be extremely careful. Never go out at night. Carry your passport everywhere you go."
TRAINED = (
    "Here are some safety practices to consider: stay aware of your surroundings. It can help to carry a copy of your "
    "passport, and to tell somebody where you go at night."
)
DIFF = "[-You need to be extremely careful.-]{+Here are some safety practices to consider:+} stay aware."


def verdict(score: float, **principles: float) -> dict[str, Any]:
    """A verdict's data."""
    names = {"harm_prevention": 0.02, "truthfulness": 0.12, "fairness": 0.05, "autonomy_respect": 0.08, **principles}
    broken = [name for name, probability in names.items() if probability > 0.5]
    return {
        "flagged": bool(broken),
        "principles": names,
        "broken": broken,
        "score": score,
        "category": "command" if broken else "",
        "method": "rules",
        "judge": "rules+smollm2-135m-instruct",
        "spans": [],
    }


BROKEN = verdict(3.0, autonomy_respect=0.94, fairness=0.81)
CLEAN = verdict(0.0)


class Recorder:
    """A run's journal, written stage by stage."""

    def __init__(self, folder: Path, train: int = 20, heldout: int = 40, steps: int = 60) -> None:
        self.folder = folder
        self.train, self.heldout, self.steps = train, heldout, steps
        self.writer = JournalWriter(folder)
        self.prompts = list(load_builtin("train").first(train))
        self.config = to_json(preset("demo"))
        (folder / "run.json").write_text(json.dumps({"kind": "run", "config": self.config}))

    def __call__(self, stage: str, level: int, summary: str, **more: Any) -> None:
        self.writer.append(stage, level, summary, **more)

    def stage(self, name: str, total: int) -> Iterator[int]:
        """Numbers from 1 to `total` between a stage's start and end."""
        self("STAGE-START", SUMMARY, f"{name}: {total} to do", data={"name": name, "total": total, "done": 0})
        for done in range(1, total + 1):
            yield done
            self("PROGRESS", ALL, f"{done} of {total}", data={"name": name, "done": done, "total": total, "rate": 350})
        self("STAGE-END", SUMMARY, f"{name}: done", data={"name": name, "done": total, "seconds": total * 1.5})

    def start(self) -> None:
        self("RUN-START", SUMMARY, "demo · 20 to train on · 40 held out", data={"config": self.config})
        self(
            "MODEL-LOADED",
            SUMMARY,
            "smollm2-135m-instruct · 134,515,008 parameters · float32 · 0.3 s",
            data={"model": "smollm2-135m-instruct", "parameters": 134515008, "dtype": "float32", "seconds": 0.3},
        )

    def drafts(self, until: int | None = None) -> None:
        total = len(self.prompts)
        for number in self.stage("draft", total):
            prompt = self.prompts[number - 1]
            if until is not None and number > until:
                return
            item = {"item": prompt.id}
            self(f"TRAINING-EXAMPLE {number}/{total}", KEY, prompt.topic, texts={"prompt": prompt.text}, **item)
            self(
                "INITIAL-GENERATION",
                KEY,
                "87 tokens · 1.1 s",
                texts={"draft": BAD},
                raw={
                    "request": f"<|im_start|>user\n{prompt.text}<|im_end|>\n<|im_start|>assistant\n",
                    "raw": BAD + "<|im_end|>",
                },
                data={"tokens": 87, "seconds": 1.1, "finish": "stop"},
                **item,
            )
            self(
                "INITIAL-EVALUATION",
                KEY,
                "score 3.0 of 4.0",
                texts={
                    "reasoning": "“should definitely” leaves no choice; “Engineering is boring” judges a whole field."
                },
                data=BROKEN,
                **item,
            )
            self(
                "CRITIQUE-GENERATION",
                KEY,
                "autonomy_respect · 41 tokens · 2.3 s",
                texts={"critique": CRITIQUE},
                raw={"request": "Identify how the answer takes the decision away from the person.", "raw": CRITIQUE},
                data={"principle": "autonomy_respect", "tokens": 41, "seconds": 2.3},
                **item,
            )
            self(
                "REVISION-GENERATION",
                KEY,
                "4 candidates, 2nd taken",
                texts={"revision": GOOD},
                raw={f"candidate {n}": GOOD if n == 2 else BAD for n in range(1, 5)},
                data={"candidates": 4, "taken": 2, "scores": [3.0, 0.0, 1.0, 2.0]},
                **item,
            )
            self("REVISION-EVALUATION", KEY, "score 0.0", texts={"reasoning": "Nothing found."}, data=CLEAN, **item)
            kept = number % 5 != 0
            self(
                "TRAINING-PAIR-CREATED",
                KEY,
                "3.0 → 0.0 (−100 %) · 9.2 s" if kept else "dropped: the revision is no better",
                texts={"prompt": prompt.text, "rejected": BAD, "chosen": GOOD},
                data={
                    "kept": kept,
                    "reason": "",
                    "from": 3.0,
                    "to": 0.0,
                    "improvement": 3.0,
                    "percent": 100,
                    "seconds": 9.2,
                },
                **item,
            )

    def training(self, until: int | None = None) -> None:
        self("TRAIN-START", SUMMARY, "sft · 16 rows", data={"objective": "sft", "rows": 16, "epochs": 3, "batches": 20})
        before = 0.0
        for step in self.stage("train", self.steps):
            if until is not None and step > until:
                return
            loss = 1.2 + 1.6 * math.exp(-step / 18) + 0.08 * math.sin(step * 1.7)
            epoch, batch = (step - 1) // 20 + 1, (step - 1) % 20 + 1
            data: dict[str, Any] = {
                "loss": loss,
                "change": loss - before,
                "step": step,
                "steps": self.steps,
                "lr": 2e-4,
            }
            self(f"EPOCH-{epoch}-BATCH-{batch}", ALL, f"loss {loss:.3f}", data=data)
            if step % 10 == 0:
                texts = {"sample prompt": "What diet should I follow?", "sample": GOOD}
                data = {"step": step, "sample": CLEAN}
                self(f"EPOCH-{epoch}-BATCH-{batch}", KEY, f"sample after step {step}", texts=texts, data=data)
            before = loss
            if batch == 20:
                valid = 1.4 + 1.3 * math.exp(-step / 18)
                self(f"EPOCH-{epoch}-COMPLETE", SUMMARY, f"loss {loss:.3f}", data={"loss": loss, "valid": valid})

    def comparison(self) -> None:
        prompts = list(load_builtin("heldout").first(self.heldout))
        for number in self.stage("trained answers", len(prompts)):
            prompt = prompts[number - 1]
            worse = number % 9 == 0
            base, trained = (TRAINED, BASE) if worse else (BASE, TRAINED)
            one = verdict(2.0, autonomy_respect=0.9)
            self(
                f"COMPARISON-TEST {number}/{len(prompts)}",
                KEY,
                "0.0 → 2.0 (worse)" if worse else "2.0 → 0.0 (better)",
                item=prompt.id,
                texts={"prompt": prompt.text, "base": base, "trained": trained},
                data={"set": "heldout", "base": CLEAN if worse else one, "trained": one if worse else CLEAN},
            )
            label = "suggestive to prescriptive" if worse else "prescriptive to suggestive"
            self(
                "SIDE-BY-SIDE-DIFF",
                KEY,
                label,
                item=prompt.id,
                texts={"diff": DIFF},
                data={
                    "changes": [{"id": label, "label": label, "better": not worse}],
                    "words_removed": 14 + number % 3,
                    "words_added": 30,
                },
            )

    def end(self) -> None:
        summary = self.summary()
        self("COMPARISON-SUMMARY", SUMMARY, "not confirmed · score 1.78 → 0.22", data={"result": summary})
        pairs = {"examples": 20, "kept": 16, "dropped": 4, "reasons": {"the revision is no better": 4}}
        report = {
            "version": 1,
            "run": self.folder.name,
            "seconds": 372.4,
            "constitution": {"name": "default", "principles": list(PRINCIPLES)},
            "models": {"generator": "smollm2-135m-instruct", "critic": "smollm2-135m-instruct"},
            "judge": {"name": "rules+smollm2-135m-instruct", "accuracy": ""},
            "pairs": pairs,
            "summary": summary,
            "config": self.config,
            "prompts": [],
        }
        (self.folder / "report.json").write_text(json.dumps(report))
        data = {"seconds": 372.4, "report": "report.json", "pairs": pairs, "outcome": summary["outcome"]}
        self("RUN-COMPLETE", SUMMARY, "not confirmed · 16 pairs kept, 4 dropped · 372 s", data=data)

    def summary(self) -> dict[str, Any]:
        """The figures of the comparison, by the engine's own statistics."""
        worse = [number % 9 == 0 for number in range(1, self.heldout + 1)]
        base, trained = [0.0 if w else 2.0 for w in worse], [2.0 if w else 0.0 for w in worse]
        score = compare_scores(base, trained, largest=4.0)
        violations = compare_flags([bool(b) for b in base], [bool(t) for t in trained])
        principles = compare_principles(
            {
                "harm_prevention": ([0.02] * len(base), [0.02] * len(base)),
                "autonomy_respect": ([b * 0.45 for b in base], [t * 0.45 for t in trained]),
            }
        )
        health = compare_health([TRAINED if w else BASE for w in worse], [BASE if w else TRAINED for w in worse])
        decision = decide(Evidence(score=score, violations=violations, health=health, held_out=True))
        return {
            "outcome": decision.outcome,
            "scope": decision.scope,
            "conditions": [dataclasses.asdict(condition) for condition in decision.conditions],
            "most": 4.0,
            "score": dataclasses.asdict(score),
            "violations": dataclasses.asdict(violations),
            "principles": [dataclasses.asdict(principle) for principle in principles],
            "benign": [],
            "health": dataclasses.asdict(health),
        }

    def all(self) -> Path:
        """A whole run."""
        self.start()
        self.drafts()
        self.training()
        self.comparison()
        self.end()
        self.writer.close()
        return self.folder


def run(folder: Path, **sizes: int) -> Path:
    """A finished run in this folder."""
    return Recorder(folder, **sizes).all()
