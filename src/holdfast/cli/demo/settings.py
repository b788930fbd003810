"""What all contestants are given alike, and what each has in addition."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BARE", "GLUED", "HOLDFAST", "Settings"]

BARE = "bare httpx2"
GLUED = "glued stack"
HOLDFAST = "Holdfast"


@dataclass(frozen=True, slots=True)
class Settings:
    """The same for every contestant that has such a thing. Times are seconds, about a quarter of what is usual.

    Attributes:
        attempts: requests of a call, the first included.
        connect, read, write, pool: timeouts of the steps of an attempt.
        deadline: of a whole call.
        wait, longest_wait: between attempts, growing by a factor of two, at random.
        failures, recovery: failed calls in a row that open the breaker, and when it lets a call through again.
        in_flight: requests at a time.
    """

    attempts: int = 3
    connect: float = 0.5
    read: float = 0.9
    write: float = 0.9
    pool: float = 2.0
    deadline: float = 5.0
    wait: float = 0.1
    longest_wait: float = 2.0
    failures: int = 5
    recovery: float = 0.5
    in_flight: int = 50

    @classmethod
    def paced(cls, pace: float) -> Settings:
        """The settings with all times multiplied by `pace`."""
        usual = cls()
        return cls(
            connect=usual.connect * pace,
            read=usual.read * pace,
            write=usual.write * pace,
            pool=usual.pool * pace,
            deadline=usual.deadline * pace,
            wait=usual.wait * pace,
            longest_wait=usual.longest_wait * pace,
            recovery=usual.recovery * pace,
        )

    def compared(self) -> list[tuple[str, dict[str, str]]]:
        """Each setting, and what every contestant makes of it, for people."""
        timeouts = f"{self.connect:g}, {self.read:g}, {self.write:g} and {self.pool:g} s"
        waits = f"{self.wait:g} s and more, at most {self.longest_wait:g} s, at random"
        breaker = f"opens after {self.failures} failed calls in a row"
        return [
            ("timeouts: connect, read, write, pool", dict.fromkeys((BARE, GLUED, HOLDFAST), timeouts)),
            ("connections at a time", dict.fromkeys((BARE, GLUED, HOLDFAST), str(self.in_flight))),
            (
                "attempts",
                {
                    BARE: "1",
                    GLUED: f"{self.attempts}, by stamina, whatever the method",
                    HOLDFAST: (
                        f"{self.attempts} if repeating is safe; in 10 s at most 10 retries or a fifth of all calls"
                    ),
                },
            ),
            ("waits between attempts", {BARE: "none", GLUED: waits, HOLDFAST: waits}),
            (
                "time for a whole call",
                {
                    BARE: "no bound",
                    GLUED: f"no retry begins after {self.deadline:g} s",
                    HOLDFAST: f"{self.deadline:g} s, then whatever goes on is cut off",
                },
            ),
            (
                "circuit breaker",
                {
                    BARE: "none",
                    GLUED: f"{breaker}; after {self.recovery:g} s all calls go through until one ends (purgatory)",
                    HOLDFAST: f"{breaker}; after {self.recovery:g} s one call goes through to probe",
                },
            ),
            (
                "rate limit",
                {
                    BARE: "none",
                    GLUED: "none known (aiolimiter is there, and never full); heeds Retry-After",
                    HOLDFAST: "none known; follows Retry-After and the RateLimit headers",
                },
            ),
        ]
