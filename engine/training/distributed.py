"""Accelerate's processes as the loop needs them: sums over all of them, a stop that all obey together, and messages
from the first one to the others."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs, broadcast, parse_flag_from_env
from torch import Tensor

from engine.control import Control
from engine.errors import Stopped
from engine.launch_environment import local_index

_PATIENCE = timedelta(days=7)
"""How long processes wait for one that is paused, that generates, or that has not come to its first training yet."""

_END = ""
"""The message after which no training comes."""


class _Shared:
    """What this process and the others are at.

    Attributes:
        training: they are in the middle of a training. One that leaves it alone must not send a message: the others
            wait for gradients, and end when its connections close.
    """

    training = False


class Processes:
    """The processes of one training; a single one where nothing launched several.

    Args:
        device: where this process's model is.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._failure: BaseException | None = None
        # Said outright because `accelerate launch` may set others, and the loop does both by itself: it divides the
        # loss by the whole step's total, and the decoder has its own number format.
        self.accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision="no",
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
        )

    @property
    def index(self) -> int:
        return int(self.accelerator.process_index)

    @property
    def count(self) -> int:
        return int(self.accelerator.num_processes)

    @property
    def main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    def sum_(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all processes."""
        if self.count > 1:
            tensor.copy_(self.accelerator.reduce(tensor, reduction="sum"))

    def sum_wide(self, row: Tensor) -> None:
        """As `sum_`, for a float64 row on the CPU: the exchange itself happens on the device, in the widest type that
        the device has."""
        if self.count > 1:
            on_device = row.to(self._device, torch.float32 if self._device.type == "mps" else torch.float64)
            self.sum_(on_device)
            row.copy_(on_device.cpu())

    def backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss)

    def message(self, text: str = "") -> str:
        """The text that the first process passes, in all of them; the others wait for it."""
        data = text.encode()
        size = broadcast(torch.tensor([len(data)], device=self._device))
        content = torch.zeros(int(size.item()), dtype=torch.uint8, device=self._device)
        if self.main and data:
            content.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        return bytes(broadcast(content).tolist()).decode() if len(content) else ""

    def on_main(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Call this in the first process only. What it raises there is raised at once in a single process; of several
        the others must not be left waiting, so it is raised when all leave together (`check_step`)."""
        if not self.main or self._failure is not None:
            return
        if self.count == 1:
            callback(*arguments)
            return
        try:
            callback(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised by `check_step`
            self._failure = error

    def check_step(self, control: Control) -> None:
        """At the start of a step, and after the last: a stop that any process was asked for is obeyed by all.

        Raises:
            Stopped: in all processes; in the first one, what a callback raised there.
        """
        if self.count == 1:
            control.check()
            return
        while control.paused and not control.stopping and self._failure is None:
            time.sleep(0.05)
        asked = torch.tensor(float(control.stopping or self._failure is not None), device=self._device)
        self.sum_(asked)
        if asked.item():
            self.leave()
            raise self._failure or Stopped

    def check_micro(self, control: Control) -> None:
        """At each micro-batch. Several processes obey at the next step only: one that left alone would leave the
        others waiting for its gradients.

        Raises:
            Stopped: if there is one process and a stop was asked for.
        """
        if self.count == 1:
            control.check()

    def enter(self) -> None:
        """A training begins."""
        _Shared.training = True

    def leave(self) -> None:
        """All processes leave the training together."""
        _Shared.training = False


def release() -> None:
    """In the first of several processes: inform the others that no training follows."""
    if not _Shared.training:
        Processes(own_device()).message(_END)


def own_device() -> torch.device:
    """Where this process's model is: on the GPU of its number; on the CPU where there is none, or `ACCELERATE_USE_CPU`
    says so."""
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
    return torch.device("cpu") if on_cpu else torch.device("cuda", local_index())
