"""The report's sections about the typed clients."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from holdfast.cli.demo import markup, svg
from holdfast.cli.demo.charts import Chart
from holdfast.cli.demo.typed import conversation, crews
from holdfast.cli.demo.typed.clients import GIVEN
from holdfast.cli.demo.typed.crews import Fate

if TYPE_CHECKING:
    from holdfast.cli.demo.typed.conversation import Conversation, Talk
    from holdfast.cli.demo.typed.crews import Batch
    from holdfast.cli.demo.typed.play import Typed

__all__ = ["BESIDES", "orders", "scores", "typed_links", "typed_sections"]

BESIDES = (
    "Besides, the typed clients of Holdfast against its reference servers: a conversation that becomes memory, and a "
    "crew that must not run twice."
)
"""What the report says of them in its beginning."""

COLUMNS = 20
"""Orders in a row."""

SIDE = 14.0
LOOKS = {
    Fate.DELIVERED: "delivered",
    Fate.TOLD: "failed",
    Fate.UNSURE: "hollow",
    Fate.SAFE: "hollow",
    Fate.LOST: "wrong",
    Fate.TWICE: "wrong",
}
"""How each order is drawn: a class of the style sheet."""


def typed_links() -> Sequence[tuple[str, str]]:
    """Keys and titles of the sections."""
    return (("memory", conversation.TITLE), ("crews", crews.TITLE))


def typed_sections(typed: Typed, first: int) -> str:
    """Both sections.

    Args:
        typed: what came of the acts.
        first: number of the first of them.
    """
    return _memory(typed.conversation, first) + _crews(typed.batches, first + 1)


def _memory(seen: Conversation, number: int) -> str:
    talks = "".join(map(_talk, seen.talks))
    return (
        f'<section id="memory">\n<h2>{number}. {escape(conversation.TITLE)}</h2>\n'
        f'<p class="trouble">{escape(markup.sentence(conversation.TROUBLE))}. {escape(conversation.ENGINES)}</p>\n'
        f"{markup.listing(seen.facts())}"
        f'<div class="pair">{talks}</div>\n'
        f'<div class="pair">{markup.figure(scores(seen))}'
        f"<div><h3>What consolidation joined</h3>{markup.listing(merge.told for merge in seen.merges)}"
        f"<h3>What is remembered in the end</h3>{markup.listing(seen.left)}</div></div>\n</section>\n"
    )


def _talk(talk: Talk) -> str:
    said = "".join(
        f'<li class="{escape(who)}"><span class="soft">{escape(who)}</span> {escape(text)}</li>'
        for who, text in talk.said
    )
    found = markup.table(
        f"Facts found on {talk.title}", ("fact", "topic"), [(one.fact, one.topic) for one in talk.found]
    )
    return f'<div><h3>{escape(talk.title)}</h3><ol class="talk">{said}</ol>\n{found}</div>\n'


def scores(seen: Conversation) -> Chart:
    """The best matches of the question."""
    drawing: list[str] = []
    y = 4.0
    full = svg.WIDTH - 48
    for match in seen.matches:
        drawing.append(svg.text(0, y + 12, match.fact))
        drawing.append(svg.rect(0, y + 18, full, 12, "track"))
        drawing.append(svg.rect(0, y + 18, max(match.score, 0.0) * full, 12, "holdfast"))
        drawing.append(svg.text(svg.WIDTH, y + 29, f"{match.score:.2f}", "end"))
        y += 42
    title = f'Search: "{conversation.QUESTION}"'
    rows = tuple((match.fact, f"{match.score:.4f}") for match in seen.matches)
    note = "Cosine similarity of hashed words: 1 for the same text, near 0 for texts that share no words."
    return Chart(
        title, svg.image("scores", title, "Bars, as in the table below.", y, drawing), note, ("memory", "score"), rows
    )


def _crews(batches: Sequence[Batch], number: int) -> str:
    return (
        f'<section id="crews">\n<h2>{number}. {escape(crews.TITLE)}</h2>\n'
        f'<p class="trouble">{escape(markup.sentence(crews.trouble(len(batches[0].orders))))}.</p>\n'
        f"{markup.listing([*crews.explained(batches), f'{GIVEN}.'])}"
        f'<div class="pair">{markup.figure(orders(batches))}'
        f"<div>{markup.table('Figures: a crew under failures', crews.HEAD, crews.figures(batches))}</div></div>\n"
        "</section>\n"
    )


def orders(batches: Sequence[Batch]) -> Chart:
    """A square for each order."""
    drawing: list[str] = [svg.hatch("orders")]
    y = 0.0
    step = svg.WIDTH / COLUMNS
    for batch in batches:
        delivered = len(batch.orders) - len(batch.errors)
        drawing.append(svg.text(0, y + 13, batch.name, "strong"))
        drawing.append(svg.text(svg.WIDTH, y + 13, f"{delivered} of {len(batch.orders)} delivered", "end"))
        y += 22
        for place, order in enumerate(batch.orders):
            fate = batch.fate(order)
            row, column = divmod(place, COLUMNS)
            look = LOOKS[fate]
            fill = "url(#hatch-orders)" if look == "failed" else ""
            x = column * step + (step - SIDE) / 2
            drawing.append(svg.rect(x, y + row * step, SIDE, SIDE, look, f"{order}: {fate.value}", fill))
        y += -(-len(batch.orders) // COLUMNS) * step + 12
    fates = [batch.fates for batch in batches]
    rows = tuple((fate.value, *(str(one[fate]) for one in fates)) for fate in Fate if any(one[fate] for one in fates))
    title = "What became of each order"
    said = "; ".join(f"{batch.name}: {len(batch.orders) - len(batch.errors)} delivered" for batch in batches)
    note = (
        "Filled: its result was delivered. Hatched: the call failed, the error says that the crew may have run, and it "
        "had. Hollow: the call failed, and it had not run."
    )
    if any(one[Fate.LOST] + one[Fate.TWICE] for one in fates):
        note += " In the colour of failures: it ran twice, or ran and nobody was told."
    image = svg.image("orders", title, said, y, drawing)
    return Chart(title, image, note, ("", *(batch.name for batch in batches)), rows)
