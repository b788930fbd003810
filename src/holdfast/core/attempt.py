"""One attempt: a token of the rate limiter, a slot of the bulkhead, the send, and what comes of them given back."""

from __future__ import annotations

from typing import Any

from holdfast.core.bulkhead import FULL, GRANTED, Bulkhead
from holdfast.core.deadline import cut
from holdfast.core.effects import CannotWait, Flow, Io, Job, Park, Sleeper, Waiter
from holdfast.core.events import AttemptFinished, AttemptStarted, SlotWaited, TokenWaited
from holdfast.core.limiter import Limiter
from holdfast.core.outcome import Outcome, Reason, Stop
from holdfast.core.ports import Ports
from holdfast.core.state import State, Tail


class AttemptStage:
    """Sends jobs, each with a token and a slot of its own.

    Args:
        pacing: whether the server's rate-limit headers are looked for.
    """

    def __init__(self, ports: Ports, bulkhead: Bulkhead, *, pacing: bool = True) -> None:
        self.bulkhead = bulkhead
        self.closed = False
        self._ports = ports
        self._pace = ports.pace if pacing else None
        self._sleepers: set[Waiter] = set()

    def admit(self, job: Job, state: State, now: float) -> bool:
        """Takes the token and the slot of the first attempt of a plain job that need not wait, be cut or be told of.

        If so, the caller yields the job itself, `load`s the reply if there is more to it than a success, and calls
        `done`; on an exception it gives back the slot. That is `send` without a generator, for nearly every attempt.

        Returns:
            False: nothing was taken, and it takes a `send`.
        """
        bulkhead = self.bulkhead
        limiter = state.limiter
        if not bulkhead.free or job.deadline - now < job.longest or job.verbosity > 1:
            return False
        if not limiter.idle and not limiter.take(now):
            return False
        bulkhead.free -= 1  # as `enter` does, at half the price
        job.began = now
        job.attempts = 1
        return True

    def load(self, job: Job, reply: Any) -> Flow[Any]:
        """What a reply that is no success leads to: redirects are followed, the body of an error is read."""
        ports = self._ports
        if job.follow and reply.status_code < 400:
            reply = yield from ports.follow(job, reply)
        if job.stream and reply.status_code >= 400:
            reply = yield Io(ports.load, reply, job.deadline)
        return reply

    def done(self, job: Job, state: State, reply: Any) -> None:
        """Gives the slot back, or leaves it to the end of the stream, and looks at the pace the server asks for."""
        status = reply.status_code
        if job.stream and 0 < status < 400:
            job.on_end = Tail(self.bulkhead, job, self._ports.now)
        else:
            self.bulkhead.leave()
        paced = self._pace  # as a local: calling what is no method through an attribute costs twice as much
        if paced is not None and status:
            pace = paced(reply)
            if pace is not None:
                state.limiter_of(job.lane).paced(pace[0], pace[1], self._ports.now(), *pace[2:])

    def send(self, job: Job, state: State, last: Outcome | None, counts: int = 1) -> Flow[Any]:
        """One send with its token and its slot. A `Stop` (whose status is -1) if it did not get them.

        Args:
            job: what to send.
            state: that of its origin.
            last: what became of the attempt before, if there was one.
            counts: 0 if it belongs to the attempt before, 1 if it is one by itself.
        """
        if self.closed:
            # Closed while the credentials were made, or while following another call.
            return Stop.ended(job, Reason.CLOSED, last, "the client was closed")
        ports = self._ports
        bulkhead = self.bulkhead
        limiter = state.limiter_of(job.lane)
        now = ports.now()
        counted = not limiter.idle
        if counted and not limiter.take(now):
            stop = yield from self._token(job, limiter, last)
            if stop is not None:
                return stop
            now = ports.now()
        waiter = bulkhead.enter()
        if waiter is not None:
            stop = yield from self._queued(job, limiter if counted else None, waiter, last)
            if stop is not None:
                return stop
            now = ports.now()
        job.began = now
        left = job.deadline - now
        if left < job.longest:
            if left <= 0.0:
                bulkhead.leave()
                if counted:
                    limiter.give_back(now)
                return Stop.local(job, Reason.DEADLINE, last, "the deadline passed before the attempt was sent")
            job.timeouts = cut(job.timeouts, left)
        job.attempts += counts
        try:
            if job.announce is not None:
                job.announce(job, left)
            if job.verbosity > 1:
                ports.emit(AttemptStarted(job.id, job.route, job.key, job.attempts))
            reply = yield job
            if reply.status_code >= 300:
                reply = yield from self.load(job, reply)
        except BaseException:
            bulkhead.leave()
            raise
        if job.verbosity > 1:
            self._finished(job, reply)
        self.done(job, state, reply)
        return reply

    def sleep(self, until: float, sleeper: Waiter | None = None) -> Flow[None]:
        """A wait that closing the client ends, or the waking of `sleeper`."""
        if sleeper is None:
            sleeper = Sleeper()
        self._sleepers.add(sleeper)
        try:
            yield Park(until, sleeper)
        finally:
            self._sleepers.discard(sleeper)

    def close(self) -> None:
        """Sends nothing any more, and wakes everybody who waits."""
        self.closed = True
        self.bulkhead.close()
        for sleeper in list(self._sleepers):
            sleeper.wake()

    def reset(self) -> None:
        """Forgets what is in flight: after a fork, the parent's attempts are not this process's."""
        self._sleepers.clear()
        self.bulkhead.reset()

    def _finished(self, job: Job, reply: Any) -> None:
        ports = self._ports
        seconds = ports.now() - job.began
        how = ports.classify(job, reply).kind.name.lower()
        ports.emit(AttemptFinished(job.id, job.route, job.key, job.attempts, reply.status_code, how, seconds))

    def _queued(self, job: Job, limiter: Limiter | None, waiter: Waiter, last: Outcome | None) -> Flow[Stop | None]:
        """Waits for a slot. Without one, the token of `limiter` goes back, and the `Stop` says why."""
        try:
            stop = yield from self._slot(job, waiter, last)
        except BaseException:
            if limiter is not None:
                limiter.give_back(self._ports.now())
            raise
        if stop is not None and limiter is not None:
            limiter.give_back(self._ports.now())
        return stop

    def _token(self, job: Job, limiter: Limiter, last: Outcome | None) -> Flow[Stop | None]:
        ports = self._ports
        now = ports.now()
        left = job.deadline - now
        wait = limiter.reserve(now, min(job.plan.token_wait, left))
        if wait is None:
            after = limiter.retry_after(now)
            if job.verbosity > 1:
                ports.emit(TokenWaited(job.id, job.route, job.key, after, False))
            if left < job.plan.token_wait and after > left:
                why = f"the deadline leaves {max(left, 0.0):.3g} s; the rate limit gives no token before {after:.3g} s"
                return Stop.local(job, Reason.DEADLINE, last, why, after)
            why = f"the rate limit gives no token before {after:.3g} s; at most {job.plan.token_wait:.3g} s are waited"
            return Stop.local(job, Reason.RATE_LIMITED, last, why, after)
        if wait > 0.0:
            try:
                # No `Sleeper`: tokens are what other calls have taken.
                yield from self.sleep(now + wait, Waiter())
            except CannotWait as refusal:
                limiter.give_back(ports.now())
                why = f"the rate limit gives no token before {wait:.3g} s: {refusal}"
                return Stop.local(job, Reason.CANNOT_WAIT, last, why, wait)
            except BaseException:
                limiter.give_back(ports.now())
                raise
            if self.closed:
                limiter.give_back(ports.now())
                return Stop.ended(job, Reason.CLOSED, last, "the client was closed")
            if job.verbosity > 1:
                ports.emit(TokenWaited(job.id, job.route, job.key, wait, True))
        return None

    def _slot(self, job: Job, waiter: Waiter, last: Outcome | None) -> Flow[Stop | None]:
        ports = self._ports
        if waiter is FULL:
            return Stop.local(job, Reason.BULKHEAD_FULL, last, "the queue of the bulkhead is full")
        began = ports.now()
        wait = job.plan.slot_wait
        try:
            yield Park(min(began + wait, job.deadline), waiter)
        except CannotWait as refusal:
            self.bulkhead.abandon(waiter)
            return Stop.local(job, Reason.CANNOT_WAIT, last, f"no slot of the bulkhead is free: {refusal}")
        except BaseException:
            self.bulkhead.abandon(waiter)
            raise
        now = ports.now()
        granted = waiter.woken and waiter.value is GRANTED
        if job.verbosity > 1:
            ports.emit(SlotWaited(job.id, job.route, job.key, now - began, granted))
        if granted and not self.closed:
            return None
        self.bulkhead.abandon(waiter)
        if self.closed:
            return Stop.ended(job, Reason.CLOSED, last, "the client was closed")
        if job.deadline < began + wait:
            return Stop.local(job, Reason.DEADLINE, last, "the deadline passed while waiting for a slot")
        return Stop.local(job, Reason.BULKHEAD_FULL, last, f"no slot of the bulkhead was free within {wait:.3g} s")
