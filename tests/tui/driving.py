"""A host without models for tests of the screen: it keeps what it was told, and tests write its journal by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from engine.worker import Command, WorkerState, WorkerStatus


class RecordingHost:
    """Keeps the commands that the app sends."""

    def __init__(self, folder: Path | None = None, doing: WorkerStatus = WorkerStatus.IDLE) -> None:
        self.state = WorkerState(doing, folder)
        self.commands: list[Command] = []
        self.calls: list[str] = []

    def set(self, **changes: object) -> None:
        self.state = dataclasses.replace(self.state, **changes)  # type: ignore[arg-type]

    def start(self) -> None:
        self.calls.append("start")

    def send(self, command: Command) -> None:
        self.commands.append(command)

    def pause(self) -> None:
        self.calls.append("pause")
        self.set(status=WorkerStatus.PAUSED)

    def resume(self) -> None:
        self.calls.append("resume")
        self.set(status=WorkerStatus.RUNNING)

    def decide(self, choice: str) -> None:
        self.calls.append(choice)

    def stop(self) -> None:
        self.calls.append("stop")
        self.set(status=WorkerStatus.STOPPING)

    def shutdown(self, timeout: float = 10.0) -> bool:
        self.calls.append("shutdown")
        return True
