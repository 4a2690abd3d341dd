"""Train on the kept pairs of a run again with other settings, for instance a learning rate that ruins the model.

python labeling/retrain.py --pairs RUN/pairs.jsonl --out adapters/collapsed --learning-rate 1e-2
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from engine.models.local import load_model
from engine.pipeline import chats
from engine.training.config import TrainConfig
from engine.training.data import PairRow, fit
from engine.training.loop import train
from engine.training.lora import save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True, help="pairs.jsonl of a run")
    parser.add_argument("--out", type=Path, required=True, help="folder of the adapter")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--most", type=int, default=0, help="pairs to learn from; 0 for all")
    args = parser.parse_args()

    model = load_model(args.model)
    rows = []
    for line in args.pairs.read_text(encoding="utf-8").splitlines()[: args.most or None]:
        pair = json.loads(line)
        chat = chats.draft(pair["prompt"])
        prompt, chosen = model.encode_pair(chat, pair["chosen"])
        _, rejected = model.encode_pair(chat, pair["rejected"])
        rows.append(PairRow(tuple(prompt), tuple(chosen), tuple(rejected), pair["id"]))
    config = TrainConfig.dpo(
        learning_rate=args.learning_rate, num_train_epochs=args.epochs, train_batch_size=args.batch_size
    )
    kept, _ = fit(rows, config.max_length)
    trained = train(model.decoder, kept, config)
    save(trained.adapter, args.out, base_model=args.model, family=model.decoder.config.family)
    sys.stderr.write(
        f"{len(kept)} pairs, {trained.steps} steps in {trained.seconds:.0f} s, loss {trained.metrics.get('loss')}\n"
    )


if __name__ == "__main__":
    main()
