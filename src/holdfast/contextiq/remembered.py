"""What the Memory service remembers of a session already."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from holdfast.contextiq.client import MemoryServiceClient
from holdfast.contextiq.models import Memory
from holdfast.exceptions import NotFoundError

__all__ = ["Remembered", "same_text"]

_PAGE = 100  # memories at a time; with embeddings, a page of 1,000 may be larger than a response is allowed to be


def same_text(fact: str) -> str:
    """What two wordings of a fact have in common if they differ in nothing but case, spaces and a full stop."""
    return " ".join(fact.casefold().split()).rstrip(".!")


class Remembered:
    """The facts of one session that are stored, or once were: what was deleted or corrected shall not come back.

    The service cannot be asked for the memories of a session, so all of the user's are looked through, once: a request
    for each hundred. A memory that was corrected answers for its earlier wordings too.
    """

    def __init__(self, client: MemoryServiceClient, user_id: str, session_id: str) -> None:
        self._client = client
        self._user_id = user_id
        self._session_id = session_id
        self._found: dict[str, Memory] | None = None

    async def of(self, facts: Iterable[str]) -> dict[str, Memory]:
        """The memories of those facts that there are any of, by `same_text`.

        Raises:
            HoldfastError: the service did not answer.
        """
        wanted = {same_text(fact) for fact in facts}
        if not wanted:
            return {}
        if self._found is None:
            self._found = await self._load()
        return {text: self._found[text] for text in wanted if text in self._found}

    def add(self, memory: Memory) -> None:
        """Take notice of a memory that was just stored."""
        if self._found is not None:
            self._found[same_text(memory.fact)] = memory

    async def _load(self) -> dict[str, Memory]:
        call = self._client.list_memories(scope_user_id=self._user_id, include_deleted=True, limit=_PAGE)
        mine = [memory async for memory in call if _same_id(memory.source_id, self._session_id)]
        # Of several with the same text, one that is there counts more than one that was deleted.
        mine.sort(key=lambda memory: memory.deleted_at is None)
        found = {same_text(memory.fact): memory for memory in mine}
        for memory in mine:
            if memory.deleted_at is None and memory.updated_at != memory.created_at:
                for text in await self._earlier(memory):
                    found.setdefault(text, memory)
        return found

    async def _earlier(self, memory: Memory) -> list[str]:
        try:
            revisions = await self._client.list_revisions(memory.id, limit=_PAGE).all()
        except NotFoundError:  # it was deleted meanwhile, or the server keeps no revisions
            return []
        return [same_text(one.previous_fact) for one in revisions if one.previous_fact]


def _same_id(one: str | None, other: str) -> bool:
    """Whether two ids are the same, in whichever of a UUID's notations."""
    if one is None or one == other:
        return one == other
    try:
        return UUID(one) == UUID(other)
    except ValueError:
        return False
