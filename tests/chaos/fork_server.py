"""A process with the heavy modules imported that forks a child for each process of a run: a kill costs no start-up.

Started by `run_processes.ForkServer`, never imported by a test. It reads one JSON object a line and answers each
child's end with one. The children perform the command line's own code (or the app's) and are killed for real.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
from typing import Any


def main() -> None:
    import torch

    import engine.pipeline.runner
    import engine.training.loop  # noqa: F401
    import tui.app
    import tui.cli  # noqa: F401
    from engine.models import machine_profile
    from engine.models.hub import load

    # One thread: a process with several must not fork, and a tiny model needs no more. One that measured the machine
    # anew would take two seconds for it.
    torch.set_num_threads(1)
    machine_profile.machine_profile = lambda **_: machine_profile.Profile("float32", 1, {})
    load.import_transformers()
    assert len(os.listdir("/proc/self/task")) == 1, "a process with threads must not fork"
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    _tell({"ready": os.getpid()})
    buffer = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 1 << 16)
            _reap()
        if 0 in ready:
            data = os.read(0, 1 << 16)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                _tell({"began": _begin(json.loads(line))})


def _tell(answer: dict[str, Any]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


def _reap() -> None:
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not child:
            return
        _tell({"ended": child, "code": os.waitstatus_to_exitcode(status)})


def _begin(order: dict[str, Any]) -> int:
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Not what the tests were started with: nohup and some CI runners ignore it.
        signal.signal(signal.SIGHUP, signal.SIG_IGN if order.get("nohup") else signal.SIG_DFL)
        os.setsid()
        _streams(order)
        os.environ.update(order["environment"])
        if order.get("fault"):
            folder, how, at = order["fault"]
            ctypes.CDLL(None).chaos_arm(folder.encode(), how, ctypes.c_long(at))
        code = _live(order)
        sys.stdout.flush()
        sys.stderr.flush()
        if order.get("count"):
            with open(order["count"], "w", encoding="ascii") as file:
                file.write(str(ctypes.CDLL(None).chaos_seen()))
    except BaseException:
        import traceback

        traceback.print_exc()
        raise
    finally:
        os._exit(code)


def _streams(order: dict[str, Any]) -> None:
    """The child's stdin, stdout and stderr: the terminal that it controls, or a log."""
    if order.get("terminal"):
        descriptor = os.open(order["terminal"], os.O_RDWR)
        places = (0, 1, 2)
    else:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        descriptor = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        places = (1, 2)
    for place in places:
        os.dup2(descriptor, place)
    os.close(descriptor)
    # Python's own streams remember what they were opened on.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", closefd=False)  # noqa: SIM115


def _live(order: dict[str, Any]) -> int:
    if order["what"] == "command":
        from tui.cli import main as command

        return command(order["arguments"])
    from engine.settings import from_json
    from tui.app import run
    from tui.terminal import detach

    detach.launch()
    return run(config=from_json(order["config"]))


if __name__ == "__main__":
    main()
