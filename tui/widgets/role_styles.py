"""What the pieces that widgets draw look like: a role's colors, from the theme, and how its letters are set.

Component classes of Textual would say the same, but each widget has each of its classes styled anew in each pass over
the style sheet: nine of ten passes at the start of the app.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rich.style import Style
from textual.widget import Widget

ROLES: Mapping[str, str] = {
    # Lines of pieces: status line, lists, charts.
    "line--strong": "bold $foreground",
    "line--text": "$foreground",
    "line--dim": "$dim",
    "line--border": "$border",
    "line--key": "bold $accent",
    "line--accent": "$accent",
    "line--soft": "$soft",
    "line--current": "bold reverse $accent",
    "line--good": "$good",
    "line--bad": "$bad",
    "line--warn": "$warn",
    "line--pinned": "$span3",
    "line--span1": "underline $span1",
    "line--span2": "underline $span2",
    "line--span3": "underline $span3",
    "line--span4": "underline $span4",
    # The log.
    "log--time": "$dim",
    "log--fold": "$dim",
    "log--stage": "$accent",
    "log--heading": "bold $accent",
    "log--summary": "$foreground",
    "log--label": "$dim",
    "log--text": "$foreground",
    "log--raw": "$soft",
    "log--good": "$good",
    "log--bad": "$bad",
    "log--unsure": "$warn",
    "log--gone": "$foreground on $removed",
    "log--new": "$foreground on $added",
    "log--error": "bold $bad",
    "log--hit": "bold $foreground on $hit",
    "log--marked": "on $panel",
    "log--thumb": "$dim",
    # Two texts side by side.
    "diff--text": "$foreground",
    "diff--gone": "$foreground on $removed",
    "diff--new": "$foreground on $added",
    "diff--gone-part": "bold underline $foreground on $removed",
    "diff--new-part": "bold underline $foreground on $added",
    "diff--dim": "$dim",
    "diff--strong": "bold $foreground",
    "diff--good": "$good",
    "diff--bad": "$bad",
    "diff--warn": "$warn",
    "diff--span1": "underline",
    "diff--span2": "underline",
    "diff--span3": "underline",
    "diff--span4": "underline",
}
"""Role -> its style in Rich's words, with names of the theme's colors."""

_WITHOUT_COLORS: Mapping[str, str] = {
    "log--gone": "strike",
    "log--new": "bold underline",
    "diff--gone": "strike",
    "diff--new": "bold underline",
    "diff--gone-part": "strike underline not bold",
    "diff--new-part": "reverse",
}
"""What is added where colors cannot carry any meaning."""


class RoleWidget(Widget):
    """A widget that draws pieces with roles."""

    ROLE_KIND: ClassVar[str] = "line"
    """"line", "log" or "diff": which of the roles it draws."""

    _base: Style | None = None
    _colors: Mapping[str, str] = {}
    _role_styles: Mapping[str, Style] = {}

    @property
    def base_style(self) -> Style:
        """The widget's own `rich_style`, which Textual works out anew from all widgets around it for each line."""
        if self._base is None:
            self._base = self.rich_style
        return self._base

    def role_style(self, roles: str) -> Style:
        """What these roles (names between spaces) look like together, the later ones above."""
        style = self._role_styles.get(roles)
        if style is None:
            style = Style.combine([self._parsed(f"{self.ROLE_KIND}--{role}") for role in roles.split()])
            self._role_styles = {**self._role_styles, roles: style}
        return style

    def _parsed(self, name: str) -> Style:
        colors = self.app.theme_variables
        words = [colors[f"rd-{word[1:]}"] if word.startswith("$") else word for word in ROLES[name].split()]
        if self.app.has_class("-no-color"):
            words += _WITHOUT_COLORS.get(name, "").split()
        return Style.parse(" ".join(words))

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._base = None
        # Textual makes the colors anew where the theme changes, and knows nothing of what is drawn with them.
        if self._colors is not self.app.theme_variables:
            self._colors = self.app.theme_variables
            self._role_styles = {}
            self.refresh()
