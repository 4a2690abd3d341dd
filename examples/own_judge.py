"""A judge of your own: judge both answers to every held-out prompt of a finished run, and compare.

    python examples/own_judge.py [RUN] [MAX_WORDS]

The judge here flags answers that are too long. Any object with `name` and `judge` works: a classifier, a service, a
person at a keyboard.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import redraft


class LengthJudge(redraft.Judge):
    """Flags a text of more than `max_words` words."""

    def __init__(self, max_words: int) -> None:
        self.name = f"at most {max_words} words"
        self._max_words = max_words

    def judge(self, texts: Sequence[redraft.JudgeInput], control: object) -> Iterator[redraft.Verdict]:  # noqa: ARG002
        for one in texts:
            if not one.text.strip():
                yield redraft.Verdict(one.key, None, note="The text is empty.")  # no verdict: neither clean nor flagged
                continue
            words = len(one.text.split())
            flagged = words > self._max_words
            yield redraft.Verdict(
                one.key,
                flagged,
                broken=("length",) if flagged else (),
                score=float(flagged),
                reasoning=f"{words} words",
                method="rules",
                judge=self.name,
            )


def main(run: str = "last", max_words: str = "60") -> None:
    judge = LengthJudge(int(max_words))
    rows = [row for row in redraft.read_report(run)["prompts"] if row["set"] == "heldout"]
    base, trained = (
        redraft.judge(*(redraft.JudgeInput(row["id"], row[model], row["prompt"]) for row in rows), by=judge)
        for model in ("base", "trained")
    )
    result = redraft.compare(base, trained)
    interval = (
        "" if result.interval is None else f", 95 % interval {result.interval[0]:+.2f} to {result.interval[1]:+.2f}"
    )
    print(f"{judge.name}, {result.n} prompts, {result.excluded} without a verdict:")
    print(f"  share flagged {result.base:.2f} -> {result.trained:.2f}{interval}, p {result.p:.3f}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except redraft.RedraftError as error:
        sys.exit(str(error))
