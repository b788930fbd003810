"""Pieces of HTML that the sections of the report share. Whatever they are given is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.cli.demo.charts import Chart

__all__ = ["figure", "listing", "sentence", "table"]


def figure(chart: Chart) -> str:
    """A chart, how to read it, and its data to unfold."""
    data = table(chart.title, chart.head, chart.rows)
    note = f"<figcaption>{escape(chart.note)}</figcaption>" if chart.note else ""
    return (
        f"<figure><h3>{escape(chart.title)}</h3>{chart.svg}{note}"
        f"<details><summary>Data of this chart</summary>{data}</details></figure>\n"
    )


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], cls: str = "table") -> str:
    """A table that scrolls by itself where it is too wide."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' if cell else "<td></td>" for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>\n'
        for first, *rest in rows
    )
    # A region that scrolls has to be reachable by keyboard, and then needs a name.
    return (
        f'<div class="{cls}" role="region" aria-label="{escape(caption)}" tabindex="0"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def listing(sentences: Iterable[str]) -> str:
    """Sentences as a list."""
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>\n"


def sentence(text: str) -> str:
    """The text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]
