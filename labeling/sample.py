"""Sample answers to the labeling prompts, by the code that a run uses.

    python labeling/sample.py --out labeling/raw/base-t07.jsonl --variant base-t07 --temperature 0.7

Answers are written in batches, and each batch is on the disk before the next begins. Started again, the script
continues with what is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.control import Control
from engine.models.hub.adapter import load as load_adapter
from engine.models.inference.requests import Completion, Request, Sampling
from engine.models.local import LocalModel, load_model
from engine.pipeline import chats
from engine.prompts.load import Prompt, load_prompts

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Variant:
    """What wrote the answers of one file: its name, the model, the adapter's folder if any, and the sampling."""

    name: str
    model: str
    adapter: str
    sampling: Sampling
    seed: int


def row_id(variant: str, prompt_id: str) -> str:
    """The id of an answer. It is a hash, so that a labeler cannot read the model from it."""
    return hashlib.sha256(f"{variant}|{prompt_id}".encode()).hexdigest()[:12]


def choose(prompts: Sequence[Prompt], count: int, seed: int) -> list[Prompt]:
    """`count` of the prompts, spread over principles and topics by a hash; all of them where count is 0."""
    order = sorted(prompts, key=lambda prompt: hashlib.sha256(f"{seed}|{prompt.id}".encode()).digest())
    return order[: count or None]


def answers(model: LocalModel, prompts: Sequence[Prompt], variant: Variant) -> Iterator[Completion]:
    """Each answer as it ends; the seed of each depends on the variant's seed and on the prompt's id alone."""
    requests = []
    for prompt in prompts:
        digest = hashlib.sha256(f"{variant.seed}|{prompt.id}".encode()).digest()
        text = model.render(chats.draft(prompt.text))
        requests.append(Request(prompt.id, text, variant.sampling, int.from_bytes(digest[:8], "big") >> 1))
    yield from model.generate(requests, Control())


def row(prompt: Prompt, completion: Completion, variant: Variant) -> dict[str, object]:
    """One line of the file."""
    return {
        "id": row_id(variant.name, prompt.id),
        "prompt_id": prompt.id,
        "prompt": prompt.text,
        "topic": prompt.topic,
        "principle_hint": prompt.principle,
        "variant": variant.name,
        "model": variant.model,
        "adapter": variant.adapter,
        "temperature": variant.sampling.temperature,
        "seed": variant.seed,
        "max_tokens": variant.sampling.max_tokens,
        "text": completion.text,
        "finish": completion.finish,
        "tokens": completion.tokens,
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSONL file; rows are added to it")
    parser.add_argument("--variant", required=True, help="name of this part; goes into every id")
    parser.add_argument("--prompts", type=Path, default=HERE / "prompts.jsonl")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="name, hub id, folder or GGUF file")
    parser.add_argument("--adapter", default="", help="folder of an adapter that is merged into the model")
    parser.add_argument("--dtype", default="", help="float32 or bfloat16; measured if not given")
    parser.add_argument("--temperature", type=float, default=0.7, help="0 is greedy")
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--top-k", type=int, default=0)
    parser.add_argument("--repetition-penalty", type=float, default=1.0, help="1 for none")
    parser.add_argument("--max-tokens", type=int, default=104)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=0, help="how many prompts; 0 for all")
    parser.add_argument("--subset-seed", type=int, default=0, help="which prompts, where not all")
    parser.add_argument("--batch", type=int, default=64, help="answers asked for at a time")
    parser.add_argument("--seconds", type=float, default=0, help="start no batch after this long; 0 for no limit")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse()
    sampling = Sampling(
        args.max_tokens,
        args.temperature,
        args.top_k,
        args.top_p,
        repetition_penalty=args.repetition_penalty,
    )
    variant = Variant(args.variant, args.model, args.adapter, sampling, args.seed)
    done = set()
    if args.out.exists():
        done = {json.loads(line)["prompt_id"] for line in args.out.read_text(encoding="utf-8").splitlines()}
    chosen = choose(load_prompts(args.prompts).prompts, args.count, args.subset_seed)
    left = [prompt for prompt in chosen if prompt.id not in done]
    began = time.monotonic()
    model = load_model(args.model, dtype=args.dtype)
    if args.adapter:
        model = model.with_adapter(load_adapter(Path(args.adapter)), args.variant)
    loaded = time.monotonic()
    tokens = written = 0
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(left), args.batch):
        if args.seconds and time.monotonic() - began > args.seconds:
            break
        batch = {prompt.id: prompt for prompt in left[start : start + args.batch]}
        completions = list(answers(model, list(batch.values()), variant))
        with args.out.open("a", encoding="utf-8") as file:
            for completion in completions:
                line = json.dumps(row(batch[completion.key], completion, variant), ensure_ascii=False)
                file.write(line + "\n")
        tokens += sum(completion.tokens for completion in completions)
        written += len(completions)
        took = time.monotonic() - loaded
        sys.stderr.write(f"{variant.name}: {written}/{len(left)} in {took:.0f} s, {tokens / took:.0f} tokens/s\n")
    sys.stderr.write(
        f"{variant.name}: loaded in {loaded - began:.1f} s, {written} answers of {tokens} tokens in "
        f"{time.monotonic() - loaded:.1f} s\n"
    )


if __name__ == "__main__":
    main()
