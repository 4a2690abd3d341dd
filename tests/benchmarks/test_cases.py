"""`python -m benchmarks --quick`: every ratio comes from measurements of both sides at the same work.

How fast anything is cannot be tested on a shared machine; that it is measured can.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import INCOMPLETE, Timings, allowance, app, plan
from benchmarks.cases import CASES, run
from benchmarks.measure import Missing, Ratio
from benchmarks.session import QUICK, Bench
from benchmarks.side import Side, SideError
from engine import paths
from tui.commands.failure import run_app

pytestmark = pytest.mark.usefixtures("redraft_home")

Call = tuple[str, str, dict[str, Any], Any]


@pytest.fixture
def model(tiny: Callable[..., Path]) -> str:
    return str(tiny("llama", max_position_embeddings=8192))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """(side, method, arguments, answer) of every call that is made, in order; the calls themselves are real."""
    made: list[Call] = []
    real = Side.call

    def call(self: Side, method: str, **arguments: Any) -> Any:
        answer = real(self, method, **arguments)
        made.append((self.name, method, arguments, answer))
        return answer

    monkeypatch.setattr(Side, "call", call)
    return made


def measured(model: str, *names: str) -> list[Ratio]:
    with Bench(model, "float32", 1, QUICK, lambda _: None) as bench:
        found = [finding for _, finding in run(bench, names)]
    assert all(isinstance(finding, Ratio) for finding in found), found
    return [finding for finding in found if isinstance(finding, Ratio)]


def rate(calls: Sequence[Call], side: str, method: str) -> float:
    answers = [answer for name, called, _, answer in calls if (name, called) == (side, method)]
    return sum(a["units"] for a in answers) / sum(a["seconds"] for a in answers)


def test_generation_is_compared_at_the_same_prompts_by_tokens_written(model: str, calls: list[Call]) -> None:
    one, static = measured(model, "critique-revise")
    peers = [call for call in calls if call[:2] == ("transformers", "generate")]
    singles, batches = ([c for c in peers if c[2]["batch"] == size] for size in (1, QUICK.static))
    ours = rate(calls, "redraft", "generate")
    assert one.median == pytest.approx(ours / rate(singles, "transformers", "generate"))
    assert static.median == pytest.approx(ours / rate(batches, "transformers", "generate"))
    assert (one.goal, static.goal) == (20.0, 3.0)
    assert "1 of 6 prompts" in one.detail
    assert "4 of 6 prompts" in static.detail
    sent = [ask["prompt"] for c in calls if c[:2] == ("redraft", "generate") for ask in c[2]["asks"]]
    assert len(sent) == 2 * QUICK.prompts
    assert {ask["prompt"] for c in peers for ask in c[2]["asks"]} <= set(sent)
    assert all("Review" in prompt or "review" in prompt for prompt in sent), "critiques and revisions, few-shot"


def test_scoring_arithmetic_and_a_busy_core_are_measured(model: str, calls: list[Call]) -> None:
    scoring, training, scored, busy_generation, busy_training = measured(model, "scoring", "arithmetic", "disturbed")
    assert scoring.median == pytest.approx(rate(calls, "redraft", "score") / rate(calls, "transformers", "score"))
    ours, theirs = (c[3] for name in ("redraft", "transformers") for c in calls if c[:2] == (name, "score"))
    assert ours["units"] == theirs["units"], "both sides score the same tokens"
    machine = [c[3] for c in calls if c[1] == "machine"]
    for found, method, limit in ((training, "training_flop", machine[0]), (scored, "scoring_flop", machine[1])):
        work = next(c[3] for c in calls if c[1] == method)
        assert found.goal == 0.6
        assert limit["units"] == pytest.approx(work["units"]), "the same products on both sides"
        assert found.median == pytest.approx(limit["seconds"] / work["seconds"])
    generated = [c for c in calls if c[1] == "generate"]
    assert [c[2].get("busy", False) for c in generated] == [True, False]
    assert {c[3]["units"] for c in generated} == {QUICK.prompts * QUICK.exact}, "exactly as many tokens as asked for"
    assert busy_generation.median == pytest.approx(
        rate(generated[:1], "redraft", "generate") / rate(generated[1:], "redraft", "generate")
    )
    assert busy_training.goal == 0.4


def test_the_demo_loop_s_peer_writes_what_the_run_wrote(model: str, calls: list[Call]) -> None:
    loop, memory, verdict = measured(model, "demo-loop", "memory", "verdict")
    done = next(c[3] for c in calls if c[1] == "loop")
    stages = {stage["name"]: stage for stage in done["stages"]}
    counts = QUICK.loop
    assert stages["drafts"]["count"] == counts["n_train"]
    assert stages["revisions"]["count"] == counts["n_train"] * counts["candidates"]
    each = [c for c in calls if c[:2] == ("transformers", "each")]
    needed = sum(
        c[3]["seconds"] * stage["count"] / len(stage["asks"]) for c, stage in zip(each, done["stages"], strict=False)
    )
    if not done["rows"]:
        assert loop.median == pytest.approx(needed / done["seconds"])
    assert all(ask["exact"] > 0 for c in each for ask in c[2]["asks"])
    assert "scaled by count" in loop.detail
    assert memory.at_most
    ours, theirs = (c[3]["units"] for c in calls if c[1] == "peak")
    assert memory.median == pytest.approx(ours / theirs)
    assert min(ours, theirs) > 100, "MB of a process with torch in it"
    assert verdict.goal is None
    assert f"verdicts/s by the panel, {QUICK.prompts} at once" in verdict.detail


@pytest.mark.skipif(not importlib.util.find_spec("trl"), reason="trl is not installed")
def test_training_is_compared_at_the_same_batches(model: str, calls: list[Call]) -> None:
    sft, dpo = measured(model, "training")
    ours, peers = ([c for c in calls if c[:2] == (name, "train")] for name in ("redraft", "trl"))
    for found, mine, its in zip((sft, dpo), ours, peers, strict=True):
        assert its[2]["rows"] == mine[2]["rows"][: QUICK.batch * QUICK.steps]
        assert found.median == pytest.approx(
            mine[3]["units"] / mine[3]["seconds"] / (its[3]["units"] / its[3]["seconds"])
        )
        assert "measured on 2 of them in 1 steps" in found.detail


@pytest.mark.skipif(not importlib.util.find_spec("llama_cpp"), reason="llama-cpp-python is not installed")
@pytest.mark.model
def test_llama_cpp_writes_as_many_tokens(calls: list[Call]) -> None:
    measured("", "llama")
    for _, method, arguments, answer in calls:
        if method in ("each", "together"):
            assert answer["units"] == QUICK.exact * len(arguments["asks"])


def test_a_missing_peer_is_listed_with_the_command_that_adds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with Bench("", "", 1, QUICK, lambda _: None) as bench:
        found = [finding for _, finding in run(bench, ["llama", "training"])]
    assert all(isinstance(finding, Missing) for finding in found)
    assert [(f.goal, f.install) for f in found if isinstance(f, Missing)] == [
        (5.0, "pip install -e '.[bench]'"),
        (1.5, "pip install -e '.[bench]'"),
        (4.0, "pip install -e '.[parity]'"),
        (4.0, "pip install -e '.[parity]'"),
    ]


def test_extras_named_in_the_messages_are_declared() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for case in CASES.values():
        if case.needs:
            extra = case.install.partition("[")[2].partition("]")[0]
            declared = " ".join(project["optional-dependencies"][extra]).replace("-", "_").replace("_python", "")
            assert all(name in declared for name in case.needs)


def benchmarks(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_an_unknown_case_is_refused_with_those_there_are() -> None:
    done = benchmarks("--case", "nothing")
    assert done.returncode == 2
    assert all(name in done.stderr for name in CASES)


def test_json_holds_the_ratios_and_a_table_shows_them(model: str) -> None:
    arguments = ("--quick", "--case", "arithmetic", "--generator", model, "--dtype", "float32")
    done = benchmarks(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert "not timed on this machine yet" in done.stderr.partition("starting")[0], "the plan comes first"
    found = json.loads(done.stdout)
    assert (found["dtype"], found["quick"], found["complete"], found["missing"]) == ("float32", True, True, [])
    assert [r["case"] for r in found["ratios"]] == ["arithmetic", "arithmetic"]
    for r in found["ratios"]:
        assert r["low"] <= r["median"] <= r["high"]
        assert (r["goal"], r["rounds"], r["reached"]) == (0.6, 1, r["median"] >= 0.6)
        assert "against" in r["detail"]
    table = benchmarks(*arguments)
    assert table.stdout.count("≥ 0.6") == 2
    assert "say nothing about speed" in table.stdout
    assert "last time" in table.stderr.partition("starting")[0], "timed by the first call"


def test_timings_are_kept_for_the_same_kind_of_work_only() -> None:
    Timings(quick=False, rounds=3, seconds=150).save("scoring", 61.26)
    assert Timings(quick=False, rounds=3, seconds=150).seconds("scoring") == 61.3
    assert Timings(quick=False, rounds=3, seconds=60).seconds("scoring") is None
    assert Timings(quick=True, rounds=3, seconds=150).seconds("scoring") is None
    assert Timings(quick=False, rounds=1, seconds=150).seconds("scoring") is None
    (paths.cache_dir() / "bench-timings.json").write_text("{damaged")
    assert Timings(quick=False, rounds=3, seconds=150).seconds("scoring") is None


def test_cases_share_the_time_that_is_left() -> None:
    assert allowance(150, left=900, cases=11) == pytest.approx(81.8, abs=0.1)
    assert allowance(150, left=900, cases=2) == 150
    assert allowance(150, left=-5, cases=2) == 1  # one round is always done
    (line, *_) = [line for line in plan(["scoring"], Timings(False, 9, 150), 82) if "scoring" in line]
    assert "not timed on this machine yet: one round, more within 1:22" in line


def test_a_case_that_is_not_measured_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "llama_cpp" else found(name))
    code, out, err = in_process("--quick", "--case", "llama")
    assert code == INCOMPLETE
    assert out.count("not measured: llama_cpp not installed. pip install -e '.[bench]'") == 2
    assert "not measured: llama_cpp not installed" in err.splitlines()[1], "said before anything is started"


def test_what_was_measured_before_a_failure_is_printed(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Side.call

    def call(self: Side, method: str, **arguments: Any) -> Any:
        if method == "scoring_flop":
            raise SideError("redraft", "out of memory.")
        return real(self, method, **arguments)

    monkeypatch.setattr(Side, "call", call)
    code, out, err = in_process("--quick", "--case", "arithmetic", "-g", model, "--dtype", "float32", "--json")
    assert code == 1
    printed = json.loads(out.splitlines()[0])
    assert ([r["case"] for r in printed["ratios"]], printed["complete"]) == (["arithmetic"], False)
    assert "out of memory" in err


def in_process(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command line, run in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_app(app, arguments, "python -m benchmarks")
    return code, out.getvalue(), err.getvalue()


def test_ctrl_c_prints_what_there_is_and_leaves_no_process_behind(model: str) -> None:
    arguments = ["--json", "--rounds", "99", "--generator", model, "--dtype", "float32", "--case", "scoring"]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("round 1"):
            break
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["complete"] is False
    assert not [pid for pid in children if os.path.exists(f"/proc/{pid}")]
