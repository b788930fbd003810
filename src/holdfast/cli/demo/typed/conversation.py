"""A conversation becomes memory: stored as sessions, understood by the worker, searched, consolidated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holdfast.cli.demo.typed.clients import Traffic, memory_client, misbehave, sessions_client
from holdfast.contextiq import (
    ConsolidationProcessor,
    GenerationRequest,
    HashingEmbeddingService,
    MemoryGenerationProcessor,
    RuleBasedExtractionEngine,
)

if TYPE_CHECKING:
    from holdfast.cli.demo.typed.reference import Reference
    from holdfast.contextiq import MemoryServiceClient, SessionsServiceClient

__all__ = ["ENGINES", "QUESTION", "TITLE", "TROUBLE", "Conversation", "Found", "Match", "Merge", "Talk", "remember"]

TITLE = "A conversation becomes memory"
TROUBLE = (
    "a worker finds facts in two sessions and stores them as memories, while at random 10 % of all requests to both "
    "servers are answered with a 503, 5 % are reset before they are carried out, and 5 % after that"
)
ENGINES = (
    "The built-in engines use no model: facts are found by rules for plain English sentences, and the search "
    "compares hashed words. They know words, not meanings."
)
QUESTION = "What does she drink?"

USER = "ada"
MATCHES = 3
RULES: Sequence[Mapping[str, Any]] = (
    {"kind": "status", "status": 503, "rate": 0.1, "seed": 3, "path": "/api/v1"},
    {"kind": "reset", "at": "before", "rate": 0.05, "seed": 12, "path": "/api/v1"},
    {"kind": "reset", "at": "after", "rate": 0.05, "seed": 5, "path": "/api/v1"},
)

Said = tuple[str, str]
"""Who speaks, `user` or `assistant`, and what."""

TALKS: Mapping[str, Sequence[Said]] = {
    "Monday": (
        ("user", "Hi! My name is Ada, and I live in London. I love to drink green tea."),
        ("assistant", "Nice to meet you, Ada. Anything that I should know?"),
        ("user", "I don't drink coffee. Please remember that I'm allergic to peanuts."),
        ("assistant", "Noted. What are you working on?"),
        ("user", "I'm building a parser for bank statements."),
    ),
    "Friday": (
        ("user", "Hello again. I love to drink hot green tea, but I'd like to try oolong."),
        ("assistant", "There is a new place for that. Lunch?"),
        ("user", "Yes, but I'm allergic to peanuts! And I prefer a table by the window."),
    ),
}


@dataclass(frozen=True, slots=True)
class Found:
    """A fact that became a memory, and what it is about."""

    fact: str
    topic: str


@dataclass(frozen=True, slots=True)
class Match:
    """A memory that was found, and its cosine similarity to the question."""

    fact: str
    score: float


@dataclass(frozen=True, slots=True)
class Merge:
    """A memory that was kept, and those that said the same."""

    kept: str
    removed: tuple[str, ...]

    @property
    def told(self) -> str:
        """For people."""
        others = [fact for fact in self.removed if fact != self.kept]
        if others:
            return f"{self.kept}, in place of: {'; '.join(others)}"
        return f"{self.kept}, which was there {len(self.removed) + 1} times"


@dataclass(slots=True)
class Talk:
    """One session.

    Attributes:
        title: of the session.
        said: its messages.
        stored: how many events the server has of them.
        found: the memories that were made of it.
        again: how many more were made when the worker was asked a second time.
    """

    title: str
    said: Sequence[Said]
    stored: int = 0
    found: list[Found] = field(default_factory=list)
    again: int = 0


@dataclass(slots=True)
class Conversation:
    """What came of the act.

    Attributes:
        talks: in their order.
        matches: for `QUESTION`, the best first.
        merges: by the consolidation.
        left: facts that are remembered in the end.
        failures: what the workers report as not done.
        traffic: calls and requests.
    """

    talks: list[Talk] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    merges: list[Merge] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    failures: int = 0
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def made(self) -> int:
        """How many memories were made."""
        return sum(len(talk.found) for talk in self.talks)

    @property
    def merged(self) -> int:
        """How many were merged into others."""
        return sum(len(merge.removed) for merge in self.merges)

    def facts(self) -> list[str]:
        """What the figures say, in sentences."""
        traffic = self.traffic
        messages = sum(len(talk.said) for talk in self.talks)
        again = sum(talk.again for talk in self.talks)
        return [
            (
                f"{messages} messages were sent, and {sum(talk.stored for talk in self.talks)} are stored. The worker "
                "was told of each session twice, as a queue may do; the second time it made "
                f"{again or 'no'} more memories."
            ),
            (
                f"{traffic.calls} calls took {traffic.requests} requests: {traffic.requests - traffic.calls} were "
                f"refused or lost, and sent again. The workers report {self.failures} failures."
            ),
        ]


async def remember(reference: Reference, tell: Callable[[str], None]) -> Conversation:
    """Plays the act.

    Args:
        reference: the servers.
        tell: gets a line whenever there is something to see.

    Raises:
        HoldfastError: it could not be brought to its end.
    """
    seen = Conversation()
    await misbehave(reference.urls, RULES)
    async with sessions_client(reference, seen.traffic) as sessions, memory_client(reference, seen.traffic) as memories:
        for title, said in TALKS.items():
            seen.talks.append(Talk(title, said))
            await _understand(sessions, memories, seen)
            _tell_talk(seen.talks[-1], tell)
        await _search(memories, seen)
        tell(f'"{QUESTION}" finds, by cosine similarity:')
        for match in seen.matches:
            tell(f"  {match.score:.2f}  {match.fact}")
        await _consolidate(memories, seen)
        tell(f"Consolidated, {seen.made} memories become {len(seen.left)}:")
        for merge in seen.merges:
            tell(f"  {merge.told}")
    await seen.traffic.read(reference.urls)
    return seen


async def _understand(sessions: SessionsServiceClient, memories: MemoryServiceClient, seen: Conversation) -> None:
    """Stores a talk as a session, and has the worker make memories of it, twice."""
    talk = seen.talks[-1]
    session = await sessions.create_session({"user_id": USER}, title=talk.title)
    for role, content in talk.said:
        await sessions.create_event(session.id, "message", {"role": role, "content": content})
    talk.stored = (await sessions.end_session(session.id)).event_count or 0
    worker = MemoryGenerationProcessor(RuleBasedExtractionEngine(), HashingEmbeddingService(), None, sessions, memories)
    request = GenerationRequest(session_id=session.id, user_id=USER)
    first, second = await worker.process_request(request), await worker.process_request(request)
    talk.found = [Found(memory.fact, memory.topic or "") for memory in first.created]
    talk.again = len(second.created)
    seen.failures += len(first.failed) + len(second.failed)


async def _search(memories: MemoryServiceClient, seen: Conversation) -> None:
    (query,) = HashingEmbeddingService().embed([QUESTION])
    found = await memories.search_memories(query, scope={"user_id": USER}, limit=MATCHES)
    seen.matches = [Match(match.memory.fact, match.similarity_score) for match in found]


async def _consolidate(memories: MemoryServiceClient, seen: Conversation) -> None:
    known = {memory.id: memory.fact for memory in await memories.list_memories(scope_user_id=USER).all()}
    result = await ConsolidationProcessor(memories).process_consolidation({"user_id": USER}, list(known))
    seen.merges = [Merge(one.memory.fact, tuple(known[gone] for gone in one.removed)) for one in result.merged]
    seen.failures += len(result.failed)
    seen.left = [memory.fact for memory in await memories.list_memories(scope_user_id=USER).all()]
    seen.left.reverse()  # the oldest first


def _tell_talk(talk: Talk, tell: Callable[[str], None]) -> None:
    tell(f"{talk.title}: {talk.stored} messages stored, {len(talk.found)} facts found and remembered:")
    for found in talk.found:
        tell(f"  {found.fact:<48} {found.topic}".rstrip())
