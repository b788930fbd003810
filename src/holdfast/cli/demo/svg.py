"""Pieces of inline SVG: drawn for a width of 400, coloured by classes of the page's style sheet.

Numbers are user units, y goes down.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["WIDTH", "hatch", "image", "line", "rect", "text"]

WIDTH = 400.0


def image(key: str, title: str, text: str, height: float, parts: Sequence[str]) -> str:
    """A drawing with a name and a description for those who do not see it."""
    return (
        f'<svg id="{key}" viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-labelledby="{key}-title {key}-desc">'
        f'<title id="{key}-title">{escape(title)}</title><desc id="{key}-desc">{escape(text)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def hatch(key: str) -> str:
    """The pattern `hatch-KEY` that a rectangle can be filled with."""
    return (
        f'<defs><pattern id="hatch-{key}" width="4" height="4" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect width="4" height="4" class="hatch-ground"/>'
        '<rect width="2" height="4" class="hatch-line"/></pattern></defs>'
    )


def rect(x: float, y: float, width: float, height: float, cls: str, tip: str = "", fill: str = "") -> str:
    """A rectangle; `tip` is shown when somebody points at it."""
    title = f"<title>{escape(tip)}</title>" if tip else ""
    painted = f' fill="{fill}"' if fill else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{cls}"{painted}>{title}</rect>'
    )


def line(x1: float, y1: float, x2: float, y2: float, cls: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{cls}"/>'


def text(x: float, y: float, said: str, cls: str = "") -> str:
    """A text that begins at `x`, or as its class says."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{cls}">{escape(said)}</text>'
