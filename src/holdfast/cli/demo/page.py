"""The report as one HTML file that loads nothing: style and charts are in it, and there are no scripts."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from holdfast.cli.demo import markup
from holdfast.cli.demo.charts import CLASSES, arrivals, latencies, percent, shares
from holdfast.cli.demo.settings import BARE, GLUED
from holdfast.cli.demo.typed.section import BESIDES, typed_links, typed_sections
from holdfast.cli.demo.verdicts import FIGURES, OVERALL, drawbacks, named, summary, together, too_busy

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.cli.demo.acts import Act
    from holdfast.cli.demo.tally import Tally
    from holdfast.cli.demo.typed.play import Typed

__all__ = ["page"]

# Belt and braces: nothing in the page refers to another file, and a browser would refuse to load it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def page(
    acts: Sequence[Act],
    totals: Mapping[str, Tally],
    *,
    when: datetime,
    took: float,
    typed: Typed | None = None,
    left_out: Sequence[str] = (),
) -> str:
    """The whole report.

    Args:
        acts: all of them have been played.
        totals: all acts together, by contestant.
        when: of the run.
        took: seconds that it took.
        typed: what came of the typed clients' acts; None if they were not played.
        left_out: sentences that say what is missing, and why.
    """
    every = [named(name) for name in totals]
    names = f"{', '.join(every[:-1])} and {every[-1]}"
    title = "Holdfast demo: the same calls against servers that misbehave"
    links = [
        ("all", together(len(acts))),
        *((act.key, act.title) for act in acts),
        *(typed_links() if typed is not None else ()),
        ("given", "Who had what"),
        ("how", "How it was measured"),
    ]
    style = resources.files("holdfast.cli.demo").joinpath("page.css").read_text(encoding="utf-8")
    parts = [
        (
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
            f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<header>\n"
        ),
        f"<h1>{escape(title)}</h1>\n",
        (
            f"<p>The same {sum(act.calls for act in acts)} calls, due at the same moments, through {escape(names)}. "
            "Three of ten place an order, which a service that does not recognise repetitions carries out as often as "
            "it comes.</p>\n"
        ),
        "" if typed is None else f"<p>{escape(BESIDES)}</p>\n",
        *(f"<p>{escape(note)}</p>\n" for note in left_out),
        '<nav aria-label="Sections">',
        " ".join(f'<a href="#{key}">{escape(text)}</a>' for key, text in links),
        "</nav>\n</header>\n<main>\n",
        _overview(acts, totals),
        *(_act(number, act) for number, act in enumerate(acts, start=1)),
        typed_sections(typed, len(acts) + 1) if typed is not None else "",
        _given(acts),
        _how(),
        "</main>\n<footer>\n",
        f"<p>{escape(_made(when, took))}</p>\n",
        "</footer>\n</body>\n</html>\n",
    ]
    return "".join(parts)


def _overview(acts: Sequence[Act], totals: Mapping[str, Tally]) -> str:
    cards = "".join(_card(name, tally) for name, tally in totals.items())
    warning = too_busy(totals)
    busy = f'<p class="busy">{escape(warning)}</p>\n' if warning else ""
    chart = shares({act.title: act.tallies for act in acts})
    return (
        f'<section id="all">\n<h2>{escape(together(len(acts)))}</h2>\n'
        f'<div class="three">{cards}</div>\n{markup.listing(summary(totals))}{_worse(drawbacks(totals, OVERALL))}{busy}'
        f'<div class="pair"><div>{_figures(together(len(acts)), totals)}'
        '<p class="soft">p50 and p99 are of the calls that succeeded; the worst wait is of all calls. Executed twice: '
        "orders that the server carried out more than once.</p></div>\n"
        f"{markup.figure(chart)}</div>\n</section>\n"
    )


def _card(name: str, tally: Tally) -> str:
    lines = (
        ("orders executed twice", str(tally.executed_twice)),
        ("requests sent", str(tally.sent)),
        ("worst wait", next(one.of(tally) for one in FIGURES if one.key == "worst_wait")),
    )
    rows = "".join(f"<dt>{escape(term)}</dt><dd>{escape(value)}</dd>" for term, value in lines)
    return (
        f'<div class="contestant {CLASSES[name]}"><h3>{escape(name)}</h3>'
        f'<div class="large">{percent(tally.share)}</div><div class="soft">of the calls succeeded</div>'
        f"<dl>{rows}</dl></div>\n"
    )


def _act(number: int, act: Act) -> str:
    charts = (
        latencies(act.key, act.tallies),
        arrivals(act.key, act.tallies, act.seconds, act.down, act.limit),
    )
    failures = _failures(act.tallies)
    return (
        f'<section id="{act.key}">\n<h2>{number}. {escape(act.title)}</h2>\n'
        f'<p class="trouble">{escape(markup.sentence(act.trouble))}. {act.calls} calls in {act.seconds:g} s.</p>\n'
        f"{markup.listing(act.facts())}{_worse(drawbacks(act.tallies, act.reasons))}"
        f"{_figures(act.title, act.tallies)}{failures}"
        f'<div class="pair">{"".join(map(markup.figure, charts))}</div>\n</section>\n'
    )


def _worse(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    return f'<div class="worse"><h3>Where Holdfast is not better</h3>{markup.listing(sentences)}</div>\n'


def _figures(title: str, tallies: Mapping[str, Tally]) -> str:
    rows = [(figure.title, *(figure.of(tally) for tally in tallies.values())) for figure in FIGURES]
    return markup.table(f"Figures: {title.lower()}", ("", *tallies), rows)


def _failures(tallies: Mapping[str, Tally]) -> str:
    kinds = sorted({kind for tally in tallies.values() for kind in tally.failures})
    rows = [(kind, *(str(tally.failures[kind]) for tally in tallies.values())) for kind in kinds]
    if not rows:
        return ""
    table = markup.table("How calls failed", ("status or exception", *tallies), rows)
    return f"<details><summary>How calls failed</summary>{table}</details>\n"


def _given(acts: Sequence[Act]) -> str:
    names = list(acts[0].tallies)
    rows = [(setting, *(what.get(name, "") for name in names)) for setting, what in acts[0].settings.compared()]
    table = markup.table("Settings", ("", *names), rows, "table prose")
    alone = (
        f"<p>{escape(BARE.capitalize())} has the same timeouts and connections, and nothing else to set: it sends each "
        "call once.</p>\n"
    )
    glued = (
        f"<p>The {escape(GLUED)} is what people put together by hand: stamina for retries, purgatory for the breaker, "
        "a semaphore, aiolimiter, an id, a log line and a counter around httpx2. It is glued with care: it tries "
        "again after a 5xx, a 429 (heeding Retry-After) and a broken connection, and a 4xx does not open its breaker. "
        "As a decorator around a function it does not know which request may be repeated.</p>\n"
        if GLUED in names
        else ""
    )
    return (
        '<section id="given">\n<h2>Who had what</h2>\n'
        f"<p>Whatever several contestants have is set alike. Beyond this table Holdfast has its defaults.</p>\n{alone}"
        f"{glued}{table}</section>\n"
    )


def _how() -> str:
    said = [
        (
            "Every contestant has a server of its own, and all run at the same time in one process, so that whatever "
            "slows the machine down slows all of them. The servers inject their failures with the same seeds, but by "
            "the order in which requests come: who sends more is struck more often."
        ),
        (
            "A call is timed from the moment when it was due to its end, with waits and retries. A status of 400 and "
            "above counts as failed for everybody."
        ),
        (
            "Requests and orders are counted by the servers. An order was executed twice if the server has placed it "
            "more than once."
        ),
        (
            "Times are about a quarter of what is usual, so that the whole fits into less than a minute. This is no "
            "benchmark of speed, and one run is one run: run it again and small differences change sides."
        ),
    ]
    return f'<section id="how">\n<h2>How this was measured</h2>\n{markup.listing(said)}</section>\n'


def _made(when: datetime, took: float) -> str:
    versions = ", ".join(f"{name} {_version(name)}" for name in ("holdfast", "httpx2"))
    return (
        f"Made by holdfast demo on {when:%Y-%m-%d at %H:%M}, in {took:.0f} s, with {versions} and Python "
        f"{platform.python_version()} on {platform.system()} {platform.machine()}. "
        "This file loads nothing from elsewhere."
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from sources that are not installed
        return "of unknown version"
