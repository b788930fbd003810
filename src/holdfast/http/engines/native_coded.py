"""Which bodies are put together, and decoded, before their response is given out, and which are read as they come."""

from __future__ import annotations

from holdfast.core.effects import Job
from holdfast.http.content import at_once
from holdfast.http.engines.h1 import Assembly
from holdfast.http.engines.h1_head import Head

_SMALL = 64 * 1024  # bytes of a coded body that is worth waiting for: a reader of its own costs more than decoding it


def is_for_a_reader(head: Head, job: Job) -> bool:
    """Whether what has come of a body goes to a reader before the rest has come."""
    return job.stream or (head.coded and not 0 <= head.length <= _SMALL)


def content_of(assembly: Assembly, job: Job) -> bytes | None:
    """The body of a complete response, decoded; None if that is for a reader, who finds it in `assembly`."""
    if job.stream:
        return None
    body = assembly.taken()
    head = assembly.head
    assert head is not None  # noqa: S101  # it is complete
    if not head.coded:
        return body
    content = at_once(head.fields(), body, job.cap)
    if content is None and body:
        assembly.pieces.append(body)
    return content
