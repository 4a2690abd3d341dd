"""Redraft's own side of the comparisons: the engine's public functions, timed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks import arithmetic, loop
from benchmarks.measure import Stopwatch, peak_memory
from benchmarks.side import busy_core
from benchmarks.work import Ask, Product, TrainingRow, ask, spread, to_request
from engine.constitution.load import load_default
from engine.control import Control
from engine.judges.base import JudgeInput, Verdict
from engine.judges.registry import JudgeParts, make_judge
from engine.models.hub import catalog, embedded
from engine.models.inference.requests import Message, Sampling
from engine.models.nn.decoder import Decoder
from engine.pipeline import chats as messages
from engine.pipeline.model_cache import ModelCache
from engine.prompts.load import load_builtin, load_examples
from engine.settings import RunConfig
from engine.training.config import TrainConfig
from engine.training.data import PairRow, Row, Sampler, SftRow, split
from engine.training.loop import train
from engine.training.objective import objective_for
from engine.training.policy import Completions, Policy

Answer = dict[str, Any]


class Redraft:
    """The engine with one model on the CPU.

    Args:
        model: as `engine.models.local.load_model` takes it.
        dtype: "float32" or "bfloat16"; "" for the machine's faster one.
    """

    def __init__(self, model: str, dtype: str) -> None:
        self._models = ModelCache()
        self._name, self._dtype = model, dtype
        self._model = self._models.get(model, "cpu", dtype)

    def warm(self) -> Answer:
        """Do a little of everything, so that nothing is done for the first time when it is measured. Gives what peers
        need to load and use the same model."""
        self.rows(1, 4)
        self.verdicts(1, "rules+model", 1)
        model, source = self._model, catalog.resolve(self._name)
        gguf = source.path if source.kind == "gguf" else embedded.gguf_file() if source.kind == "embedded" else None
        return {
            "model": model.name,
            "dtype": model.dtype,
            "folder": str(model.folder) if model.folder else "",
            "gguf": str(gguf) if gguf else "",
            "ends": sorted(model.codec.ends),
            "threads": torch.get_num_threads(),
        }

    def texts(self, count: int, tokens: int) -> dict[str, list[Ask]]:
        """The requests of a run's stages on the first training prompts: drafts, critiques of drafts that the model
        wrote, revisions after critiques that it wrote. `tokens` limits each text; 0 takes the presets' lengths."""
        config, constitution = _short(tokens), load_default()
        prompts = load_builtin("train").first(count).prompts
        drafts = self._asks([messages.draft(p.text, p.messages) for p in prompts], config.draft)
        written = self._write(drafts)
        principles = [constitution.principle(p.principle or constitution.ids[0]) for p in prompts]
        critiques = self._asks(
            [
                messages.critique(p.text, text, principle.critiques[0])
                for p, text, principle in zip(prompts, written, principles, strict=True)
            ],
            config.critique,
        )
        said = self._write(critiques)
        revisions = self._asks(
            [
                messages.revision(p.text, text, critique, principle.revisions[0])
                for p, text, critique, principle in zip(prompts, written, said, principles, strict=True)
            ],
            config.revision,
        )
        return {"draft": drafts, "critique": critiques, "revision": revisions}

    def rows(self, count: int, tokens: int) -> list[TrainingRow]:
        """Pairs of two drafts to the same prompt, for training and scoring."""
        prompts = load_builtin("train").first(count).prompts
        chats = [messages.draft(p.text, p.messages) for p in prompts]
        sampling = _short(tokens).draft
        texts = [self._write(self._asks(chats, sampling, seed=seed)) for seed in (1, 1_000_001)]
        found: list[TrainingRow] = []
        for chat, chosen, rejected in zip(chats, *texts, strict=True):
            prompt, good = self._model.encode_pair(chat, chosen)
            _, bad = self._model.encode_pair(chat, rejected)
            if good != bad:
                found.append(TrainingRow(prompt=prompt, chosen=good, rejected=bad))
        return found

    def generate(self, asks: Sequence[Ask], busy: bool = False) -> Answer:
        """All at once; units are the tokens written. With `busy`, beside a process that wants a core."""
        exact = all(wanted["exact"] for wanted in asks)
        codec = dataclasses.replace(self._model.codec, ends=frozenset()) if exact else self._model.codec
        model = dataclasses.replace(self._model, codec=codec)
        requests = [to_request(wanted, str(number)) for number, wanted in enumerate(asks)]
        with _other(busy) as pid, Stopwatch(pid) as watch:
            tokens = sum(completion.tokens for completion in model.generate(requests, Control()))
        return watch.sample(tokens)

    def peak(self, asks: Sequence[Ask]) -> Answer:
        """MB that the process has held at most, after writing these."""
        found = self.generate(asks)
        return {**found, "units": peak_memory() / 1e6, "seconds": 1.0}

    def score(self, rows: Sequence[TrainingRow]) -> Answer:
        """Log-probabilities of the chosen completions, as a DPO reference computes them; units are all tokens."""
        learned = sorted(_rows(rows, "sft"), key=lambda row: row.tokens)
        policy = Policy(self._model.decoder, learn=False)
        with Stopwatch() as watch:
            for part in split(learned, TrainConfig().micro_batch_tokens):
                policy.score([Completions(r.prompt, (r.completion,)) for r in part if isinstance(r, SftRow)])
        return watch.sample(sum(row.tokens for row in learned))

    def train(self, rows: Sequence[TrainingRow], objective: str, batch: int, epochs: int, busy: bool = False) -> Answer:
        """Optimizer steps over the rows `epochs` times and, for DPO, one pass of the reference; units are tokens of
        the rows, the prompt of a pair once."""
        learned = _rows(rows, objective)
        config = TrainConfig(
            objective="sft" if objective == "sft" else "dpo", num_train_epochs=epochs, train_batch_size=batch
        )
        goal, decoder = objective_for(config), self._model.decoder
        with _other(busy) as pid, Stopwatch(pid) as watch:
            with Stopwatch() as reference:
                goal.prepare(Policy(decoder), learned, Control())
            trained = train(decoder, learned, config, objective=goal)
        seconds = trained.seconds + (reference.seconds if objective == "dpo" else 0.0)
        return watch.sample(epochs * sum(row.tokens for row in learned), seconds=seconds)

    def batches(self, rows: Sequence[TrainingRow], objective: str, batch: int) -> list[TrainingRow]:
        """The rows in the order in which training takes them, so that a peer gets the same batches."""
        order = Sampler([row.tokens for row in _rows(rows, objective)], batch, TrainConfig().seed).order(0)
        return [rows[i] for step in sorted(order, key=len, reverse=True) for i in step]

    def _decoder(self) -> Decoder:
        """The decoder, whose products can be counted."""
        assert isinstance(self._model.decoder, Decoder)
        return self._model.decoder

    def training_flop(self, rows: Sequence[TrainingRow], batch: int) -> Answer:
        """As `train` for SFT, with FLOP of the model's matrix products as units, and these products."""
        products = arithmetic.of_training(self._decoder(), _rows(rows, "sft"), batch, TrainConfig().micro_batch_tokens)
        found = self.train(rows, "sft", batch, 1)
        return {**found, "units": sum(p.flop for p in products), "products": [p.to_json() for p in products]}

    def scoring_flop(self, rows: Sequence[TrainingRow]) -> Answer:
        """As `score`, with FLOP of the model's matrix products as units, and these products."""
        products = arithmetic.of_scoring(self._decoder(), rows)
        found = self.score(rows)
        return {**found, "units": sum(p.flop for p in products), "products": [p.to_json() for p in products]}

    def machine(self, products: Sequence[dict[str, float]], seconds: float) -> Answer:
        """The same products alone, as fast as this machine does them; `seconds` are spent on each shape."""
        return arithmetic.machine_rate([Product.of(p) for p in products], self._model.decoder.dtype, seconds)

    def verdicts(self, count: int, judge: str, batch: int) -> Answer:
        """Verdicts on labelled examples, `batch` at a time, as when a person asks for one or a stage for many; units
        are verdicts. With "model" its words, and in `asks` what it was asked, with as many tokens as it wrote."""
        examples = load_examples()
        texts = [JudgeInput(str(i), examples[i].text, "") for i in spread(len(examples), count)]
        words = self._model if judge in ("model", "rules+model") else None
        asked = make_judge(judge, JudgeParts(load_default(), words, self._models.get))
        # A judge is built once for many verdicts; its first one compiles its patterns.
        list(asked.judge([JudgeInput("first", "A text.", "")], Control()))
        found: list[Verdict] = []
        with Stopwatch() as watch:
            for at in range(0, len(texts), batch):
                found += asked.judge(texts[at : at + batch], Control())
        asks = [
            ask(v.request, Sampling(), 0, exact=max(1, self._model.count_tokens(v.response)))
            for v in found
            if v.request
        ]
        return {**watch.sample(len(texts)), "asks": asks}

    def loop(self, sizes: dict[str, Any], each: int) -> Answer:
        """The whole run of the demo preset; see `benchmarks.loop`."""
        return loop.perform_demo(self._models, self._name, self._dtype, sizes, each)

    def _asks(self, chats: Sequence[Sequence[Message]], sampling: Sampling, seed: int = 1) -> list[Ask]:
        return [ask(self._model.render(chat), sampling, seed + number) for number, chat in enumerate(chats)]

    def _write(self, asks: Sequence[Ask]) -> list[str]:
        requests = [to_request(wanted, str(number)) for number, wanted in enumerate(asks)]
        found = {c.key: c.text for c in self._model.generate(requests, Control())}
        return [found[str(number)] for number in range(len(asks))]


@contextmanager
def _other(busy: bool) -> Iterator[tuple[int, ...]]:
    """Gives the processes whose CPU time is ours: the busy one, where there is to be one."""
    if not busy:
        yield ()
        return
    with busy_core() as pid:
        yield (pid,)


def _short(tokens: int) -> RunConfig:
    config = RunConfig()
    if not tokens:
        return config
    return dataclasses.replace(
        config,
        **{
            name: dataclasses.replace(getattr(config, name), max_tokens=tokens)
            for name in ("draft", "critique", "revision", "answer")
        },
    )


def _rows(rows: Sequence[TrainingRow], objective: str) -> list[Row]:
    if objective == "sft":
        return [SftRow(tuple(r["prompt"]), tuple(r["chosen"]), str(i)) for i, r in enumerate(rows)]
    return [PairRow(tuple(r["prompt"]), tuple(r["chosen"]), tuple(r["rejected"]), str(i)) for i, r in enumerate(rows)]
