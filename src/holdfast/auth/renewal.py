"""`Renewal`: the token that many calls share. One of them obtains it, and the others wait for that.

The calls may be those of several clients, each of which steps its flows under a lock of its own. So there is a lock
here, held by plain code that never waits. Waiters are woken, and given up, only under it; a wake-up by another client's
thread reaches a flow as any does, and what it brought is looked up here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from holdfast.auth.tokens import NoToken, Token
from holdfast.core.effects import CannotWait, Flow, Io, Job, Park, Waiter
from holdfast.exceptions import AuthenticationError, DeadlineExceededError, PoolTimeoutError

_log = logging.getLogger("holdfast.auth")

_LEAD = object()
_PAUSE = 10.0  # seconds between attempts to renew a token that still holds
_FUTILE = 60.0  # seconds in which a token is not renewed for a 401 again, if doing so was of no use


class Renewal:
    """Keeps a token, and has one call at a time obtain the next.

    A leader that is cancelled, or runs out of its own time, hands over to the oldest of those who wait. What came from
    outside, a token or a refusal, is shared.
    """

    def __init__(self) -> None:
        self.token: Token | None = None
        self._not_before = 0.0  # the next attempt to renew a token that still holds
        self._futile: tuple[Token, float] | None = None
        self.renew()
        _renewals.add(self)

    def renew(self) -> None:
        """Forgets who is waiting: in a forked child, nobody is, and the lock may be held by a thread of the parent."""
        # Reentrant: the garbage collector may end a flow, and with it a wait, anywhere, so also in here.
        self._lock = threading.RLock()
        self._led = False
        self._queue: deque[Waiter] = deque()

    @property
    def idle(self) -> bool:
        """Whether nobody obtains a token, nor waits for one."""
        return not self._led and not self._queue

    def obtain(
        self,
        job: Job,
        now: Callable[[], float],
        fetch: Callable[[], Flow[Token | NoToken]],
        refused: Token | None = None,
    ) -> Flow[Token | NoToken]:
        """The token, or why there is none. `refused`: one that the server did not take."""
        place = self._join(now(), refused)
        if isinstance(place, Token | NoToken):
            return place
        if place is not None:
            try:
                yield Park(job.deadline, place)
            except CannotWait as refusal:
                self._abandon(place)
                return NoToken(f"another call is obtaining it: {refusal}", PoolTimeoutError, local=True)
            except BaseException:
                self._abandon(place)
                raise
            got = self._outcome(place)
            if got is None:
                why = "the deadline passed while another call was obtaining it"
                return NoToken(why, DeadlineExceededError, local=True)
            if got is not _LEAD:
                return got  # type: ignore[no-any-return]
        try:
            made = yield from fetch()
        except BaseException:
            self._hand_over()
            raise
        if isinstance(made, Token):
            self._land(made)
            return made
        if made.local or now() >= job.deadline:
            self._hand_over()
        else:
            self._land(made)
        kept = self.token
        if kept is None or kept is refused or now() >= kept.expires_at:
            if refused is not None:
                yield Io(_warn, ("a token was refused, and could not be renewed", made))
            return made
        self._not_before = now() + _PAUSE
        yield Io(_warn, ("a token that is about to expire could not be renewed", made))
        return kept

    def spent(self, token: Token, now: float) -> None:
        """Renewing for a 401 was of no use: `token` was not taken either."""
        self._futile = token, now

    def _join(self, now: float, refused: Token | None) -> Token | NoToken | Waiter | None:
        """What there is: the token, or a place to wait for the one who obtains it. None: that is for the caller."""
        # In line before looking, because a leader may end in here, by the garbage collector, and look into the line.
        waiter = Waiter()
        with self._lock:
            token = self.token
            holds = token is not None and token is not refused and now < token.expires_at
            if token is not None and holds and (now < token.renew_at or self._led or now < self._not_before):
                return token
            if refused is not None and self._futile is not None:
                spent, since = self._futile
                if spent is refused and now < since + _FUTILE:
                    return NoToken("the server took no renewed token just now either", AuthenticationError)
            self._queue.append(waiter)
            if self._led:
                return waiter
            self._queue.remove(waiter)
            self._led = True
        return None

    def _outcome(self, waiter: Waiter) -> Any:
        """What a waiter was woken with; None if it was not, and stands in no line any more."""
        with self._lock:
            if waiter.woken:
                return waiter.value
            self._leave(waiter)
        return None

    def _abandon(self, waiter: Waiter) -> None:
        """Gives a place up, and what it may have been woken with meanwhile."""
        with self._lock:
            if not waiter.woken:
                self._leave(waiter)
            elif waiter.value is _LEAD:
                self._hand_over()

    def _leave(self, waiter: Waiter) -> None:
        waiter.gone = True
        with contextlib.suppress(ValueError):
            self._queue.remove(waiter)

    def _land(self, result: Token | NoToken) -> None:
        with self._lock:
            if isinstance(result, Token):
                self.token = result
            self._led = False
            waiting, self._queue = self._queue, deque()
            for waiter in waiting:
                waiter.wake(result)

    def _hand_over(self) -> None:
        with self._lock:
            while self._queue:
                if self._queue.popleft().wake(_LEAD):
                    return
            self._led = False


def _warn(said: tuple[str, NoToken]) -> None:
    """Logs a warning. Outside of the client's lock, because a handler may do anything."""
    _log.warning("%s: %s", said[0], said[1].what)


_renewals: weakref.WeakSet[Renewal] = weakref.WeakSet()


def _after_fork() -> None:
    for renewal in list(_renewals):
        renewal.renew()


os.register_at_fork(after_in_child=_after_fork)
