"""Keep one vocabulary in what users read: the field's words, in American spelling.

Checks the documentation, the help texts and the error messages, and prints each word to replace with its place.
docs/glossary.md has the words to use. Run by `make check`.

    python scripts/check_vocabulary.py [FILE ...]
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_STEMS = (
    "author|categor|character|critic|custom|emphas|final|general|initial|local|maxim|minim|normal|optim|organ|parallel|penal"
    "|priorit|quant|random|recogn|regular|serial|special|stabil|summar|synchron|token|util|visual"
)

WORDS = {
    r"number formats?": "dtype",
    r"graphics cards?": "GPU",
    r"giv(?:e|es|ing) way|gave way": "throttle",
    r"go(?:es)? on|went on|gone on|going on": "continue, resume, is in progress",
    r"nobody|somebody|whoever": "the user, the process, ...; or rephrase",
    r"whom": "rephrase",
    r"(?:a|the) person(?:'s)?|persons": "user",
    r"(?<!there\s)is no (?!longer|more|less|such|different|good|way)[a-z]+": "is not a ..., is not a valid ...",
    r"told|tells? of": "report, log, notify",
    r"learn(?:ed|t|s)? from": "train on",
    r"(?:its|file's) endings?": "extension",
    r"an? (?:line|row|vector|score|number|name) an? [a-z]+": "per",
    r"mend(?:s|ed|ing)?": "fix",
    r"beside": "next to, in addition to",
    r"colou?r(?<=our)\w*|(?:behavi|fav|neighb|hon)our\w*": "American spelling: -or",
    rf"(?:un)?(?:{_STEMS})is(?:e|ed|es|er|ers|ing|ations?)": "American spelling: -ize",
    r"labell\w+|modell(?:ed|ing)|travell\w+|cancell(?:ed|ing)": "American spelling: one l",
    r"centre[sd]?|grey|licence[sd]?|artefacts?|judgements?|whilst|analys(?:e|ed|ing)": "American spelling",
}
"""Pattern, case ignored -> what to write."""

_PATTERNS = [
    # A blank of a pattern may be a line break in a page.
    (re.compile(rf"\b(?:{pattern})\b".replace(" ", r"(?:[ \t]+\n?|\n)[ \t]*"), re.IGNORECASE), instead)
    for pattern, instead in WORDS.items()
]
_ERRORS = {
    "RedraftError",
    "InputError",
    "InputsChanged",
    "ModelError",
    "StorageError",
    "EndpointError",
    "TrainingError",
}
_HELPED = {"Option", "Argument", "Typer", "setting", "Key"}
"""Calls whose texts appear in `--help` and in the help of the keys."""
_CODE = re.compile(r"`[^`\n]*`|\]\([^)\n]*\)|https?://\S+|<!--.*?-->", re.DOTALL)

Problem = tuple[Path, int, str, str]


def check_text(text: str) -> Iterator[tuple[int, str, str]]:
    """Each word to replace: lines after the first one, the word, and what to write."""
    for pattern, instead in _PATTERNS:
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()), " ".join(match[0].split()), instead


def check_markdown(path: Path) -> Iterator[Problem]:
    """The words of a page, without its code and addresses."""
    lines, fenced = [], False
    for line in path.read_text(encoding="utf-8").split("\n"):
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        lines.append("" if fenced or fence or line.startswith("    ") else line)
    # Blanks instead of code keep the line numbers.
    prose = _CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), "\n".join(lines))
    for line_number, word, instead in check_text(prose):
        yield path, line_number + 1, word, instead


def check_python(path: Path) -> Iterator[Problem]:
    """The words of a module's error messages and help texts; `{}` stands for what an f-string fills in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for text in _shown(node, path):
            for line_number, word, instead in check_text(_CODE.sub("", _literal(text))):
                yield path, text.lineno + line_number, word, instead


def _shown(node: ast.AST, path: Path) -> Iterator[ast.expr]:
    """The texts of this node that users read."""
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _ERRORS | _HELPED or name == "notice":
            yield from node.args
            yield from (word.value for word in node.keywords if word.arg in {"next_step", "help", "unset", "where"})
    elif isinstance(node, ast.FunctionDef) and path.parent.name == "commands" and _is_command(node):
        yield node.body[0].value  # type: ignore[attr-defined]  # its docstring, which is its help


def _is_command(node: ast.FunctionDef) -> bool:
    """Whether a function of tui/commands has options, so that its docstring is shown by `--help`."""
    args = ast.dump(node.args)
    return ast.get_docstring(node) is not None and ("typer" in args or "id='options'" in args)


def _literal(node: ast.expr) -> str:
    """The fixed parts of a text, in the order in which they stand."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_literal(part) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    if isinstance(node, ast.BinOp):
        return _literal(node.left) + _literal(node.right)
    if isinstance(node, ast.IfExp):
        return _literal(node.body) + "\n" + _literal(node.orelse)
    return ""


def files() -> Iterator[Path]:
    """Everything that is checked. Left out: docs/log, a record of its time, and docs/labeling.md, which is kept as the
    labels were made by and means people in the texts."""
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"):
        yield ROOT / name
    yield from sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != "labeling.md")
    for package in ("engine", "tui"):
        yield from sorted((ROOT / package).rglob("*.py"))


def main(names: list[str]) -> int:
    paths = [Path(name).resolve() for name in names] or list(files())
    problems = [
        problem for path in paths for problem in (check_python(path) if path.suffix == ".py" else check_markdown(path))
    ]
    for path, line, word, instead in sorted(problems):
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        print(f'{shown}:{line}: "{word}"; write: {instead}')
    if problems:
        print(f"{len(problems)} words to replace (docs/glossary.md).")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
