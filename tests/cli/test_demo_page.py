"""The demo's report: one file that loads nothing, in a real browser, wide and narrow, light and dark."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from holdfast.cli.demo import charts
from holdfast.cli.demo.page import page
from holdfast.cli.demo.settings import BARE, HOLDFAST
from holdfast.cli.demo.tally import Done
from holdfast.cli.demo.typed import section
from tests.support.browser import chromium, show
from tests.support.demo_acts import NAMES, played, totals, typed

WHEN = datetime(2025, 3, 4, 15, 16, tzinfo=UTC)

# Contrast of text and of what the charts are drawn with to what is behind, as WCAG 2.2 computes it (1.4.3, 1.4.11).
CONTRASTS = """() => {
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const rgb = css => css.match(/[\\d.]+/g).map(Number);
  const light = css => { const [r, g, b] = rgb(css).map(channel); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (rgb(color).length === 3) return color;
    }
  };
  const text = [...document.querySelectorAll('p, li, td, th, h1, h2, h3, a, dt, dd, summary, figcaption')]
    .map(one => ratio(getComputedStyle(one).color, ground(one)));
  const drawn = [...document.querySelectorAll('svg text')].map(one => ratio(getComputedStyle(one).fill, ground(one)));
  const filled = 'rect.bare, rect.glued, rect.holdfast, rect.delivered, rect.wrong, path.area';
  const marks = [
    ...[...document.querySelectorAll(filled)].map(one => ratio(getComputedStyle(one).fill, ground(one))),
    ...[...document.querySelectorAll('rect.hollow')].map(one => ratio(getComputedStyle(one).stroke, ground(one))),
  ];
  return [Math.min(...text), Math.min(...drawn), Math.min(...marks)];
}"""

TYPED = ("scores", "orders")
"""The drawings of the acts with the typed clients."""

OVERFLOW = "document.documentElement.scrollWidth - innerWidth"

# Texts of a drawing that lie on each other, or outside of it.
COLLISIONS = """() => [...document.querySelectorAll('svg[role=img]')].flatMap(svg => {
  const all = [...svg.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect()]);
  const frame = svg.getBoundingClientRect();
  const leaves = r => r.left < frame.left - 1 || r.right > frame.right + 1 || r.bottom > frame.bottom + 1;
  const outside = all.filter(([, r]) => leaves(r));
  const touch = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4;
  const on = all.flatMap(([t, r], i) => all.slice(i + 1).filter(([, s]) => touch(r, s)).map(([u]) => `${t} / ${u}`));
  return [...outside.map(([t]) => `${svg.id}: ${t} is outside`), ...on.map(t => `${svg.id}: ${t}`)];
})"""


class Outline(HTMLParser):
    """Tags, attributes and text; fails on tags that are closed in the wrong order."""

    VOID = frozenset({"meta", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def text(names=NAMES, *left_out: str) -> str:
    acts = played(names)
    return page(acts, totals(acts), typed=typed(), left_out=left_out, when=WHEN, took=42.4)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(text(), encoding="utf-8")
    return path


def test_nothing_refers_to_another_place():
    outline = Outline(text())
    assert outline.tags.keys().isdisjoint(
        {"script", "img", "iframe", "object", "embed", "base", "form", "use", "image"}
    )
    links = [value or "" for _, name, value in outline.attributes if name in {"href", "src", "srcset", "xlink:href"}]
    assert links and all(link.startswith("#") or link == "data:," for link in links)
    ids = [value for _, name, value in outline.attributes if name == "id"]
    assert len(ids) == len(set(ids)) and {link[1:] for link in links if link != "data:,"} <= set(ids)
    assert re.findall(r"https?:(?!//127\.0\.0\.1:)|@import|url\((?!#)", text()) == []  # an error names a server
    assert not any(name.startswith("on") or name == "style" for _, name, _ in outline.attributes)


def test_every_chart_has_a_name_a_description_and_its_data():
    outline = Outline(text())
    drawings = [value for tag, name, value in outline.attributes if (tag, name) == ("svg", "id")]
    keys = [act.key for act in played()]
    assert drawings == ["shares", *(f"{what}-{key}" for key in keys for what in ("latency", "arrivals")), *TYPED]
    labels = [value for tag, name, value in outline.attributes if (tag, name) == ("svg", "aria-labelledby")]
    ids = {value for _, name, value in outline.attributes if name == "id"}
    assert all(set((label or "").split()) <= ids for label in labels) and len(labels) == len(drawings)
    assert outline.tags["figure"] == len(drawings)
    assert "".join(outline.text).count("Data of this chart") == len(drawings)


def test_what_comes_from_outside_is_escaped():
    written = text(NAMES, "<i>left & out</i>", "and more")
    assert "<b>odd" not in written and "&lt;b&gt;odd &amp; long&lt;/b&gt;" in written
    assert "<b>tea" not in written and "<b>no" not in written and "<p>and more</p>" in written
    assert "<i>" not in written and "&lt;i&gt;left &amp; out&lt;/i&gt;" in written


def test_a_contestant_that_is_missing_is_missing_everywhere():
    written = text((BARE, HOLDFAST), "The glued stack is left out: because.")
    assert "The glued stack is left out: because." in written
    assert written.replace("The glued stack is left out", "").count("glued stack") == 0


def test_the_data_of_the_charts_add_up():
    act = played()[1]
    taken = charts.latencies("x", act.tallies)
    for column, tally in enumerate(act.tallies.values(), start=1):
        cells = [re.fullmatch(r"(\d+)(?:, (\d+) failed)?", row[column]) for row in taken.rows]
        assert sum(int(cell[1]) for cell in cells if cell) == tally.succeeded
        assert sum(int(cell[2] or 0) for cell in cells if cell) == tally.failed
    came = charts.arrivals("y", act.tallies, act.seconds, (2.5, 7.5), None)
    assert 'class="down"' in came.svg and "the server was down from 2.5 to 7.5 s" in came.svg
    for column, tally in enumerate(act.tallies.values(), start=1):
        assert sum(int(row[column]) for row in came.rows) == tally.sent


def test_extreme_figures_are_drawn_too():
    acts = played()
    for tally in acts[0].tallies.values():
        tally.done = [Done(0.0, 0.0, "503"), Done(0.0, 5000.0)]
        tally.server.arrivals.clear()
    for tally in acts[1].tallies.values():
        tally.done.clear()
    written = page(acts, totals(acts), when=WHEN, took=1)
    numbers = re.findall(r' (?:x|y|width|height|x1|x2|y1|y2)="([^"]*)"', written)
    assert numbers and all(re.fullmatch(r"\d+(\.\d+)?", number) for number in numbers)


def test_a_page_without_the_typed_clients_does_not_speak_of_them():
    acts = played()
    written = page(acts, totals(acts), left_out=["They are left out."], when=WHEN, took=1)
    outline = Outline(written)
    ids = {value for _, name, value in outline.attributes if name == "id"}
    assert ids.isdisjoint({"memory", "crews", *TYPED}) and "<p>They are left out.</p>" in written
    assert "typed client" not in written


def test_every_order_is_drawn_as_what_became_of_it():
    batches = typed().batches
    chart = section.orders(batches)
    looks = Counter(re.findall(r'<rect [^>]*class="(\w+)"[^>]*><title>order', chart.svg))
    assert looks == {"delivered": 36, "failed": 2, "hollow": 4, "wrong": 4}
    assert chart.svg.count("url(#hatch-orders)") == 2
    assert sum(int(cell) for row in chart.rows for cell in row[1:]) == 46
    assert "ran twice" in chart.note
    for batch in batches:
        batch.executed[batch.orders[3]], batch.executed[batch.orders[4]] = 0, 1
    assert "ran twice" not in section.orders(batches).note


def test_a_share_is_never_rounded_to_all_or_nothing():
    assert [charts.percent(share) for share in (0.0, 0.001, 0.5, 0.996, 0.9999, 1.0)] == [
        "0 %", "0.1 %", "50 %", "99.6 %", "99.9 %", "100 %",
    ]  # fmt: skip


@pytest.mark.slow
def test_it_shows_well_in_a_browser_at_every_width(file):
    # Unfolding all data must not make it overflow either.
    unfold = "document.querySelectorAll('details').forEach(one => one.open = true)"
    with chromium() as browser:
        for width in (320, 360, 768, 1200, 1920):
            shown = show(browser, file, OVERFLOW, COLLISIONS, unfold, OVERFLOW, width=width)
            assert shown.values == [0, [], None, 0], width
            assert shown.complaints == [] and shown.requests == [file.as_uri()]


@pytest.mark.slow
def test_it_can_be_read_in_light_and_dark(file):
    ground = "getComputedStyle(document.body).backgroundColor"
    with chromium() as browser:
        light = show(browser, file, CONTRASTS, ground, pictured=True)
        dark = show(browser, file, CONTRASTS, ground, scheme="dark", pictured=True)
    for shown in (light, dark):
        text_, drawn, marks = shown.values[0]
        assert text_ >= 4.5 and drawn >= 4.5 and marks >= 3
        assert shown.complaints == []
    assert light.values[1] != dark.values[1] and light.picture != dark.picture
