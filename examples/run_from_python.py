"""A run from Python: settings, the run, its result.

    python examples/run_from_python.py [GENERATOR] [FOLDER]

Without arguments: the demo run on the embedded model, a few minutes on two cores. A run that was interrupted:
`redraft.resume(folder)`.
"""

from __future__ import annotations

import dataclasses
import sys

import redraft


def settings(generator: str = "") -> redraft.RunConfig:
    """The demo's settings with another seed and one training epoch less."""
    demo = redraft.preset("demo")
    return dataclasses.replace(
        demo,
        generator=generator or demo.generator,
        seed=1,
        train=dataclasses.replace(demo.train, num_train_epochs=2),
    )


def main(generator: str = "", folder: str = "", *, config: redraft.RunConfig | None = None) -> None:
    path = redraft.run(config or settings(generator), folder or None)
    report = redraft.read_report(path)
    pairs, summary = report["pairs"], report["summary"]
    print(f"{path}\n  {pairs['kept']} preference pairs kept, {pairs['dropped']} dropped: {summary['outcome']}")
    if "score" in summary:  # absent if no pair was kept, so that nothing was trained
        score = summary["score"]
        print(f"  score {score['base']:.2f} -> {score['trained']:.2f} on {score['n']} held-out prompts")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except redraft.RedraftError as error:
        sys.exit(str(error))
