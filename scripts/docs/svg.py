"""State machines and curves as SVG that takes its colours from the page around it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

WIDTH = 420
"""All pictures are this wide, in units of their own: readable on a phone too."""

STATE_WIDTH, STATE_HEIGHT = 114, 38
LINE = 14
LETTERS = 21  # of a label, on one line

_STYLE = (
    ".s{fill:var(--hf-fill,#eef2fb);stroke:var(--hf-line,#3f51b5);stroke-width:1.5}"
    ".e{fill:none;stroke:currentColor;stroke-opacity:.55;stroke-width:1.3}"
    ".t{fill:currentColor;font:600 13px var(--hf-font,system-ui,sans-serif);text-anchor:middle}"
    ".l{fill:currentColor;font:12px var(--hf-font,system-ui,sans-serif);text-anchor:middle;"
    "paint-order:stroke;stroke:var(--hf-back,#fff);stroke-width:5px;stroke-linejoin:round}"
    ".h{fill:currentColor;fill-opacity:.55}"
)


@dataclass(frozen=True)
class Edge:
    """A change from one state to another, and what brings it about."""

    old: str
    new: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """Where the states stand, and how far the edges between two of them swing to the right of the straight line.

    A loop begins at a side of its state: "left", "right", "up" or "down". `start` is the state of the beginning.
    """

    places: Mapping[str, tuple[int, int]]
    height: int
    start: str
    bends: Mapping[tuple[str, str], float] = field(default_factory=dict)
    loops: Mapping[str, str] = field(default_factory=dict)
    shifts: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)


def machine(name: str, edges: Sequence[Edge], layout: Layout) -> str:
    """The picture of a state machine.

    Raises:
        KeyError: an edge leads to a state that the layout does not place: draw it anew.
    """
    parts = [_state(state, place) for state, place in layout.places.items()]
    x, y = layout.places[layout.start]
    parts.append(f'<circle class="h" cx="{x - STATE_WIDTH // 2 - 19}" cy="{y}" r="4"/>')
    parts.append(_path(f"M{x - STATE_WIDTH // 2 - 15} {y}L{x - STATE_WIDTH // 2 - 2} {y}"))
    lines: list[str] = []
    labels: list[str] = []
    for edge in edges:
        if edge.old == edge.new:
            line, place = _loop(layout.places[edge.old], layout.loops.get(edge.old, "right"))
        else:
            bend = layout.bends.get((edge.old, edge.new), 0.0)
            line, place = _curve(layout.places[edge.old], layout.places[edge.new], bend)
        shift = layout.shifts.get((edge.old, edge.new), (0, 0))
        lines.append(_path(line))
        labels.append(_label(" / ".join(edge.labels), place[0] + shift[0], place[1] + shift[1]))
    said = "; ".join(f"{edge.old} to {edge.new}: {', '.join(edge.labels)}" for edge in edges)
    return _svg(name, said, layout.height, lines + parts + labels)


def _svg(name: str, said: str, height: int, parts: list[str]) -> str:
    marker = (
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="h" d="M0 0L8 4L0 8z"/></marker></defs>'
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="diagram" role="img" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}"><title>{escape(name)}</title><desc>{escape(said)}</desc><style>{_STYLE}</style>'
    )
    return "\n".join([head + marker, *parts, "</svg>"]) + "\n"


def _state(text: str, place: tuple[int, int]) -> str:
    x, y = place
    rows = textwrap.wrap(text, 13)
    top = y - (len(rows) - 1) * LINE / 2 + 4.5
    words = "".join(f'<tspan x="{x}" y="{top + LINE * row:g}">{escape(part)}</tspan>' for row, part in enumerate(rows))
    box = (
        f'<rect class="s" x="{x - STATE_WIDTH / 2:g}" y="{y - STATE_HEIGHT / 2:g}" width="{STATE_WIDTH}" '
        f'height="{STATE_HEIGHT}" rx="9"/>'
    )
    return f'{box}<text class="t">{words}</text>'


def _path(d: str) -> str:
    return f'<path class="e" d="{d}" marker-end="url(#a)"/>'


def _label(text: str, x: float, y: float) -> str:
    rows = textwrap.wrap(text, LETTERS)
    top = y - (len(rows) - 1) * LINE / 2 + 4
    words = "".join(
        f'<tspan x="{x:.0f}" y="{top + LINE * row:.1f}">{escape(part)}</tspan>' for row, part in enumerate(rows)
    )
    return f'<text class="l">{words}</text>'


def _curve(old: tuple[int, int], new: tuple[int, int], bend: float) -> tuple[str, tuple[float, float]]:
    """A line from the edge of one state to that of the other, and the middle of it."""
    middle = ((old[0] + new[0]) / 2, (old[1] + new[1]) / 2)
    dx, dy = new[0] - old[0], new[1] - old[1]
    length = math.hypot(dx, dy)
    control = (middle[0] - dy / length * bend * 2, middle[1] + dx / length * bend * 2)
    begin, end = _border(old, control), _border(new, control)
    top = ((begin[0] + 2 * control[0] + end[0]) / 4, (begin[1] + 2 * control[1] + end[1]) / 4)
    return f"M{begin[0]:.1f} {begin[1]:.1f}Q{control[0]:.1f} {control[1]:.1f} {end[0]:.1f} {end[1]:.1f}", top


def _border(state: tuple[int, int], towards: tuple[float, float]) -> tuple[float, float]:
    """Where the line from the middle of a state to a point leaves its box."""
    dx, dy = towards[0] - state[0], towards[1] - state[1]
    scale = min(
        (STATE_WIDTH / 2 + 2) / abs(dx) if dx else math.inf, (STATE_HEIGHT / 2 + 2) / abs(dy) if dy else math.inf
    )
    return state[0] + dx * min(scale, 1.0), state[1] + dy * min(scale, 1.0)


_LOOPS = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}


def _loop(state: tuple[int, int], side: str) -> tuple[str, tuple[float, float]]:
    x, y = state
    across, down = _LOOPS[side]
    if across:
        edge = x + across * (STATE_WIDTH / 2 + 1)
        far = edge + across * 46
        return f"M{edge:g} {y - 10}C{far:g} {y - 24} {far:g} {y + 24} {edge + across:g} {y + 10}", (
            far + across * 22,
            y,
        )
    edge = y + down * (STATE_HEIGHT / 2 + 1)
    far = edge + down * 40
    return f"M{x - 22} {edge:g}C{x - 40} {far:g} {x + 40} {far:g} {x + 22} {edge + down:g}", (x, far + down * 4)


@dataclass(frozen=True)
class Band:
    """The waits of one scheme: the least, the most, and the mean for each retry."""

    name: str
    least: tuple[float, ...]
    most: tuple[float, ...]
    mean: tuple[float, ...]


def bands(name: str, shown: Sequence[Band], highest: float) -> str:
    """A picture for each scheme, one below the other: bars from the least to the most wait, a line for the mean."""
    parts: list[str] = []
    left, wide, tall, gap = 96, WIDTH - 104, 70, 26
    for number, band in enumerate(shown):
        top = 10 + number * (tall + gap)
        bottom = top + tall
        parts.append(f'<text class="l" x="{left / 2 - 4:g}" y="{top + tall / 2:g}">{escape(band.name)}</text>')
        parts.append(f'<path class="e" d="M{left} {bottom}L{left + wide} {bottom}"/>')
        step = wide / len(band.most)
        for retry, (least, most, mean) in enumerate(zip(band.least, band.most, band.mean, strict=True)):
            x = left + step * retry + step / 2
            high, low, tick = (bottom - value / highest * (tall - 12) for value in (most, least, mean))
            parts.append(
                f'<rect class="s" x="{x - step * 0.28:.1f}" y="{high:.1f}" width="{step * 0.56:.1f}" '
                f'height="{max(low - high, 1.5):.1f}" rx="2"/>'
            )
            parts.append(f'<path class="e" d="M{x - step * 0.28:.1f} {tick:.1f}h{step * 0.56:.1f}"/>')
            if number == len(shown) - 1:
                parts.append(f'<text class="l" x="{x:.1f}" y="{bottom + 16}">{retry + 1}</text>')
            if retry == len(band.most) - 1:
                parts.append(f'<text class="l" x="{x:.1f}" y="{high - 5:.1f}">{most:.3g} s</text>')
    said = "; ".join(
        f"{band.name}: "
        + ", ".join(f"{least:.3g} to {most:.3g} s" for least, most in zip(band.least, band.most, strict=True))
        for band in shown
    )
    return _svg(name, said, 10 + len(shown) * (tall + gap) + 2, parts)
