"""`ConsolidationProcessor`: joins memories that say the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any
from uuid import UUID

from holdfast.contextiq.client import MemoryServiceClient
from holdfast.contextiq.exceptions import concerns_all, refused, stopped
from holdfast.contextiq.models import Memory
from holdfast.contextiq.result import WorkResult
from holdfast.contextiq.similarity import Candidate, Likeness
from holdfast.exceptions import HoldfastError, NotFoundError

__all__ = ["ConsolidationFailure", "ConsolidationProcessor", "ConsolidationResult", "Merged"]

_REASON = "Consolidated from"
_PROCESS = "ConsolidationProcessor.process_consolidation"


@dataclass(frozen=True, slots=True)
class Merged:
    """Memories that became one.

    Attributes:
        memory: the one that is kept, as it is now.
        sources: the ids of all that it was ever made of, its own first.
        removed: the ids of those that this run has deleted.
    """

    memory: Memory
    sources: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConsolidationFailure:
    """A memory with which something could not be done, and why. The others were gone on with."""

    memory_id: str
    error: HoldfastError


@dataclass(slots=True)
class ConsolidationResult(WorkResult):
    """What became of the memories.

    Attributes:
        compared: how many were found and compared.
        merged: those that became one.
        missing: ids that there is no memory for, or that were deleted before.
        failed: what could not be done.
    """

    compared: int = 0
    merged: list[Merged] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failed: list[ConsolidationFailure] = field(default_factory=list)

    def __str__(self) -> str:
        removed = sum(len(one.removed) for one in self.merged)
        return (
            f"{self.compared} memories compared, {removed} merged into {len(self.merged)} others, "
            f"{len(self.missing)} missing, {len(self.failed)} failures"
        )


class ConsolidationProcessor:
    """Finds memories that say the same, keeps one of them, and deletes the others (softly).

    The one that is kept is the one with the highest confidence; of several the most important, then the one that was
    changed last, then the one with the smaller id. It keeps its wording, and takes over the highest importance of them
    all, and the topic of the next best if it has none. Every memory that is deleted is similar to the one that is
    kept: similarity is not handed on through a third one.

    Where it comes from stays in its revisions: one of them has a `change_reason` that names all the ids it was made of,
    also by earlier runs; and deleted memories can still be listed with ``include_deleted=True``. A server that makes
    revisions only of new facts keeps no reason; then the result alone tells.

    First the kept one is changed, and only when that was acknowledged are the others deleted. So a run that breaks off
    leaves duplicates, but loses no fact, and the next run with the same ids does what is missing. A run that finds
    nothing to do changes nothing, except that the service counts each look at a memory.

    What remains open: the service cannot be told to change a memory only if it is still as it was read. Someone who
    corrects a memory in the moment between finds it deleted as a duplicate of the old wording; and two workers with
    different, overlapping ids may each delete what the other has just kept.

    Comparing n memories takes up to n * n / 2 comparisons, of some 30 microseconds each.

    From sync code: ``asyncio.run(processor.process_consolidation(scope, ids))``.

    Args:
        memory_client: where the memories are.
        embedding_threshold: the least cosine of the embeddings of duplicates; None: they do not count.
        text_threshold: the least similarity of the texts of duplicates, 0 to 1; None: texts do not count.
        concurrency: requests at the same time, for reading and deleting.

    Raises:
        ValueError: a threshold is out of its bounds, both are None, or `concurrency` is less than 1.
    """

    def __init__(
        self,
        memory_client: MemoryServiceClient,
        *,
        embedding_threshold: float | None = 0.95,
        text_threshold: float | None = 0.85,
        concurrency: int = 4,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {concurrency}")
        self.memory_client = memory_client
        self.likeness = Likeness(embedding_threshold, text_threshold)
        self.concurrency = concurrency

    async def process_consolidation(
        self, scope: Mapping[str, Any], memory_ids: Sequence[str | UUID]
    ) -> ConsolidationResult:
        """Joins those of some memories that say the same. With fewer than two ids it does nothing.

        Args:
            scope: whose memories these are, such as ``{"user_id": "123"}``. Memories may have a narrower scope; then
                only those with the same one are joined.
            memory_ids: which to look at.

        Raises:
            InvalidRequestError: there is no scope, or a memory belongs to another one. Nothing was changed.
            WorkStoppedError: the service cannot be used at all. It is also the error that said so, such as a
                ServiceUnavailableError; its `result` has what was done.
        """
        if not scope:
            raise refused(_PROCESS, {"scope": "must have at least one key"})
        if isinstance(memory_ids, str):
            raise refused(_PROCESS, {"memory_ids": "must be a list of ids; this is a single text"})
        ids = list(dict.fromkeys(str(one) for one in memory_ids))
        result = ConsolidationResult()
        if len(ids) < 2:
            return result
        try:
            memories = await self._fetched(ids, result)
            strangers = [one.id for one in memories if not _contains(one.scope, scope)]
            if strangers:
                raise refused(_PROCESS, {"memory_ids": f"of another scope than {dict(scope)}: {', '.join(strangers)}"})
            result.compared = len(memories)
            async with aclosing(self._clusters(memories)) as clusters:
                async for kept, others in clusters:
                    await self._merge(kept, others, result)
        except HoldfastError as error:
            raise (stopped(error, result) if concerns_all(error) else error) from error.__cause__
        return result

    async def _fetched(self, ids: Sequence[str], result: ConsolidationResult) -> list[Memory]:
        memories = []
        for part in _parts(ids, self.concurrency):
            found = await asyncio.gather(*(self.memory_client.get_memory(one) for one in part), return_exceptions=True)
            for memory_id, one in zip(part, found, strict=True):
                if isinstance(one, NotFoundError) or (isinstance(one, Memory) and one.deleted_at is not None):
                    result.missing.append(memory_id)
                elif isinstance(one, Memory):
                    memories.append(one)
                else:
                    _report(memory_id, one, result)
        return list({memory.id: memory for memory in memories}.values())

    async def _clusters(self, memories: Sequence[Memory]) -> AsyncGenerator[tuple[Memory, list[Memory]], None]:
        """Each memory that has duplicates, and these: the best first, with all that are similar to it."""
        remaining = sorted(map(Candidate, memories), key=lambda one: _rank(one.memory))
        while remaining:
            best, *others = remaining
            remaining = []
            same: list[Candidate] = []
            for other in others:
                alike = other.memory.scope == best.memory.scope and self.likeness.same(best, other)
                (same if alike else remaining).append(other)
            if same:
                yield best.memory, [one.memory for one in same]
            await asyncio.sleep(0)  # others on this loop have their turn: with many memories this takes its time

    async def _merge(self, kept: Memory, others: Sequence[Memory], result: ConsolidationResult) -> None:
        """Makes one memory of several.

        Raises:
            HoldfastError: the service cannot be used.
        """
        try:
            recorded = await self._recorded(kept)
            sources = list(dict.fromkeys([kept.id, *(one.id for one in others), *recorded]))
            for other in others:
                sources += [one for one in await self._recorded(other) if one not in sources]
            changes = _taken_over(kept, others)
            if changes or not recorded.issuperset(sources):
                reason = f"{_REASON} {len(sources)} memories: {', '.join(sources)}"
                kept = await self.memory_client.update_memory(kept.id, **changes, change_reason=reason)
        except HoldfastError as error:
            # It was deleted meanwhile, for one. Its duplicates stay.
            _report(kept.id, error, result)
            return
        removed: list[str] = []
        try:
            for part in _parts([one.id for one in others], self.concurrency):
                calls = (self.memory_client.delete_memory(one) for one in part)
                done = await asyncio.gather(*calls, return_exceptions=True)
                failures: list[tuple[str, BaseException]] = []
                for memory_id, answer in zip(part, done, strict=True):
                    # What is gone already was deleted by another worker, or by an attempt whose answer was lost.
                    if isinstance(answer, BaseException) and not isinstance(answer, NotFoundError):
                        failures.append((memory_id, answer))
                    else:
                        removed.append(memory_id)
                for failure in failures:
                    _report(*failure, result)
        finally:
            result.merged.append(Merged(kept, tuple(sources), tuple(removed)))

    async def _recorded(self, memory: Memory) -> set[str]:
        """The ids that a memory was made of by earlier runs, as its revisions tell; none if the server keeps none."""
        try:
            revisions = await self.memory_client.list_revisions(memory.id, limit=100).all()
        except NotFoundError:
            return set()
        reasons = [one.change_reason for one in revisions if (one.change_reason or "").startswith(_REASON)]
        return {one for reason in reasons if reason for one in reason.partition(": ")[2].split(", ") if one}


def _rank(memory: Memory) -> tuple[float, float, float, str]:
    """The place of a memory, the best first."""
    changed = memory.updated_at or memory.created_at
    if changed is None:
        at = 0.0
    else:
        at = (changed if changed.tzinfo else changed.replace(tzinfo=UTC)).timestamp()
    return -(memory.confidence or 0.0), -(memory.importance or 0.0), -at, memory.id


def _taken_over(kept: Memory, others: Sequence[Memory]) -> dict[str, Any]:
    """What changes about the memory that is kept."""
    changes: dict[str, Any] = {}
    importance = max((one.importance for one in (kept, *others) if one.importance is not None), default=None)
    if importance != kept.importance:
        changes["importance"] = importance
    if not kept.topic:
        topic = next((one.topic for one in others if one.topic), None)
        if topic is not None:
            changes["topic"] = topic
    return changes


def _contains(whole: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    return all(name in whole and whole[name] == value for name, value in part.items())


def _report(memory_id: str, error: BaseException, result: ConsolidationResult) -> None:
    """Reports a failure.

    Raises:
        BaseException: the error, if it says that the service cannot be used at all, or comes from somewhere else.
    """
    if not isinstance(error, HoldfastError) or concerns_all(error):
        raise error
    result.failed.append(ConsolidationFailure(memory_id, error))


def _parts(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
