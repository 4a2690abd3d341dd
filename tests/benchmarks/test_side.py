"""Sides run in processes of their own, say what is wrong, and never outlive the one who asked."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.side import Side, SideError

pytestmark = pytest.mark.usefixtures("redraft_home")


def test_a_side_answers_and_its_failures_name_it(tiny: Callable[..., Path]) -> None:
    with Side("redraft", model=str(tiny("llama")), dtype="float32") as side:
        facts = side.call("warm")
        assert facts["dtype"] == "float32"
        assert facts["gguf"] == ""
        with pytest.raises(SideError, match=r"redraft failed: TypeError.*score.*rows") as caught:
            side.call("score")
        assert caught.value.side == "redraft"
        # A failed call does not end it.
        assert side.call("warm") == facts


def test_a_model_that_there_is_not_is_told_in_the_engine_s_words(tmp_path: Path) -> None:
    with pytest.raises(SideError, match=r"redraft failed: .*nowhere"):
        Side("redraft", model=str(tmp_path / "nowhere"), dtype="float32")


def test_closing_ends_a_side_in_the_middle_of_its_work(tiny: Callable[..., Path]) -> None:
    side = Side("redraft", model=str(tiny("llama", max_position_embeddings=8192)), dtype="float32")
    ask = {"prompt": "the question", "max_tokens": 7000, "temperature": 0.0, "top_k": 0, "top_p": 1.0, "seed": 0}
    raised: list[BaseException] = []

    def work() -> None:
        try:
            side.call("generate", asks=[{**ask, "exact": 7000}])
        except (SideError, ValueError) as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.5)
    side.close()
    thread.join(30)
    assert not thread.is_alive()
    assert raised


def test_a_side_ends_with_the_one_who_asked() -> None:
    code = (
        "import os, subprocess, sys\n"
        "command = [sys.executable, '-m', 'benchmarks.side', 'redraft']\n"
        "child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "os._exit(1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pid = int(done.stdout)
    for _ in range(400):
        if not is_alive(pid):
            return
        time.sleep(0.05)
    pytest.fail("the side went on")


def is_alive(pid: int) -> bool:
    """Whether a process still does something; one that nobody has waited for is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_who_asks_needs_no_torch() -> None:
    code = (
        "import sys, benchmarks.cases, benchmarks.__main__\n"
        "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
