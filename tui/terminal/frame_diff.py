"""What the terminal shows now, cell by cell, so that only cells that change are sent.

Textual sends whole regions: a typed letter is a row of its field, a new line of the log the whole pane. Over SSH those
bytes are the app's speed. This stands between Textual's compositor and the driver, and knows nothing of widgets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rich.cells import split_graphemes
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

from tui.views.wrap import SINGLE

_BRIDGE = 4
"""Unchanged cells between two changes that are sent again rather than jumped over: a jump costs about as many bytes."""


class Look(NamedTuple):
    """A style as the terminal knows it: SGR codes of attributes, foreground and background; a link."""

    attributes: str = ""
    foreground: str = ""
    background: str = ""
    link: str = ""


_PLAIN = Look()
_STEADY = frozenset(text for text in map(chr, range(0x20, 0x2900)) if SINGLE.fullmatch(text))
_ATTRIBUTES = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "21", "51", "52", "53")


class Picture:
    """The cells that were sent. Cells that are not known are sent whatever they are."""

    def __init__(self, colors: ColorSystem | None) -> None:
        self._colors = colors
        self._size = (0, 0)
        self._texts: list[list[str | None]] = []  # a row's cells; "" is the second cell of a wide character
        self._looks: list[list[Look | None]] = []
        self._known: dict[Style, Look] = {}

    def forget(self) -> None:
        """Nothing is known of what the terminal shows: something else wrote to it, or it was resized."""
        self._size = (0, 0)

    def changes(self, update: CompositorUpdate, width: int, height: int) -> str | None:
        """What has to be sent so that a terminal of this size shows the update; "" where it shows it already.

        None for an update of a kind that is not known here: send that as it is, and `forget`.
        """
        if (width, height) != self._size:
            self._size = (width, height)
            self._texts = [[None] * width for _ in range(height)]
            self._looks = [[None] * width for _ in range(height)]
        pieces = _pieces(update)
        if pieces is None:
            return None
        pen = _Pen()
        for y, x, strip in pieces:
            if 0 <= y < height and x < width:
                self._draw(pen, y, x, strip, width)
        return pen.finish()

    def _draw(self, pen: _Pen, y: int, x: int, strip: Strip, width: int) -> None:
        texts, looks, intricate = self._cells(strip)
        if x + len(texts) > width:
            texts, looks = texts[: width - x], looks[: width - x]
        end = x + len(texts)
        old_texts, old_looks = self._texts[y][x:end], self._looks[y][x:end]
        if texts == old_texts and looks == old_looks:
            return
        self._texts[y][x:end] = texts
        self._looks[y][x:end] = looks
        if intricate or any(text is not None and len(text) > 1 for text in old_texts):
            # Terminals differ in how wide such clusters are: what stands after them is not where it should be.
            pen.write(y, x, texts, looks)
            return
        changed = [a != b or c != d for a, b, c, d in zip(texts, old_texts, looks, old_looks, strict=True)]
        for first, last in _runs(changed, looks):
            # Half of a wide character cannot be sent.
            while first > 0 and texts[first] == "":
                first -= 1
            while last < len(texts) and texts[last] == "":
                last += 1
            pen.write(y, x + first, texts[first:last], looks[first:last])

    def _cells(self, strip: Strip) -> tuple[list[str], list[Look], bool]:
        """The strip's cells, and whether some are clusters of several characters."""
        texts: list[str] = []
        looks: list[Look] = []
        intricate = False
        for text, style, control in strip:
            if control:
                continue
            look = self._look(style)
            if SINGLE.fullmatch(text):
                texts += text
                looks += [look] * len(text)
                continue
            for begin, end, size in split_graphemes(text)[0]:
                cluster = text[begin:end]
                intricate = intricate or end - begin > 1 or not size
                if size:
                    texts += [cluster, *([""] * (size - 1))]
                    looks += [look] * size
                elif texts:
                    texts[-1] += cluster
        return texts, looks, intricate

    def _look(self, style: Style | None) -> Look:
        if style is None:
            return _PLAIN
        look = self._known.get(style)
        if look is None:
            if len(self._known) > 4096:
                self._known.clear()
            look = self._known[style] = self._looks_like(style)
        return look

    def _looks_like(self, style: Style) -> Look:
        values = (
            style.bold,
            style.dim,
            style.italic,
            style.underline,
            style.blink,
            style.blink2,
            style.reverse,
            style.conceal,
            style.strike,
            style.underline2,
            style.frame,
            style.encircle,
            style.overline,
        )
        attributes = ";".join(code for code, value in zip(_ATTRIBUTES, values, strict=True) if value)
        link = f"id={style.link_id};{style.link}" if style.link else ""
        if self._colors is None:
            return Look(attributes, "", "", link)
        front = style.color.downgrade(self._colors).get_ansi_codes() if style.color else ()
        back = style.bgcolor.downgrade(self._colors).get_ansi_codes(foreground=False) if style.bgcolor else ()
        return Look(attributes, ";".join(front), ";".join(back), link)


class _Pen:
    """Writes cells with as few bytes as it can: it knows where the cursor is, and how the last cell looked."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._at: tuple[int, int] | None = None
        self._look = _PLAIN

    def write(self, y: int, x: int, texts: list[str], looks: list[Look]) -> None:
        """Write these cells from column `x` of line `y` on."""
        self._go(y, x)
        out = self._out
        for column, (text, look) in enumerate(zip(texts, looks, strict=True), x):
            if text == "":
                continue
            if self._at is None:
                self._go(y, column)
            if look is not self._look and look != self._look:
                self._turn(look)
            out.append(text)
            # Where the cursor is after a wide character or a cluster, terminals do not agree on.
            self._at = (y, column + 1) if text in _STEADY else None

    def finish(self) -> str:
        """All that was written, with the terminal's look put back."""
        if self._look != _PLAIN:
            self._turn(_PLAIN)
        return "".join(self._out)

    def _go(self, y: int, x: int) -> None:
        if self._at == (y, x):
            return
        if self._at is not None and self._at[0] == y and x > self._at[1]:
            step = x - self._at[1]
            self._out.append(f"\x1b[{step}C" if step > 1 else "\x1b[C")
        else:
            self._out.append(f"\x1b[{y + 1};{x + 1}H")
        self._at = (y, x)

    def _turn(self, look: Look) -> None:
        old, self._look = self._look, look
        if look.link != old.link:
            self._out.append(f"\x1b]8;{look.link or ';'}\x1b\\")
        if look[:3] == _PLAIN[:3]:
            self._out.append("\x1b[0m")
            return
        codes: Iterable[str]
        if look.attributes != old.attributes:
            codes = ("0", *look[:3])
        else:
            front = (look.foreground or "39") if look.foreground != old.foreground else ""
            back = (look.background or "49") if look.background != old.background else ""
            codes = (front, back)
        sent = ";".join(code for code in codes if code)
        if sent:
            self._out.append(f"\x1b[{sent}m")


class Cells(CompositorUpdate):
    """What has to be sent, in place of the update that it was made from."""

    def __init__(self, text: str) -> None:
        self._text = text

    def render_segments(self, console: Console) -> str:  # noqa: ARG002 - the compositor's own name
        """The text as it is sent."""
        return self._text


def _runs(changed: list[bool], looks: list[Look]) -> Iterator[tuple[int, int]]:
    """Begin and end of the stretches to send: changed cells, and short unchanged gaps of the same look between them."""
    first = last = -1
    for at, is_changed in enumerate(changed):
        if not is_changed:
            continue
        if first < 0:
            first = at
        elif at > last and not (at - last <= _BRIDGE and all(look == looks[last - 1] for look in looks[last:at])):
            yield first, last
            first = at
        last = at + 1
    if first >= 0:
        yield first, last


def _pieces(update: CompositorUpdate) -> Iterator[tuple[int, int, Strip]] | None:
    """Line, column and strip of everything in the update; None for a kind that is not known."""
    if isinstance(update, LayoutUpdate):
        return _layout_pieces(update)
    return _chops_pieces(update) if isinstance(update, ChopsUpdate) else None


def _layout_pieces(update: LayoutUpdate) -> Iterator[tuple[int, int, Strip]]:
    for y, line in enumerate(update.strips, update.region.y):
        x = update.region.x
        for strip in line:
            yield y, x, strip
            x += strip.cell_length


def _chops_pieces(update: ChopsUpdate) -> Iterator[tuple[int, int, Strip]]:
    # The same choice of strips as ChopsUpdate.render_segments makes.
    for y, x1, x2 in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is None or x > x2 or end <= x1:
                continue
            yield y, x, (strip if x >= x1 and x2 > x and end <= x2 else strip.crop(0, min(end, x2) - x))
