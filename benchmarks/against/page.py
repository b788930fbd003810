"""The figures as one page of HTML that needs nothing else: a chart and a table for each case."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from against.contestants import CONTESTANTS
from against.rounds import LOADED, Case, Figures, growth
from against.text import About, Row, rows

STYLE = """
:root { color-scheme: light dark; --text: #1b2430; --soft: #5b6675; --back: #fbfbfa; --line: #d9dde3; --bar: #9aa7b8;
  --ours: #0b6e6e; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ee; --soft: #9fabba; --back: #14181e; --line: #313945; --bar: #5d6b7e; --ours: #3fc1b4; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 0 auto;
  max-width: 58rem; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
p, li { color: var(--soft); } .scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
th { color: var(--soft); font-weight: 600; } tr.ours td { color: var(--ours); font-weight: 600; }
svg { width: 100%; height: auto; display: block; margin-bottom: 1rem; } svg text { fill: var(--text); font-size: 13px; }
svg rect { fill: var(--bar); } svg .ours { fill: var(--ours); }
"""

EXPLAINED = (
    "Each call reads the status, a header and the JSON. The multiple is of bare httpx2, for typed calls of openai's"
    " client, in the same round. Holdfast runs with every layer on: retries, circuit breaker, bulkhead, rate limiter,"
    " deadline, metrics; the others have none of that, but for the stack glued by hand. The client's processor time per"
    " call is what other programs on the machine disturb least."
)

LABELS, WIDTH, STEP = 330, 860, 24


def chart(bars: list[tuple[str, bool, float, str]], what: str) -> str:
    """Bars with their names and figures beside them; `bars` is name, whether it is ours, value, and value as text."""
    most = max(value for _, _, value, _ in bars) or 1.0
    drawn = []
    for number, (name, ours, value, shown) in enumerate(bars):
        top, width = number * STEP, max(1.0, (WIDTH - LABELS - 80) * value / most)
        kind = ' class="ours"' if ours else ""
        drawn.append(
            f'<text x="{LABELS - 8}" y="{top + 16}" text-anchor="end">{escape(name)}</text>'
            f'<rect{kind} x="{LABELS}" y="{top + 4}" width="{width:.1f}" height="{STEP - 8}" rx="2"/>'
            f'<text x="{LABELS + width + 6:.1f}" y="{top + 16}">{escape(shown)}</text>'
        )
    size = f'viewBox="0 0 {WIDTH} {len(bars) * STEP}"'
    return f'<svg {size} role="img" aria-label="{escape(what)}">{"".join(drawn)}</svg>'


def table(head: list[str], body: list[tuple[bool, list[str]]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    below = "".join(_row(cells, ours=ours) for ours, cells in body)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{below}</tbody></table></div>'


def _row(cells: list[str], *, ours: bool) -> str:
    kind = ' class="ours"' if ours else ""
    return f"<tr{kind}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _cells(row: Row) -> list[str]:
    times = "" if row.times is None else f"{row.times:.1f} x"
    server = f"{row.server:.0%}" + (" (the limit)" if row.server > LOADED else "")
    p50, p99, cpu = f"{row.p50 * 1e3:.2f}", f"{row.p99 * 1e3:.2f}", f"{row.cpu * 1e6:.0f}"
    return [row.title, times, f"{row.rate:,.0f}", p50, p99, cpu, server]


def _case(case: Case, shown: list[Row]) -> Iterator[str]:
    yield f"<h2>{escape(case.title)}</h2>"
    if case.what == "held":
        each = [(row, row.memory / 1024 / case.in_flight) for row in shown]
        bars = [(row.title, row.ours, value, f"{value:.1f} KiB") for row, value in each]
        yield chart(bars, "memory per call in flight")
        yield table(["", "KiB per call"], [(row.ours, [row.title, f"{value:.1f}"]) for row, value in each])
        return
    bars = [(row.title, row.ours, row.rate, f"{row.rate:,.0f}/s") for row in shown]
    yield chart(bars, f"calls per second, {case.title}")
    head = ["", "multiple", "calls/s", "p50 ms", "p99 ms", "client's CPU us", "server busy"]
    yield table(head, [(row.ours, _cells(row)) for row in shown])


def html(about: About, cases: list[Case], figures: Figures) -> str:
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>Holdfast and its peers</title><style>{STYLE}</style></head><body>",
        "<h1>Holdfast and its peers under the same load</h1>",
        f"<p>{escape(about.machine)}.</p><p>{escape(about.how)}.</p>",
        f"<p>{EXPLAINED}</p>",
    ]
    for case in cases:
        if shown := rows(case, figures):
            parts.extend(_case(case, shown))
    grown = [(one.title, one.ours, growth(figures.results, name)) for name, one in CONTESTANTS.items()]
    bars = [(title, ours, value, f"{value:.2f}") for title, ours, value in grown if value is not None]
    if bars:
        parts.append("<h2>Processor time per call at 1,024 in flight, as a multiple of that at 16</h2>")
        parts.append(chart(bars, "growth of the processor time per call"))
    parts.append("<h2>Versions</h2><ul>")
    parts.extend(f"<li>{escape(name)}: {escape(told)}</li>" for name, told in sorted(figures.versions.items()))
    parts.extend(f"<li>left out: {escape(name)}: {escape(why)}</li>" for name, why in figures.left_out.items())
    parts.extend(f"<li>wrong: {escape(one)}</li>" for one in figures.wrong)
    parts.append("</ul></body></html>\n")
    return "\n".join(parts)
