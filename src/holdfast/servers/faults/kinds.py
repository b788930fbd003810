"""The kinds of fault. A new one is a subclass of `Rule` here that joins `AnyRule`.

Those with `at="before"` act in place of the app, which is not asked. The others let the app do its work to the last
byte of its answer, and spoil that: what the request asked for has happened.
"""

from __future__ import annotations

import gzip
import json
import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias, get_args

from pydantic import Field, ValidationInfo, field_validator

from holdfast.servers.faults.answer import Answer, Framing, Header, Pace
from holdfast.servers.faults.rules import MAX_SECONDS, Rule

if TYPE_CHECKING:
    import random

__all__ = [
    "KINDS",
    "AnyRule",
    "BrokenGzip",
    "Garbage",
    "Latency",
    "RateLimit",
    "Reset",
    "Silence",
    "Status",
    "Trickle",
    "Truncate",
    "WrongLength",
]

TAIL_SECONDS = 60.0
"""Where latencies without an end of their own are cut."""

Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS)]
RetryAfter = Annotated[int, Field(ge=0, le=2**31 - 1)]
Moment: TypeAlias = Literal["before", "after"]


def _json(status: int, detail: str, retry_after: int | None) -> Answer:
    headers: list[Header] = [(b"content-type", b"application/json")]
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % retry_after))
    body = json.dumps({"detail": detail}).encode("ascii")
    return Answer(status=status, headers=headers, body=body, declared=len(body))


class Status(Rule):
    """Answers with an error status and `{"detail": ...}`, in place of the app or of what the app answered.

    Attributes:
        status: 400 to 599.
        detail: the text in the answer.
        retry_after: the header Retry-After, in whole seconds.
        at: `before`: the app is not asked; `after`: it has done its work.
    """

    main: ClassVar[str] = "status"

    kind: Literal["status"]
    status: int = Field(ge=400, le=599)
    detail: str = "Injected fault"
    retry_after: RetryAfter | None = None
    at: Moment = "before"

    def instead(self) -> Answer:
        return _json(self.status, self.detail, self.retry_after)

    def spoil(self, answer: Answer) -> None:
        said = self.instead()
        answer.status, answer.headers = said.status, said.headers
        answer.body, answer.declared, answer.framing = said.body, said.declared, "length"


class RateLimit(Rule):
    """Answers 429, with Retry-After in whole seconds if given; the app is not asked."""

    main: ClassVar[str] = "retry_after"

    kind: Literal["rate_limit"]
    retry_after: RetryAfter | None = None

    @property
    def before(self) -> bool:
        return True

    def instead(self) -> Answer:
        return _json(429, "Too many requests", self.retry_after)


class Latency(Rule):
    """Holds the request back before the app is asked, or its answer.

    Attributes:
        seconds: the latency if `fixed`, the least if `uniform` or `pareto`, the mean if `exponential`, the median if
            `lognormal`.
        distribution: `fixed`, or `uniform` if there is an `up_to`, unless another is given.
        up_to: the most. Without it the last three are cut at 60 seconds, or at `seconds` if that is more.
        sigma: of the lognormal distribution, the standard deviation of the logarithm; 1 if not given.
        alpha: of the Pareto distribution, the tail index: the smaller, the longer the tail; 1.5 if not given.
        at: `before` or `after` the app does its work.
    """

    main: ClassVar[str] = "seconds"

    kind: Literal["latency"]
    seconds: Seconds
    distribution: Literal["fixed", "uniform", "exponential", "lognormal", "pareto"] | None = None
    up_to: Seconds | None = Field(default=None, validate_default=True)
    sigma: float | None = Field(default=None, gt=0, le=10)
    alpha: float | None = Field(default=None, ge=0.1, le=100)
    at: Moment = "before"

    @field_validator("up_to")
    @classmethod
    def _is_a_bound(cls, up_to: float | None, info: ValidationInfo) -> float | None:
        distribution = info.data.get("distribution")
        if up_to is None:
            if distribution == "uniform":
                raise ValueError("is required with a uniform distribution")
        elif distribution == "fixed":
            raise ValueError("does not go with a fixed latency")
        elif up_to < info.data.get("seconds", 0.0):
            raise ValueError("must not be less than seconds")
        return up_to

    @field_validator("sigma", "alpha")
    @classmethod
    def _is_of_the_distribution(cls, value: float | None, info: ValidationInfo) -> float | None:
        owner = {"sigma": "lognormal", "alpha": "pareto"}[info.field_name or ""]
        if value is not None and info.data.get("distribution", owner) != owner:
            raise ValueError(f"goes with the {owner} distribution only")
        return value

    def draw(self, rand: random.Random) -> float:
        least, most = self.seconds, self.up_to
        if self.distribution is None or self.distribution in {"fixed", "uniform"}:
            return least if most is None else rand.uniform(least, most)
        if least == 0:
            return 0.0
        match self.distribution:
            case "exponential":
                drawn = rand.expovariate(1 / least)
            case "lognormal":
                drawn = rand.lognormvariate(math.log(least), self.sigma or 1.0)
            case _:
                drawn = least * rand.paretovariate(self.alpha or 1.5)
        return min(drawn, max(TAIL_SECONDS, least) if most is None else most)


class Reset(Rule):
    """Resets the connection (TCP RST).

    Attributes:
        at: `before` the app is asked; `after` it has done its work, without a byte of its answer; or inside the `body`.
        keep: bytes of the body that are written before the reset; half of them if not given.
    """

    main: ClassVar[str] = "at"
    needs_wire: ClassVar[bool] = True

    kind: Literal["reset"]
    at: Literal["before", "after", "body"] = "before"
    keep: int | None = Field(default=None, ge=0)

    @field_validator("keep")
    @classmethod
    def _is_of_a_body(cls, keep: int | None, info: ValidationInfo) -> int | None:
        if keep is not None and info.data.get("at", "body") != "body":
            raise ValueError("goes with at=body only")
        return keep

    def instead(self) -> Answer:
        return Answer(silent=True, end="reset")

    def spoil(self, answer: Answer) -> None:
        answer.end = "reset"
        if self.at == "after":
            answer.silent = True
        else:
            answer.cut, answer.keep = True, self.keep


class Truncate(Rule):
    """Closes the connection inside the body. An answer that has none (to HEAD, 204, 304) is cut in its head.

    Attributes:
        keep: bytes of the body that are written; half of them if not given, and always one less than there are.
        framing: whether it is a Content-Length that is not reached, or a chunk; if not given, as the app has it.
    """

    main: ClassVar[str] = "keep"
    needs_wire: ClassVar[bool] = True

    kind: Literal["truncate"]
    keep: int | None = Field(default=None, ge=0)
    framing: Framing | None = None

    def spoil(self, answer: Answer) -> None:
        answer.cut, answer.keep, answer.end = True, self.keep, "close"
        answer.framing = self.framing or answer.framing


class Trickle(Rule):
    """Writes the head or the body of the answer piece by piece; the answer is whole in the end.

    Attributes:
        part: which of the two.
        size: in JSON and text `bytes`: of each piece.
        interval: seconds between two pieces.
        up_to: seconds after which the rest is written at once.
    """

    main: ClassVar[str] = "part"
    needs_wire: ClassVar[bool] = True

    kind: Literal["trickle"]
    part: Literal["body", "head"] = "body"
    size: int = Field(default=1, ge=1, le=2**20, alias="bytes")
    interval: float = Field(default=0.1, gt=0, le=MAX_SECONDS)
    up_to: Seconds = 60.0

    def spoil(self, answer: Answer) -> None:
        pace = Pace(self.size, self.interval, self.up_to)
        if self.part == "head":
            answer.head_pace = pace
        else:
            answer.body_pace = pace


class Garbage(Rule):
    """Writes something else where the status line belongs, and closes the connection at the end of the answer.

    Attributes:
        line: what is written, without a line break.
        at: `before`: this line is all there is; `after`: the app's headers and body follow.
    """

    main: ClassVar[str] = "line"
    needs_wire: ClassVar[bool] = True

    kind: Literal["garbage"]
    line: str = Field(default="%&/ this is not HTTP", min_length=1, max_length=1000, pattern=r"^[^\r\n]*$")
    at: Moment = "after"

    def instead(self) -> Answer:
        return Answer(line=self.line.encode(), end="close")

    def spoil(self, answer: Answer) -> None:
        answer.line, answer.end = self.line.encode(), "close"


class WrongLength(Rule):
    """Lies about the length of the body.

    If less is announced than there is, the surplus stays in the stream, and the connection alive: what a proxy or a
    client makes of it is the question (RFC 9112, section 11.2).

    Attributes:
        by: how much Content-Length is off. An empty body cannot be announced as shorter and is announced as longer.
        form: `off`: one Content-Length, and it is wrong; `twice`: the true one and a wrong one; `with_chunked`: a
            wrong one beside Transfer-Encoding (RFC 9112, section 6.3).
        seconds: for how long the connection is held when `form` is `off` and more is announced than there is.
    """

    main: ClassVar[str] = "by"
    needs_wire: ClassVar[bool] = True

    kind: Literal["wrong_length"]
    by: int = Field(default=1, ge=-(2**40), le=2**40)
    form: Literal["off", "twice", "with_chunked"] = "off"
    seconds: Seconds | None = None

    @field_validator("by")
    @classmethod
    def _is_wrong(cls, by: int) -> int:
        if by == 0:
            raise ValueError("must not be 0, or the length is right")
        return by

    @field_validator("seconds")
    @classmethod
    def _is_of_a_longer_one(cls, seconds: float | None, info: ValidationInfo) -> float | None:
        if seconds is not None and (info.data.get("form", "off") != "off" or info.data.get("by", 1) < 0):
            raise ValueError("goes with form=off and more announced than there is")
        return seconds

    def spoil(self, answer: Answer) -> None:
        true = answer.length or 0
        wrong = max(true + self.by, 0)
        if wrong == true:
            wrong += 1
        match self.form:
            case "off":
                answer.lengths, answer.framing = (wrong,), "length"
                if wrong > true and not answer.bodiless:
                    answer.end, answer.hold = "hold", 30.0 if self.seconds is None else self.seconds
            case "twice":
                answer.lengths, answer.framing = (true, wrong), "length"
            case "with_chunked":
                answer.lengths, answer.framing = (wrong,), "chunked"


class BrokenGzip(Rule):
    """Announces gzip and writes something else; the framing is right.

    Attributes:
        how: `corrupt`: a byte in the middle is wrong, so that it cannot be unpacked or its checksum does not fit (RFC
            1952, section 2.3.1); `truncated`: the second half is missing; `plain`: it is not compressed at all.
    """

    main: ClassVar[str] = "how"

    kind: Literal["broken_gzip"]
    how: Literal["corrupt", "truncated", "plain"] = "corrupt"

    def spoil(self, answer: Answer) -> None:
        answer.headers = [(name, value) for name, value in answer.headers if name.lower() != b"content-encoding"]
        answer.headers.append((b"content-encoding", b"gzip"))
        if answer.bodiless:
            return
        if self.how != "plain":
            packed = bytearray(gzip.compress(answer.body, mtime=0))
            if self.how == "truncated":
                del packed[len(packed) // 2 :]
            else:
                packed[len(packed) // 2] ^= 0xFF
            answer.body = bytes(packed)


class Silence(Rule):
    """Never answers: until the peer goes, or `seconds` are over and the connection is closed.

    Attributes:
        seconds: the bound.
        at: `before` the app is asked, or `after` it has done its work.
    """

    main: ClassVar[str] = "seconds"
    needs_wire: ClassVar[bool] = True

    kind: Literal["silence"]
    seconds: Seconds = 300.0
    at: Moment = "before"

    def instead(self) -> Answer:
        return Answer(silent=True, end="hold", hold=self.seconds)

    def spoil(self, answer: Answer) -> None:
        answer.silent, answer.end, answer.hold = True, "hold", self.seconds


AnyRule: TypeAlias = (
    Status
    | RateLimit
    | Latency
    | Reset
    | Truncate
    | Trickle
    | Garbage
    | WrongLength
    | BrokenGzip
    | Silence
)  # fmt: skip
"""Every kind. Which one a rule is, is told by its `kind`."""

KINDS: dict[str, type[Rule]] = {get_args(kind.model_fields["kind"].annotation)[0]: kind for kind in get_args(AnyRule)}
"""Every kind by its name."""
