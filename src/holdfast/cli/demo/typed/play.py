"""Plays the acts of the typed clients and shows them meanwhile, or says why it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import _loops

if TYPE_CHECKING:
    from holdfast.cli.demo.screen import Screen
    from holdfast.cli.demo.typed.conversation import Conversation
    from holdfast.cli.demo.typed.crews import Batch
    from holdfast.cli.demo.typed.reference import Reference

__all__ = ["LeftOutError", "Typed", "play"]

ORDERS = 40
FEWEST_ORDERS = 20


class LeftOutError(Exception):
    """The acts cannot be played; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Typed:
    """What came of the acts.

    Attributes:
        conversation: of the first.
        batches: of the second, with and without `server_deduplicates`.
    """

    conversation: Conversation
    batches: Sequence[Batch]

    def summary(self) -> str:
        """All of it in a sentence or two."""
        keyed, plain = self.batches
        delivered = [len(batch.orders) - len(batch.errors) for batch in self.batches]
        twice = sum(times > 1 for batch in self.batches for times in batch.executed.values())
        return (
            f"{self.conversation.made} memories made of two sessions, and {self.conversation.merged} merged; of "
            f"{len(keyed.orders)} executions {delivered[0]} were delivered with server_deduplicates and {delivered[1]} "
            f"without, {'none' if twice == 0 else twice} of all {len(keyed.orders) + len(plain.orders)} ran twice"
        )


def play(screen: Screen, first: int, scale: float) -> Typed:
    """Starts the reference servers, plays both acts against them, and shows what happens.

    Args:
        screen: where.
        first: number of the first of the acts.
        scale: 1 for the full size.

    Raises:
        LeftOutError: a package is missing, the servers do not start, or a service could not be used in spite of all.
    """
    with screen.working("Starting the reference servers"):
        try:
            from holdfast.cli.demo.typed import conversation, crews
            from holdfast.cli.demo.typed.clients import GIVEN
            from holdfast.cli.demo.typed.reference import reference_servers
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == "holdfast":
                raise
            raise LeftOutError(
                f'the package "{error.name}" is missing. Install it with: pip install "holdfast[servers]"'
            ) from error
    from holdfast.exceptions import HoldfastError
    from holdfast.servers.service import ServerStartError

    orders = max(round(ORDERS * min(scale, 1.0)), FEWEST_ORDERS)
    bookings = crews.Bookings()

    # One event loop for all that is shown: a Ctrl-C while another begins would leave half a loop behind.
    async def acts(reference: Reference) -> Typed:
        screen.say()
        screen.say(
            "Now the typed clients, against the servers of holdfast serve: Crews and Sessions on one port, Memory on "
            "another."
        )
        screen.say()
        screen.say(f"{first}. {conversation.TITLE}: {conversation.TROUBLE}.", style="bold")
        screen.say(conversation.ENGINES)
        remembered = await conversation.remember(reference, screen.say)
        for fact in remembered.facts():
            screen.say(fact)
        screen.say()
        screen.say(f"{first + 1}. {crews.TITLE}: {crews.trouble(orders)}.", style="bold")
        with screen.working("Executing"):
            batches = [await crews.book(reference, bookings, orders, keyed=keyed) for keyed in (True, False)]
        screen.table(crews.HEAD, crews.figures(batches))
        for said in crews.explained(batches):
            screen.say(said)
        screen.say(f"{GIVEN}.")
        return Typed(remembered, batches)

    try:
        with reference_servers({crews.CREW: bookings.book}) as reference:
            return _loops.run(acts(reference))
    except (HoldfastError, ServerStartError) as error:
        raise LeftOutError(f"{error}") from error
