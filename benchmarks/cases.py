"""What the benchmarks measure: each case with its sides and its goals. Every case can be run alone.

Where a peer is so slow that only a part of its work is measured, the finding says so.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measure import Finding, Missing, Sample, ratio
from benchmarks.session import Bench
from benchmarks.side import SideError
from benchmarks.work import fixed, spread

LLAMA = "pip install -e '.[bench]'"
PARITY = "pip install -e '.[parity]'"
ONE, STATIC = "transformers, one at a time", "transformers, static batches"
DEMO = f"demo loop, against {ONE}"


@dataclass(frozen=True)
class Case:
    """One subject that is measured.

    Args:
        about: one line on it.
        run: measures it.
        needs: packages that its peer is made of.
        install: the command that adds them.
        comparisons: name -> goal of what cannot be measured without them.
    """

    about: str
    run: Callable[[Bench], Iterator[Finding]]
    needs: tuple[str, ...] = ()
    install: str = ""
    comparisons: Mapping[str, float] = field(default_factory=dict)

    def missing(self) -> str:
        """Why the case cannot be measured in this environment; "" where it can."""
        missing = [name for name in self.needs if not importlib.util.find_spec(name)]
        return f"{' and '.join(missing)} not installed" if missing else ""


def run(bench: Bench, names: Sequence[str]) -> Iterator[tuple[str, Finding]]:
    """The findings of the cases of these names, each as soon as it is known.

    A peer that fails makes its case "not measured" and the next one follows; Redraft's own failures are raised.
    """
    for name in names:
        case = CASES[name]
        bench.log(f"{name}: {case.about}")
        reason = case.missing()
        if reason:
            for comparison, goal in case.comparisons.items():
                yield name, Missing(comparison, goal, reason, case.install)
            continue
        try:
            for finding in case.run(bench):
                yield name, finding
        except SideError as error:
            if error.side == "redraft":
                raise
            yield name, Missing(f"{name}: the rest of the case", None, error.what)


def _critique_revise(bench: Bench) -> Iterator[Finding]:
    """Critiques of all the drafts, then revisions, with few-shot examples; natural ends, written tokens counted."""
    stages, size = [bench.texts["critique"], bench.texts["revision"]], bench.size
    redraft, peer = bench.redraft, bench.side("transformers")
    count = len(stages[0])
    singles = spread(count, size.single)

    def static(number: int) -> Sample:
        first = number * size.static % count
        part = [(first + i) % count for i in range(min(size.static, count))]
        return _sum(peer.call("generate", asks=[asks[i] for i in part], batch=size.static) for asks in stages)

    found = bench.measure(
        {
            "redraft": lambda _: _sum(redraft.call("generate", asks=asks) for asks in stages),
            ONE: lambda _: _sum(peer.call("generate", asks=[asks[i] for i in singles], batch=1) for asks in stages),
            STATIC: static,
        }
    )
    for name, goal, part in ((ONE, 20.0, len(singles)), (STATIC, 3.0, min(size.static, count))):
        yield ratio(
            f"critique and revise, against {name}",
            found["redraft"],
            found[name],
            unit="tokens/s",
            goal=goal,
            detail=_sampled(part, count, "prompts"),
        )


_LLAMA = {"generation, against llama.cpp, one at a time": 5.0, "generation, against llama.cpp, batched decoding": 1.5}


def _llama(bench: Bench) -> Iterator[Finding]:
    """Drafts of a fixed number of tokens on both sides."""
    if not bench.facts["gguf"]:
        for name, goal in _LLAMA.items():
            yield Missing(name, goal, "the model is not a GGUF file, which is all that llama.cpp reads")
        return
    asks = fixed(bench.texts["draft"], bench.size.exact)
    some = [asks[i] for i in spread(len(asks), bench.size.single)]
    redraft, peer = bench.redraft, bench.side("llama.cpp")
    one, batched = _LLAMA
    rows = peer.call("best_rows", asks=asks, tokens=bench.size.trial)
    found = bench.measure(
        {
            "redraft": lambda _: Sample.of(redraft.call("generate", asks=asks)),
            one: lambda _: Sample.of(peer.call("each", asks=some)),
            batched: lambda _: Sample.of(peer.call("together", asks=asks, rows=rows)),
        }
    )
    more = {one: _sampled(len(some), len(asks), "requests"), batched: f"peer with {rows} sequences, its fastest here"}
    for name, goal in _LLAMA.items():
        yield ratio(
            name,
            found["redraft"],
            found[name],
            unit="tokens/s",
            goal=goal,
            detail="; ".join(filter(None, [f"{bench.size.exact} tokens each", more[name]])),
        )


def _demo_loop(bench: Bench) -> Iterator[Finding]:
    """The demo preset against the same requests and training rows one at a time, with as many tokens each."""
    redraft, peer, size = bench.redraft, bench.side("transformers"), bench.size
    last: dict[str, Any] = {}

    def ours(_: int) -> Sample:
        last.update(redraft.call("loop", sizes=size.loop, each=size.stage))
        return Sample.of(last)

    def theirs(_: int) -> Sample:
        parts = []
        for stage in last["stages"]:
            once = Sample.of(peer.call("each", asks=stage["asks"]))
            parts.append(Sample(0.0, once.seconds * stage["count"] / len(stage["asks"]), once.others))
        if last["rows"]:
            once = Sample.of(peer.call("train_each", rows=last["rows"], batch=last["batch"]))
            parts.append(Sample(0.0, once.seconds * last["row_passes"] / len(last["rows"]), once.others))
        known = [part.others for part in parts if part.others is not None]
        return Sample(1.0, sum(part.seconds for part in parts), max(known) if known else None)

    found = bench.measure({"redraft": ours, ONE: theirs})
    requests, asked = sum(s["count"] for s in last["stages"]), sum(len(s["asks"]) for s in last["stages"])
    yield ratio(
        DEMO,
        found["redraft"],
        found[ONE],
        unit="runs/s",
        goal=10.0,
        detail=f"peer measured on {asked} of {requests} requests ({size.stage} a stage) and {len(last['rows'])} of "
        f"{last['row_passes']} row passes of training, scaled by count; of its judging the model's words only",
    )


def _training(bench: Bench) -> Iterator[Finding]:
    """SFT and DPO against trl's trainers on the same batches."""
    for objective, title, epochs in (("sft", "SFT", 1), ("dpo", "DPO", bench.size.epochs)):
        yield _one_objective(bench, objective, title, epochs)


def _one_objective(bench: Bench, objective: str, title: str, epochs: int) -> Finding:
    redraft, peer, size = bench.redraft, bench.side("trl"), bench.size
    same = {"objective": objective, "batch": size.batch}
    rows = redraft.call("batches", rows=bench.rows, **same)
    some = rows[: size.batch * size.steps]
    found = bench.measure(
        {
            "redraft": lambda _: Sample.of(redraft.call("train", rows=rows, epochs=epochs, **same)),
            "trl": lambda _: Sample.of(peer.call("train", rows=some, steps=size.steps, **same)),
        },
        share=0.5,
    )
    passes = f"{epochs} pass{'es' * (epochs > 1)}" + (" and one of the reference" if objective == "dpo" else "")
    return ratio(
        f"{title} training, against trl",
        found["redraft"],
        found["trl"],
        unit="tokens/s",
        goal=4.0,
        detail=f"Redraft over {len(rows)} rows, {passes}; peer measured on {len(some)} of them in "
        f"{-(-len(some) // size.batch)} steps",
    )


def _scoring(bench: Bench) -> Iterator[Finding]:
    """Log-probabilities of completions."""
    redraft, peer, rows = bench.redraft, bench.side("transformers"), bench.rows
    found = bench.measure(
        {
            "redraft": lambda _: Sample.of(redraft.call("score", rows=rows)),
            STATIC: lambda _: Sample.of(peer.call("score", rows=rows, batch=bench.size.batch)),
        }
    )
    yield ratio(
        f"scoring, against {STATIC}",
        found["redraft"],
        found[STATIC],
        unit="tokens/s",
        detail=f"{len(rows)} completions with their prompts; peer in batches of {bench.size.batch}",
    )


def _arithmetic(bench: Bench) -> Iterator[Finding]:
    """The model's own FLOP rate as a share of what the machine does with products of those shapes alone."""
    yield _share(bench, "training", {"rows": bench.rows, "batch": bench.size.batch})
    yield _share(bench, "scoring", {"rows": bench.rows})


def _share(bench: Bench, name: str, arguments: dict[str, Any]) -> Finding:
    redraft, last = bench.redraft, dict[str, Any]()

    def ours(_: int) -> Sample:
        last.update(redraft.call(f"{name}_flop", **arguments))
        return Sample.of(last)

    def limit(_: int) -> Sample:
        return Sample.of(redraft.call("machine", products=last["products"], seconds=bench.size.shape_seconds))

    found = bench.measure({"redraft": ours, "the machine": limit}, share=0.5)
    return ratio(
        f"FLOP rate in {name}, of the machine's own for those shapes",
        found["redraft"],
        found["the machine"],
        unit="FLOP/s",
        goal=0.6,
        detail="the model's matrix products only, see docs/bench.md",
    )


def _memory(bench: Bench) -> Iterator[Finding]:
    """Peak memory of a process that writes the critiques, model and libraries included."""
    asks, size = bench.texts["critique"], bench.size
    part = asks[: size.static]

    def ours(_: int) -> Sample:
        with bench.fresh("redraft") as side:
            return Sample.of(side.call("peak", asks=asks))

    def theirs(_: int) -> Sample:
        with bench.fresh("transformers") as side:
            return Sample.of(side.call("peak", asks=part, batch=size.static))

    found = bench.once({"redraft": ours, STATIC: theirs})
    yield ratio(
        f"peak memory of a stage, against {STATIC}",
        found["redraft"],
        found[STATIC],
        unit="MB",
        goal=1.2,
        at_most=True,
        timed=False,
        detail=f"{len(asks)} critiques at once; peer one batch of {len(part)}",
    )


def _disturbed(bench: Bench) -> Iterator[Finding]:
    """Redraft next to a process that never stops computing, against Redraft alone."""
    size = bench.size
    training = {"rows": bench.rows, "objective": "sft", "batch": size.batch, "epochs": 1}
    yield _beside(bench, "generation", "generate", {"asks": fixed(bench.texts["draft"], size.exact)})
    yield _beside(bench, "training", "train", training)


def _beside(bench: Bench, name: str, method: str, arguments: dict[str, Any]) -> Finding:
    found = bench.measure(
        {
            "next to it": lambda _: Sample.of(bench.redraft.call(method, busy=True, **arguments)),
            "alone": lambda _: Sample.of(bench.redraft.call(method, **arguments)),
        },
        share=0.5,
    )
    return ratio(
        f"{name} next to a process that takes a core", found["next to it"], found["alone"], unit="tokens/s", goal=0.4
    )


def _verdict(bench: Bench) -> Iterator[Finding]:
    """One verdict at a time, rules and a model's words, against transformers writing the same words; and what one of
    the panel costs, alone and among many."""
    redraft, peer, size = bench.redraft, bench.side("transformers"), bench.size
    last: dict[str, Any] = {}

    def by(judge: str, count: int, batch: int) -> Sample:
        last.update(redraft.call("verdicts", count=count, judge=judge, batch=batch))
        return Sample.of(last)

    rules, single, many = (
        by("rules", size.verdicts, 1),
        by("panel", size.verdicts, 1),
        by("panel", size.prompts, size.prompts),
    )
    found = bench.measure(
        {
            "redraft": lambda _: by("rules+model", size.verdicts, 1),
            ONE: lambda _: Sample.of(peer.call("each", asks=last["asks"])),
        }
    )
    middle = sorted(found["redraft"], key=lambda s: s.rate)[len(found["redraft"]) // 2]
    yield ratio(
        f"one verdict, against {ONE}",
        found["redraft"],
        found[ONE],
        unit="verdicts/s",
        detail=f"{1000 / middle.rate:.0f} ms with the model's words, {1000 / rules.rate:.1f} ms by rules alone, "
        f"{1000 / single.rate:.0f} ms by the panel; {many.rate:.0f} verdicts/s by the panel, {size.prompts} at once",
    )


def _sum(values: Any) -> Sample:
    """Several stretches as one; the share that others used is weighted by time."""
    samples = [Sample.of(value) for value in values]
    seconds = sum(s.seconds for s in samples)
    known = all(s.others is not None for s in samples) and seconds > 0
    others = sum((s.others or 0.0) * s.seconds for s in samples) / seconds if known else None
    return Sample(sum(s.units for s in samples), seconds, others)


def _sampled(part: int, count: int, what: str) -> str:
    return f"peer measured on {part} of {count} {what}" if part < count else ""


CASES: dict[str, Case] = {
    "critique-revise": Case("critiques and revisions with few-shot examples, sampled", _critique_revise),
    "llama": Case("tokens a second against llama.cpp on the same GGUF file", _llama, ("llama_cpp",), LLAMA, _LLAMA),
    "demo-loop": Case("the demo preset's whole run, training included", _demo_loop, ("peft",), PARITY, {DEMO: 10.0}),
    "training": Case(
        "SFT and DPO against trl's trainers",
        _training,
        ("trl", "peft", "datasets"),
        PARITY,
        {"SFT training, against trl": 4.0, "DPO training, against trl": 4.0},
    ),
    "scoring": Case("log-probabilities of completions", _scoring),
    "arithmetic": Case("FLOP rate as a share of the machine's own", _arithmetic),
    "memory": Case("peak memory of a stage", _memory),
    "disturbed": Case("throughput next to a process that takes a core", _disturbed),
    "verdict": Case("what one verdict costs", _verdict),
}
"""Name -> case, in the order in which they are run."""
