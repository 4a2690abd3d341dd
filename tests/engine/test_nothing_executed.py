"""Nothing from outside is executed: no pickles, no code of models, no shell; by the source, and by files that would."""

from __future__ import annotations

import ast
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.errors import ModelError, RedraftError

ROOT = Path(__file__).parents[2]

FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "runpy",
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.hub.load"}
ONLY_WITH = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
YAML_LOADS = {"yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load"}
"""PyYAML builds any object of a document unless it is given one of its safe loaders."""
NEVER_WITH = {"trust_remote_code": True, "shell": True, "allow_pickle": True}


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for package in ("engine", "tui", "themes"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def problems(tree: ast.Module) -> Iterator[str]:
    """What in a module could execute something from outside."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            if name.partition(".")[0] in FORBIDDEN_MODULES:
                yield f"line {node.lineno}: imports {name}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: word.value for word in node.keywords if word.arg}
            if called in FORBIDDEN_CALLS:
                yield f"line {node.lineno}: calls {called}"
            if called in YAML_LOADS and "SafeLoader" not in ast.unparse(node):
                yield f"line {node.lineno}: {called} without a SafeLoader"
            if called in ONLY_WITH:
                name, value = ONLY_WITH[called]
                held = given.get(name)
                if not isinstance(held, ast.Constant) or held.value is not value:
                    yield f"line {node.lineno}: {called} without {name}={value}"
            for name, value in NEVER_WITH.items():
                held = given.get(name)
                if held is not None and not (isinstance(held, ast.Constant) and held.value is not value):
                    yield f"line {node.lineno}: {called} with {name}"


def test_the_project_neither_unpickles_nor_runs_what_it_was_given() -> None:
    found = [f"{path.relative_to(ROOT)} {problem}" for path, tree in sources() for problem in problems(tree)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=flag)",
        "subprocess.run(command, shell=True)",
        "eval(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.unsafe_load(text)",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert list(problems(ast.parse(line)))


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_a_pickle_in_a_models_folder_is_never_opened(
    tmp_path: Path, tiny: Callable[..., Path], redraft_home: Path
) -> None:
    from engine.models.local import check_model, load_model

    mark, folder = tmp_path / "executed", tmp_path / "model"
    trap = pickle.dumps(Trap(mark))
    pickle.loads(trap)
    assert mark.exists(), "the trap is none"
    mark.unlink()
    shutil.copytree(tiny("llama"), folder)
    for name in ("pytorch_model.bin", "model.pt", "training_args.bin", "optimizer.pt"):
        (folder / name).write_bytes(trap)
    (folder / "modeling_evil.py").write_text(f"open({str(mark)!r}, 'w')")
    (folder / "tokenization_evil.py").write_text(f"open({str(mark)!r}, 'w')")
    for name in ("config.json", "tokenizer_config.json"):
        text = (folder / name).read_text().rstrip().removesuffix("}")
        evil = (
            '"auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil", "AutoTokenizer": ["tokenization_evil.E", null]}'
        )
        (folder / name).write_text(f"{text}, {evil}}}")
    load_model(str(folder), device="cpu", dtype="float32")
    (folder / "adapter_model.bin").write_bytes(trap)
    with pytest.raises(ModelError, match="adapter"):
        load_model(str(folder), device="cpu", dtype="float32")
    (folder / "adapter_model.bin").unlink()
    (folder / "model.safetensors").unlink()
    for ask in (load_model, check_model):
        with pytest.raises(ModelError, match="pickles"):
            ask(str(folder), device="cpu", dtype="float32")
    (folder / "model.safetensors").write_bytes(trap)
    for ask in (load_model, check_model):
        with pytest.raises(RedraftError):
            ask(str(folder), device="cpu", dtype="float32")
    assert not mark.exists()


def test_pickles_in_checkpoints_probes_and_vectors_are_never_opened(tmp_path: Path, redraft_home: Path) -> None:
    import numpy as np

    from engine.judges.probe.vector_cache import VectorCache
    from engine.models.hub.adapter import load
    from engine.training.checkpoint import Checkpoints

    mark = tmp_path / "executed"
    trap = pickle.dumps(Trap(mark))
    place = tmp_path / "step-00000001"
    place.mkdir()
    for name in ("state.safetensors", "state.json", "optimizer.pt"):
        (place / name).write_bytes(trap)
    assert Checkpoints(tmp_path).latest() is None
    for name in ("adapter_model.safetensors", "adapter_config.json", "adapter_model.bin"):
        (tmp_path / name).write_bytes(trap)
    with pytest.raises(RedraftError):
        load(tmp_path)

    class Model:
        sha256, dtype = "0", "float32"

    store = VectorCache(Model(), (1,), tmp_path)  # type: ignore[arg-type]
    with zipfile.ZipFile(store._path, "w") as file:
        for name in ("keys.npy", "values.npy", "counts.npy"):
            file.writestr(name, trap)
    assert VectorCache(Model(), (1,), tmp_path)._stored == {}  # type: ignore[arg-type]
    np.save(tmp_path / "array.npy", np.array([Trap(mark)], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(store._path, "w") as file:
        for name in ("keys.npy", "values.npy", "counts.npy"):
            file.write(tmp_path / "array.npy", name)
    assert VectorCache(Model(), (1,), tmp_path)._stored == {}  # type: ignore[arg-type]
    assert not mark.exists()
