"""`Webhooks`: receives webhooks, checks them, and calls the handlers of their events."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar, get_args

from holdfast.call import Call, returns_call
from holdfast.exceptions import WebhookError
from holdfast.service.webhooks.asgi import WebhookApp
from holdfast.service.webhooks.calling import Caller, OnLoop, Slots
from holdfast.service.webhooks.event import WebhookEvent
from holdfast.service.webhooks.processing import Handler, Middleware, Processing, check_middleware, log
from holdfast.service.webhooks.replay import Guard, MemoryReplayCache, ReplayCache
from holdfast.service.webhooks.results import WebhookAnswer, WebhookResult, answer, answer_to, refusal
from holdfast.service.webhooks.signatures import Body, Secret, keys_of
from holdfast.service.webhooks.statistics import Counters, WebhookStatistics
from holdfast.service.webhooks.verifier import Scheme, Verified, Verifier
from holdfast.service.webhooks.work import Worker

if TYPE_CHECKING:
    from holdfast.service.webhooks.headers import HeaderSource

__all__ = ["Webhooks"]

H = TypeVar("H", bound=Handler)
M = TypeVar("M", bound=Middleware)

ANY_TYPE: Final = "*"
"""Stands for events of every type."""

_SHORTEST_LEASE = 300.0


class Webhooks:
    """Receives webhooks: checks signature, age and form, lets each event through once, and calls its handlers.

    ::

        webhooks = Webhooks("whsec_...")

        @webhooks.on("agent_run.completed")
        async def completed(event: WebhookEvent) -> None:
            print(event.data["id"])

        app.router.routes.append(Route("/webhooks", webhooks.asgi()))     # Starlette, FastAPI
        answer = webhooks.respond(body, headers).result()                 # Flask, Django

    Signatures are those of the hub scheme (X-Hub-Signature-256 or X-Signature: hexadecimal HMAC-SHA256 of the body, its
    age told by the ISO ``timestamp`` in the payload) and of Standard Webhooks (webhook-id, webhook-timestamp,
    webhook-signature).

    An event is remembered once nothing has failed, also if there was no handler or a middleware stopped it. If a
    handler fails, the event may be delivered again, and then all of its handlers run again: they must be able to bear
    that. While it is being handled, a second delivery is refused with `in_progress`.

    It can be used from any number of threads and event loops.

    Args:
        secrets: one, or several while one takes the place of another; any of them will do. ``whsec_`` and Base64 is the
            form of Standard Webhooks; the hub scheme takes the text as it is. None: nothing is signed, so anybody can
            send anything; the log warns of it once. Then ages are not checked either, and only webhook-id tells
            replays.
        scheme: ``"hub"`` or ``"standard"`` if the sender uses one of them. With ``"any"`` a webhook that has a
            webhook-signature must be right by that, any other by the hub scheme; and the body that passed by one scheme
            does not pass by the other, so that an event must not have the same body, timestamp included, as another.
        tolerance: seconds that a webhook may come late, or early by a clock that is wrong. None for any age.
        max_bytes: of a body.
        replay_cache: what remembers events; unless given, a `MemoryReplayCache`, which is for one process.
        remember: seconds for which events are remembered, at least twice the tolerance: for so long a webhook may pass.
            The default outlasts most repetitions of senders. 0 for not at all.
        handler_timeout: seconds that a handler may take; None for no limit. A sync handler cannot be interrupted: in
            async code nobody waits for it any longer, in sync code it is not limited.
        max_concurrency: handlers that run at a time on one event loop; in sync code they run one after the other.
        clock: the time of day in unix seconds.

    Raises:
        TypeError, ValueError: an argument is wrong; the message names it, and shows no secret.
    """

    def __init__(
        self,
        secrets: Secret | Sequence[Secret] | None,
        *,
        scheme: Scheme = "any",
        tolerance: float | None = 300.0,
        max_bytes: int = 2**20,
        replay_cache: ReplayCache | None = None,
        remember: float = 86_400.0,
        handler_timeout: float | None = 30.0,
        max_concurrency: int = 16,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if scheme not in get_args(Scheme):
            raise ValueError(f"scheme must be 'any', 'hub' or 'standard', not {scheme!r}")
        _check_seconds("tolerance", tolerance, optional=True)
        _check_seconds("handler_timeout", handler_timeout, optional=True, positive=True)
        _check_seconds("remember", remember)
        _check_count("max_bytes", max_bytes)
        _check_count("max_concurrency", max_concurrency)
        if tolerance is not None and 0 < remember < 2 * tolerance:
            raise ValueError(
                f"remember={remember:g} is less than twice the tolerance of {tolerance:g} s: an event would be"
                " forgotten while its webhook still passes"
            )
        keys = () if secrets is None else keys_of(secrets, encoded=scheme != "hub")
        if replay_cache is None:
            replay_cache = MemoryReplayCache(clock=clock)
        self._verifier = Verifier(keys, scheme, tolerance, max_bytes, clock)
        self._guard = Guard(replay_cache, remember, max(_SHORTEST_LEASE, 2 * (handler_timeout or 0.0)))
        self._limit = handler_timeout
        self._counters = Counters(clock)
        self._slots = Slots(max_concurrency)
        self._lock = threading.Lock()
        self._handlers: dict[str, tuple[Handler, ...]] = {}
        self._middleware: tuple[Middleware, ...] = ()
        self._warned = False

    @property
    def max_bytes(self) -> int:
        """How large a body may be."""
        return self._verifier.max_bytes

    # Handlers

    def register_handler(self, event_type: str, handler: H) -> H:
        """Has `handler` called with every event of a type, or with ``"*"`` of all types. Returns it.

        It may be sync or async; in async code a sync one runs on a thread. One that is registered already stays so,
        once. Handlers of the type come before those of ``"*"``, and fail one by one.

        Raises:
            TypeError, ValueError: an argument is wrong.
        """
        if not isinstance(event_type, str):
            raise TypeError(f"event_type must be text, not {type(event_type).__name__}")
        if not event_type:
            raise ValueError("event_type is empty: give one such as 'agent_run.completed', or '*' for all")
        if not callable(handler):
            raise TypeError(f"a handler must be a function of the event, not {type(handler).__name__}")
        with self._lock:
            known = self._handlers.get(event_type, ())
            if handler not in known:
                self._handlers[event_type] = (*known, handler)
        return handler

    def unregister_handler(self, event_type: str, handler: Handler) -> bool:
        """Takes a handler back. False if it was not registered for this type."""
        with self._lock:
            known = self._handlers.get(event_type, ())
            rest = tuple(one for one in known if one != handler)
            if rest:
                self._handlers[event_type] = rest
            else:
                self._handlers.pop(event_type, None)
            return len(rest) < len(known)

    def on(self, *event_types: str) -> Callable[[H], H]:
        """Registers the decorated function for these types.

        Raises:
            TypeError: none is given.
        """
        if not event_types or not all(isinstance(one, str) for one in event_types):
            raise TypeError("name the event types: @webhooks.on('agent_run.completed'), or '*' for all")

        def register(handler: H) -> H:
            for event_type in event_types:
                self.register_handler(event_type, handler)
            return handler

        return register

    def handlers(self, event_type: str) -> tuple[Handler, ...]:
        """The handlers that an event of this type is given to, in order; each once."""
        with self._lock:
            of_type = () if event_type == ANY_TYPE else self._handlers.get(event_type, ())
            of_all = self._handlers.get(ANY_TYPE, ())
        return (*of_type, *(one for one in of_all if one not in of_type))

    def add_middleware(self, middleware: M) -> M:
        """Puts a middleware around what follows: those added before are outside of it. Returns it; also a decorator.

        ::

            @webhooks.add_middleware
            def only_ours(event):
                if event.data.get("organization_id") != 123:
                    return  # without a yield the event stops here
                result = yield event
                print(event.event_type, result.status)

        It is a generator function, or an async one if it has to wait. It yields the event, or another in its place, and
        gets the `WebhookResult`. If it raises, the event counts as failed.

        Raises:
            TypeError: it is no generator function.
        """
        check_middleware(middleware)
        with self._lock:
            self._middleware = (*self._middleware, middleware)
        return middleware

    # Webhooks

    def verify(self, body: Body, signature: str | None = None, headers: HeaderSource | None = None) -> WebhookEvent:
        """The event in a webhook, if its signature, age and form are right.

        Nothing is remembered, counted or handled: whether it came before is for `process`.

        Args:
            body: as it was received. For a dict, the signature is that of ``json.dumps(body)``.
            signature: of whichever scheme, in place of that in `headers`. For Standard Webhooks the headers have to
                have id and timestamp.
            headers: of the request, as a mapping or in pairs.

        Raises:
            WebhookError: it must not be trusted, or cannot be read; `reason` says which. Whatever is handed in, this is
                what is raised.
        """
        try:
            return self._verifier.verify(body, signature, headers).event
        except WebhookError as error:
            raise self.translate(error) from None

    @returns_call
    def process(
        self, body: Body, signature: str | None = None, headers: HeaderSource | None = None
    ) -> Call[WebhookResult]:
        """A call that verifies a webhook and has its event handled: await it, or ask for its ``result()`` in sync code.

        What handlers raise is in the result. In sync code they run one after the other: the sync ones on this thread
        with no event loop running, the async ones on a loop made for this call.

        It takes what `verify` takes.

        Raises:
            WebhookError: from the call, as `verify`, and with the reason ``"replay"`` if it was handled before or is
                being handled, ``"unavailable"`` if the replay cache failed.
        """
        work = Worker(self._caller, "a webhook")
        return Call(work, lambda caller: self._process(caller, body, signature, headers))

    @returns_call
    def respond(self, body: Body, headers: HeaderSource | None = None) -> Call[WebhookAnswer]:
        """A call that does what `process` does, and gives the HTTP response for the sender. It raises no WebhookError.

        ::

            @flask_app.post("/webhooks")
            def receive():
                answer = webhooks.respond(request.get_data(), request.headers).result()
                return answer.content, answer.status, answer.headers
        """
        return Call(
            Worker(self._caller, "the answer to a webhook"), lambda caller: self._respond(caller, body, headers)
        )

    def asgi(self, *, answer_first: bool = False) -> WebhookApp:
        """An ASGI application that receives webhooks, see `WebhookApp`."""
        return WebhookApp(self, answer_first=answer_first)

    def statistics(self) -> WebhookStatistics:
        """What was received until now, and what became of it."""
        return self._counters.snapshot()

    def translate(self, error: WebhookError) -> Exception:
        """What is raised for an error: itself. A subclass may raise a class of its own, made with `renamed`."""
        return error

    def __repr__(self) -> str:
        verifier = self._verifier
        with self._lock:
            handlers = len({one for known in self._handlers.values() for one in known})
        signed = f"{verifier.scheme}, {len(verifier.keys)} secret(s)" if verifier.keys else "unsigned"
        return f"<Webhooks {signed}, {handlers} handler(s)>"

    # For what serves them

    async def answer_first(
        self, body: bytes, headers: HeaderSource, reply: Callable[[WebhookAnswer], Awaitable[None]]
    ) -> None:
        """Verifies a webhook, replies, and then has its event handled. For `WebhookApp`."""
        caller = self._caller()
        try:
            verified = await self._enter(caller, body, None, headers)
        except WebhookError as error:
            _log_refusal(error)
            await reply(refusal(error))
            return
        try:
            await reply(answer(202, status="accepted"))
        except BaseException:
            await self._guard.give_back(verified.marks, caller)
            raise
        await self._handle(caller, verified)

    def refuse_too_large(self) -> WebhookAnswer:
        """The answer to a body that was not read to its end, because it is too large. For `WebhookApp`."""
        self._counters.count("received")
        error = self._verifier.too_large()
        self._counters.refuse(str(error.reason))
        _log_refusal(error)
        return refusal(error)

    # The work

    def _caller(self) -> OnLoop:
        return OnLoop(self._slots)

    async def _process(
        self, caller: Caller, body: Body, signature: str | None, headers: HeaderSource | None
    ) -> WebhookResult:
        try:
            verified = await self._enter(caller, body, signature, headers)
        except WebhookError as error:
            raise self.translate(error) from None
        return await self._handle(caller, verified)

    async def _respond(self, caller: Caller, body: Body, headers: HeaderSource | None) -> WebhookAnswer:
        try:
            verified = await self._enter(caller, body, None, headers)
        except WebhookError as error:
            _log_refusal(error)
            return refusal(error)
        return answer_to(await self._handle(caller, verified))

    async def _enter(self, caller: Caller, body: Body, signature: str | None, headers: HeaderSource | None) -> Verified:
        """Lets a webhook in, which from then on is being handled."""
        self._counters.count("received")
        try:
            verified = self._verifier.verify(body, signature, headers)
            if verified.event.verified:
                self._counters.count("verified")
            elif not self._warned:
                self._warned = True
                log.warning(
                    "a webhook was accepted without a signature, because no secret is configured: anybody who knows the"
                    " address can send one. Give the secret that the sender signs with"
                )
            await self._guard.enter(verified.marks, caller)
        except WebhookError as error:
            self._counters.refuse(str(error.reason))
            raise
        return verified

    async def _handle(self, caller: Caller, verified: Verified) -> WebhookResult:
        event = verified.event
        try:
            result = await Processing(caller, self._middleware, self.handlers, self._limit).run(event)
        except GeneratorExit:
            raise  # nothing can be awaited any more: the claim ends by itself
        except BaseException:
            await self._guard.give_back(verified.marks, caller)
            raise
        self._counters.end(event.event_type, result)
        if result.ok:
            await self._guard.keep(verified.marks, caller)
        else:
            await self._guard.give_back(verified.marks, caller)
        return result


def _log_refusal(error: WebhookError) -> None:
    if error.reason == "replay":
        log.info("a webhook came again: %s", error.message)
    else:
        log.warning("a webhook was refused (%s): %s", error.reason, error.message)


def _check_seconds(field: str, value: object, *, optional: bool = False, positive: bool = False) -> None:
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{field} must be a number of seconds, not {type(value).__name__}")
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise ValueError(f"{field} must be {'more than 0' if positive else '0 or more'} seconds, not {value!r}")


def _check_count(field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{field} must be a whole number, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{field} must be at least 1, not {value!r}")
