"""What may be sent again after which failure: the replay table, as data.

A request may be repeated if the server cannot have acted on it, if acting twice is the same as acting once (RFC 9110,
section 9.2.2), or if the server recognises the repetition by a key. The remaining rows are a choice: see `ReplayMode`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from holdfast.core.outcome import Kind

ReplayMode: TypeAlias = Literal["answered", "when_safe", "always"]
"""How far replaying goes for POST and PATCH.

"answered" is `TABLE` as it stands: what the server answered is repeated, what got lost is not without a key.
"when_safe" takes away the row of 408 and 5xx, with a key too: for what costs money and servers that ignore keys.
"always" adds the rows of lost and broken responses.
"""

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""Methods that have the same effect on the server once or many times (RFC 9110, section 9.2.2)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the replay table.

    Attributes:
        label: the failure, in the words of the documentation.
        kinds: what it covers.
        idempotent: whether a request with a method of `IDEMPOTENT` is replayed.
        keyed: whether another one is whose key the server deduplicates.
        plain: whether another one is without such a key.
        may_have_executed: whether the server may have acted on the request.
    """

    label: str
    kinds: frozenset[Kind]
    idempotent: bool
    keyed: bool
    plain: bool
    may_have_executed: bool


TABLE: Final = (
    Row(
        "DNS, connect, TLS handshake, the engine's pool timeout, "
        "HTTP/2 REFUSED_STREAM or GOAWAY beyond the last stream",
        frozenset({Kind.UNSENT, Kind.POOL}),
        idempotent=True,
        keyed=True,
        plain=True,
        may_have_executed=False,
    ),
    Row(
        "429, 503",
        frozenset({Kind.THROTTLED, Kind.UNAVAILABLE}),
        idempotent=True,
        keyed=True,
        plain=True,
        may_have_executed=False,
    ),
    Row(
        "408, 500, 502, 504, other 5xx",
        frozenset({Kind.SERVER_TIMEOUT, Kind.SERVER_ERROR}),
        idempotent=True,
        keyed=True,
        plain=True,
        may_have_executed=True,
    ),
    Row(
        "timeout, reset or end of connection after the first byte went out; unreadable response head",
        frozenset({Kind.LOST}),
        idempotent=True,
        keyed=True,
        plain=False,
        may_have_executed=True,
    ),
    Row(
        "good status, but truncated body or broken content coding",
        frozenset({Kind.TRUNCATED, Kind.UNDECODABLE}),
        idempotent=True,
        keyed=True,
        plain=False,
        may_have_executed=True,
    ),
)
"""The replay table in mode "answered". Kinds that are in no row are never replayed."""

ANSWERED: Final = TABLE[2]
"""The row that "when_safe" takes away."""

BROKEN: Final = TABLE[3:]
"""The rows that "always" adds."""

_IDEMPOTENT = frozenset(kind for row in TABLE if row.idempotent for kind in row.kinds)
_KEYED = frozenset(kind for row in TABLE if row.keyed for kind in row.kinds)
_PLAIN = frozenset(kind for row in TABLE if row.plain for kind in row.kinds)
_BROKEN = frozenset(kind for row in BROKEN for kind in row.kinds)

_OTHERS: dict[tuple[ReplayMode, bool], frozenset[Kind]] = {
    ("answered", True): _KEYED,
    ("answered", False): _PLAIN,
    ("when_safe", True): _KEYED - ANSWERED.kinds,
    ("when_safe", False): _PLAIN - ANSWERED.kinds,
    ("always", True): _KEYED,
    ("always", False): _PLAIN | _BROKEN,
}

# Outside the table: what was answered with a 4xx was refused, and what was never sent was not acted on.
_NOT_EXECUTED = frozenset({Kind.REJECTED, Kind.REFUSED}).union(
    *(row.kinds for row in TABLE if not row.may_have_executed)
)


def may_replay(kind: Kind, *, idempotent: bool, keyed: bool, mode: ReplayMode) -> bool:
    """Whether a request that ended with `kind` may be sent again.

    Args:
        kind: what became of it.
        idempotent: whether its method is in `IDEMPOTENT`; then neither the key nor the mode matters.
        keyed: whether it carries a key by which the server is known to recognise the repetition.
        mode: how far to go for POST and PATCH.
    """
    return kind in (_IDEMPOTENT if idempotent else _OTHERS[mode, keyed])


def may_have_executed(kind: Kind) -> bool:
    """Whether the server may have acted on a request that ended with `kind`."""
    return kind not in _NOT_EXECUTED
