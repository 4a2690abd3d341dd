"""A constitution of your own: load it, and judge texts with its rules. Loads no model.

    python examples/own_constitution.py [FILE.toml] [TEXT ...]

`redraft run --constitution FILE.toml` trains a model to follow it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import redraft

DEFAULT = Path(__file__).parent / "plain_words.toml"
TEXTS = ("We utilize synergy going forward.", "We work together from now on.")


def main(path: str = str(DEFAULT), *texts: str) -> None:
    constitution = redraft.load_constitution(path)
    print(f"{constitution.name}: {', '.join(principle.title for principle in constitution.principles)}")
    for verdict, text in zip(
        redraft.judge(*(texts or TEXTS), by="rules", constitution=constitution), texts or TEXTS, strict=True
    ):
        matched = ", ".join(repr(text[finding.start : finding.end]) for finding in verdict.findings)
        print(f"  score {verdict.score:.1f}  {text}" + (f"  [{matched}]" if matched else ""))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except redraft.RedraftError as error:
        sys.exit(str(error))
