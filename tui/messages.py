"""What widgets and windows ask of the app; Textual carries each message up to whoever handles it."""

from __future__ import annotations

from typing import Any

from textual.message import Message


class ShowVerdict(Message):
    """Show the newest verdict in full."""


class ShowJudges(Message):
    """Show how good the judges were measured to be."""


class ExportRun(Message):
    """Write the run's records into its folder."""


class LabelVerdict(Message):
    """Keep a label for the newest verdict: it is right, or corrected."""

    def __init__(self, agrees: bool) -> None:
        super().__init__()
        self.agrees = agrees


class ReadBlind(Message):
    """Read the run's answers without knowing which model wrote them."""


class WritePage(Message):
    """Write the run's report as one HTML file."""


class ShowAnswers(Message):
    """List the answers that became worst and best."""


class Titled(Message):
    """The window's title should say this."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class RunEnded(Message):
    """The run that is shown has just ended."""

    def __init__(self, name: str, outcome: str) -> None:
        super().__init__()
        self.name = name
        self.outcome = outcome


class Detach(Message):
    """Leave the screen; the run continues without it."""


class Remember(Message):
    """Keep these choices of `tui.services.preferences` for the next start."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.changes = changes


class CopyText(Message):
    """Copy a text to the clipboard."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
