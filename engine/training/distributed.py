"""Accelerate's processes as the loop needs them: sums over all of them, and a stop that all obey together."""

from __future__ import annotations

import time
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs
from torch import Tensor

from engine.control import Control
from engine.errors import Stopped

_PATIENCE = timedelta(days=7)
"""How long processes wait for one that is paused or that generates samples."""


class Processes:
    """The processes of one training; a single one where nothing launched several.

    Args:
        device: where this process's model is.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
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

    def check_step(self, control: Control) -> None:
        """At the start of a step: a stop that any process was asked for is obeyed by all.

        Raises:
            Stopped: in all processes.
        """
        if self.count == 1:
            control.check()
            return
        while control.paused and not control.stopping:
            time.sleep(0.05)
        asked = torch.tensor(float(control.stopping), device=self._device)
        self.sum_(asked)
        if asked.item():
            raise Stopped

    def check_micro(self, control: Control) -> None:
        """At each micro-batch. Several processes obey at the next step only: one that left alone would leave the
        others waiting for its gradients.

        Raises:
            Stopped: if there is one process and a stop was asked for.
        """
        if self.count == 1:
            control.check()
