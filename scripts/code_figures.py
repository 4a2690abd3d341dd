"""Measure how the code is divided, and how far `redraft run` is from its first token: the figures of docs/log/code.md.

    python scripts/code_figures.py [ROOT]           files, lines, functions, modules with one importer
    python scripts/code_figures.py --run [ROOT]     functions and modules from the command to the first sampled token

ROOT is a checkout, by default this one; any version will do. `--run` starts a small run with the embedded model and
ends it at its first token. Only modules of `engine` and `tui` count.
"""

from __future__ import annotations

import ast
import inspect
import os
import statistics
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from types import FrameType

PACKAGES = ("engine", "tui")
LONG = 60
"""Lines; longer functions are counted."""


def main(arguments: list[str]) -> None:
    """Print one of the two groups of figures."""
    places = [argument for argument in arguments if argument != "--run"]
    root = Path(places[0] if places else Path(__file__).parent.parent).resolve()
    if "--run" in arguments:
        _measure_run(root)
    else:
        _measure_files(root)


def _measure_files(root: Path) -> None:
    sources = {
        _module(path.relative_to(root)): path.read_text("utf-8")
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
    }
    trees = {module: ast.parse(text) for module, text in sources.items()}
    lines = {module: text.count("\n") for module, text in sources.items()}
    functions = [length for tree in trees.values() for length in _function_lengths(tree)]
    importers = Counter(target for module, tree in trees.items() for target in _imported(module, tree, set(sources)))
    alone = [module for module, count in importers.items() if count == 1]
    print(f"files {len(sources)}, lines {sum(lines.values()):,}, median file {statistics.median(lines.values()):.0f}")
    print(
        f"functions {len(functions):,}, median {statistics.median(functions):.0f}, longest {max(functions)},"
        f" above {LONG} lines {sum(length > LONG for length in functions)}"
    )
    print(
        f"modules with one importer {len(alone)}, of them under 30 lines {sum(lines[module] < 30 for module in alone)}"
    )


def _module(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _function_lengths(tree: ast.Module) -> Iterator[int]:
    """Lines of each function, from `def` to its last line; nested ones count by themselves, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def _imported(module: str, tree: ast.Module, modules: set[str]) -> set[str]:
    """Modules of ours that `module` imports, at its top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                inner if (inner := f"{node.module}.{name.name}") in modules else node.module for name in node.names
            }
    return (found & modules) - {module}


def _measure_run(root: Path) -> None:
    """Run the command under a profiling hook, and end the process when the first token is sampled."""
    sys.path.insert(0, str(root))
    folder = tempfile.mkdtemp()
    sys.argv = ["redraft", "run", "--preset", "demo", "--judge", "rules", "-o", f"{folder}/run"]
    sys.argv += [word for name in ("n_train", "n_heldout", "n_benign") for word in ("--set", f"{name}=2")]
    hook = _Calls(root)
    threading.setprofile(hook)
    sys.setprofile(hook)
    from tui.cli import main as command

    command()


class _Calls:
    """A profiling hook that notes which of our functions were called; what an import calls does not count."""

    def __init__(self, root: Path) -> None:
        self._prefixes = tuple(f"{root}/{package}/" for package in PACKAGES)
        self._start = len(str(root)) + 1
        self._called: set[tuple[str, str]] = set()
        self._imports = threading.local()

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(self._prefixes):
            return
        if code.co_name == "<module>":
            self._imports.depth = self._depth() + (1 if event == "call" else -1)
        elif event == "call" and not self._depth() and code.co_flags & inspect.CO_OPTIMIZED:
            self._called.add(self._place(frame))
            if code.co_qualname == "Sampler.__call__":
                self._report(frame)

    def _depth(self) -> int:
        return getattr(self._imports, "depth", 0)

    def _stack(self, frame: FrameType | None) -> list[tuple[str, str]]:
        """Our functions that wait for `frame` or are it, outermost first."""
        places = []
        while frame:
            if frame.f_code.co_filename.startswith(self._prefixes):
                places.append(self._place(frame))
            frame = frame.f_back
        return places[::-1]

    def _place(self, frame: FrameType) -> tuple[str, str]:
        return frame.f_code.co_filename[self._start :], frame.f_code.co_qualname

    def _report(self, frame: FrameType) -> None:
        command = sys._current_frames()[threading.main_thread().ident or 0]
        worker = [] if threading.current_thread() is threading.main_thread() else self._stack(frame)
        stack = self._stack(command) + worker
        print(*("  " + " ".join(place) for place in stack), sep="\n")
        print(f"on the stacks of the command and its worker: {_counts(stack)}")
        print(f"called before: {_counts(self._called)}", flush=True)
        os._exit(0)


def _counts(places: Collection[tuple[str, str]]) -> str:
    return f"{len(places)} functions of {len({file for file, _ in places})} modules"


if __name__ == "__main__":
    main(sys.argv[1:])
