"""The middleware that lets rules strike requests."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from holdfast.servers.faults.admin import Admin, refusal
from holdfast.servers.faults.delivery import AnswerTooLargeError, Exchange
from holdfast.servers.faults.grammar import FaultRuleError
from holdfast.servers.faults.ledger import HEADER, Ledger
from holdfast.servers.faults.wire import wire_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from holdfast.servers.faults.answer import Answer
    from holdfast.servers.faults.kinds import AnyRule
    from holdfast.servers.faults.ledger import Strike

__all__ = ["FaultInjection"]


class FaultInjection:
    """ASGI middleware with the admin API. Rules belong to one app: every port has its own.

    Rules strike a request in the order in which they were added, those of its header last. First come those that act
    before the app, until one of them answers in the app's place; then those that spoil the answer, wherever it came
    from.

    Args:
        app: what is struck.
        rules: added at once.
        clock: monotonic seconds, for time windows.
    """

    def __init__(
        self, app: ASGIApp, rules: Iterable[AnyRule] = (), *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._ledger = Ledger(rules, clock)
        self._admin = Admin(self._ledger)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, spoiled by the rules that strike it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wire = wire_of(scope)
        path: str = scope["path"]
        if Admin.serves(path):
            await self._admin(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            strikes = self._ledger.strikes(
                scope["method"], path, headers.getlist(HEADER), headers.get("X-Request-ID", "")
            )
        except FaultRuleError as error:
            await refusal(error)(scope, receive, send)
            return
        if not strikes:
            await self._app(scope, receive, send)
            return
        if wire is None and (kinds := [strike.rule.kind for strike in strikes if strike.rule.needs_wire]):
            detail = f"{kinds[0]} is below ASGI: it needs a server with http=holdfast.servers.faults.FaultProtocol"
            await JSONResponse({"detail": detail}, status_code=501)(scope, receive, send)
            return
        try:
            await self._strike(Exchange(scope, receive, send, wire), strikes)
        except AnswerTooLargeError as error:
            await JSONResponse({"detail": str(error)}, status_code=501)(scope, receive, send)

    async def _strike(self, exchange: Exchange, strikes: Sequence[Strike]) -> None:
        afterwards = [strike for strike in strikes if not strike.rule.before]

        def spoil(answer: Answer) -> None:
            for strike in afterwards:
                # Nothing can be done to an answer of which there is not a byte.
                if not answer.silent:
                    answer.delay += strike.delay
                    strike.rule.spoil(answer)

        for strike in strikes:
            if strike.rule.before:
                await asyncio.sleep(strike.delay)
                answer = strike.rule.instead()
                if answer is not None:
                    answer.to_head = exchange.is_head
                    spoil(answer)
                    await exchange.deliver(answer)
                    return
        if afterwards:
            await exchange.ask(self._app, spoil)
        else:
            await exchange.pass_on(self._app)
