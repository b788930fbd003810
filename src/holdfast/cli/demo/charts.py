"""The charts of what was compared, each with what it was drawn from, as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.cli.demo import svg
from holdfast.cli.demo.settings import BARE, GLUED, HOLDFAST
from holdfast.cli.demo.verdicts import seconds

if TYPE_CHECKING:
    from holdfast.cli.demo.tally import Tally

__all__ = ["CLASSES", "Chart", "arrivals", "latencies", "percent", "shares"]

LEFT, RIGHT = 34.0, 392.0
CLASSES = {BARE: "bare", GLUED: "glued", HOLDFAST: "holdfast"}

BINS_PER_DECADE = 8
TIME_BINS = 44
"""Steps in which arrivals are counted."""

LIMITED_BINS = 12
"""The same where there is a limit: what comes together when its window begins is a peak of any height in small ones."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing and what it shows.

    Attributes:
        title: of the figure.
        svg: the drawing.
        note: how to read it.
        head, rows: the table of its data.
    """

    title: str
    svg: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def shares(acts: Mapping[str, Mapping[str, Tally]]) -> Chart:
    """How many of the calls succeeded, per act and contestant."""
    drawing: list[str] = []
    y = 4.0
    for title, tallies in acts.items():
        drawing.append(svg.text(0, y + 12, title, "strong"))
        y += 19
        for name, tally in tallies.items():
            full = svg.WIDTH - 146
            width = tally.share * full
            tip = f"{name}: {tally.succeeded} of {len(tally.done)} calls succeeded"
            drawing.append(svg.text(0, y + 11, name))
            drawing.append(svg.rect(94, y, full, 14, "track"))
            drawing.append(svg.rect(94, y, width, 14, CLASSES[name], tip))
            drawing.append(svg.text(svg.WIDTH, y + 11, percent(tally.share), "end"))
            y += 18
        y += 9
    rows = tuple(
        (title, *(f"{tally.succeeded} of {len(tally.done)}" for tally in tallies.values()))
        for title, tallies in acts.items()
    )
    names = next(iter(acts.values()))
    title = "Calls that succeeded"
    return Chart(
        title, svg.image("shares", title, "Bars, as in the table below.", y, drawing), "", ("act", *names), rows
    )


def latencies(key: str, tallies: Mapping[str, Tally]) -> Chart:
    """How long calls took to succeed or fail: a histogram over a logarithmic axis for each contestant."""
    low, high = _decades(one.seconds for tally in tallies.values() for one in tally.done)
    bins = (high - low) * BINS_PER_DECADE
    counted = {name: _histogram(tally, low, bins) for name, tally in tallies.items()}
    most = max((good + bad for row in counted.values() for good, bad in row), default=1) or 1
    step = (RIGHT - 8) / bins
    height = 52.0
    drawing = [svg.hatch(key)]
    bottom = len(tallies) * (height + 30)
    for decade in range(low, high + 1):
        x = 8 + (decade - low) * BINS_PER_DECADE * step
        anchor = "start" if decade == low else "end" if decade == high else "middle"
        drawing.append(svg.line(x, 18, x, bottom, "grid"))
        drawing.append(svg.text(x, bottom + 15, _decade(decade), anchor))
    y = 0.0
    for name, row in counted.items():
        tally = tallies[name]
        drawing.append(svg.text(8, y + 13, name, "strong"))
        drawing.append(svg.text(RIGHT, y + 13, f"p50 {seconds(tally.p50)}, p99 {seconds(tally.p99)}", "end"))
        base = y + height + 24
        for number, (good, bad) in enumerate(row):
            x = 8 + number * step
            between = f"{seconds(_edge(low, number))} to {seconds(_edge(low, number + 1))}"
            # Single calls are what it is about: every bar is tall enough to be seen.
            tall = max(good / most * height, 2.5) if good else 0.0
            if good:
                tip = f"{name}: {good} succeeded in {between}"
                drawing.append(svg.rect(x + 0.5, base - tall, step - 1, tall, CLASSES[name], tip))
            if bad:
                taller = max(bad / most * height, 2.5)
                tip = f"{name}: {bad} failed after {between}"
                drawing.append(
                    svg.rect(x + 0.5, base - tall - taller, step - 1, taller, "failed", tip, f"url(#hatch-{key})")
                )
        drawing.append(svg.line(8, base, RIGHT, base, "axis"))
        y += height + 30
    title = "How long calls took"
    said = "; ".join(f"{name}: p50 {seconds(one.p50)}, p99 {seconds(one.p99)}" for name, one in tallies.items())
    rows = tuple(
        (
            f"{seconds(_edge(low, number))} to {seconds(_edge(low, number + 1))}",
            *(_good_and_bad(*row[number]) for row in counted.values()),
        )
        for number in range(bins)
        if any(any(row[number]) for row in counted.values())
    )
    note = "Filled: succeeded. Hatched: failed. The axis is logarithmic; bars of few calls are drawn taller than true."
    return Chart(title, svg.image(f"latency-{key}", title, said, bottom + 20, drawing), note, ("took", *tallies), rows)


def arrivals(
    key: str, tallies: Mapping[str, Tally], length: float, down: tuple[float, float] | None, limit: float | None
) -> Chart:
    """How many requests per second came to each contestant's server.

    Args:
        key: of the act.
        tallies: by contestant.
        length: seconds for which calls were made.
        down: from when to when the server was down; None if it was not.
        limit: requests per second that the server takes; None if it takes any number.
    """
    times = {name: [at - tally.began for at in tally.server.arrivals] for name, tally in tallies.items()}
    end = max([length, *(at for row in times.values() for at in row)]) + 0.001
    bins = TIME_BINS if limit is None else LIMITED_BINS
    width = end / bins
    rates = {name: _rates(row, width, bins) for name, row in times.items()}
    most = max([*(rate for row in rates.values() for rate in row), limit or 0.0, 1.0])
    ceiling = _ceiling(most)
    height = 52.0
    bottom = len(rates) * (height + 30)
    scale = (RIGHT - LEFT) / end
    drawing: list[str] = []
    if down is not None:
        drawing.append(svg.rect(LEFT + down[0] * scale, 20, (down[1] - down[0]) * scale, bottom - 26, "down", "down"))
        drawing.append(svg.text(LEFT + (down[0] + down[1]) / 2 * scale, 32, "server down", "middle"))
    for mark in _marks(end):
        x = LEFT + mark * scale
        drawing.append(svg.line(x, bottom - 6, x, bottom - 2, "axis"))
        drawing.append(svg.text(x, bottom + 11, f"{mark:g} s", "middle"))
    y = 0.0
    for name, row in rates.items():
        base = y + height + 24
        drawing.append(svg.text(LEFT, y + 13, name, "strong"))
        drawing.append(svg.text(RIGHT, y + 13, f"{len(times[name])} requests", "end"))
        drawing.append(svg.text(LEFT - 5, base - height + 4, f"{ceiling:g}", "end"))
        drawing.append(svg.text(LEFT - 5, base + 4, "0", "end"))
        drawing.append(svg.line(LEFT, base - height, RIGHT, base - height, "grid"))
        drawing.append(_steps(row, width * scale, base, height / ceiling, CLASSES[name]))
        if limit is not None:
            at = base - limit * height / ceiling
            drawing.append(svg.line(LEFT, at, RIGHT, at, "limit"))
        drawing.append(svg.line(LEFT, base, RIGHT, base, "axis"))
        y += height + 30
    title = "Requests that arrived, per second"
    said = "; ".join(f"{name}: {len(row)} requests" for name, row in times.items())
    if down is not None:
        said += f"; the server was down from {down[0]:.1f} to {down[1]:.1f} s"
    table = tuple(
        (f"{number * width:.2f} s", *(f"{row[number] * width:.0f}" for row in rates.values())) for number in range(bins)
    )
    note = f"Counted by each contestant's own server, in steps of {width * 1000:.0f} ms; the table has their numbers."
    if limit is not None:
        note += f" Dashed: the {limit:g} a second that the server takes on average."
    return Chart(title, svg.image(f"arrivals-{key}", title, said, bottom + 16, drawing), note, ("from", *rates), table)


def _histogram(tally: Tally, low: int, bins: int) -> list[tuple[int, int]]:
    good, bad = [0] * bins, [0] * bins
    for one in tally.done:
        place = (math.log10(max(one.seconds, 1e-6)) - low) * BINS_PER_DECADE
        (bad if one.failure else good)[min(max(int(place), 0), bins - 1)] += 1
    return list(zip(good, bad, strict=True))


def _decades(values: Iterable[float]) -> tuple[int, int]:
    """Exponents of ten between which all values lie, from a millisecond on and at least one decade apart."""
    known = [max(value, 1e-3) for value in values] or [0.01]
    low = math.floor(math.log10(min(known)))
    return low, max(math.ceil(math.log10(max(known) + 1e-9)), low + 1)


def _decade(exponent: int) -> str:
    return f"{10**exponent:g} s" if exponent >= 0 else f"{10 ** (exponent + 3):g} ms"


def _edge(low: int, number: int) -> float:
    return float(10.0 ** (low + number / BINS_PER_DECADE))


def _rates(times: Iterable[float], width: float, bins: int) -> list[float]:
    found = [0] * bins
    for at in times:
        found[min(max(int(at / width), 0), bins - 1)] += 1
    return [count / width for count in found]


def _ceiling(value: float) -> float:
    """The next round number."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value)


def _marks(end: float) -> list[float]:
    step = next(step for step in (0.5, 1, 2, 5, 10, 20, 50, 100) if end / step <= 7)
    return [step * number for number in range(int((end - step * 0.2) / step) + 1)]


def percent(share: float) -> str:
    """Never 100 % when something is missing, never 0 % when there is something."""
    if 0.995 <= share < 1:
        return f"{math.floor(share * 1000) / 10:.1f} %"
    if 0 < share < 0.005:
        return f"{math.ceil(share * 1000) / 10:.1f} %"
    return f"{share * 100:.0f} %"


def _good_and_bad(good: int, bad: int) -> str:
    return f"{good}, {bad} failed" if bad else str(good)


def _steps(values: Sequence[float], step: float, base: float, unit: float, cls: str) -> str:
    points = [f"M{LEFT:.1f} {base:.1f}"]
    for number, value in enumerate(values):
        points.append(f"V{base - value * unit:.1f}H{LEFT + (number + 1) * step:.1f}")
    return f'<path d="{"".join(points)}V{base:.1f}Z" class="area {cls}"/>'
