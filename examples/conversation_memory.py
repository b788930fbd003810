"""A conversation becomes memory: it is stored as a session, a worker makes memories of it, they are found and joined.

    python examples/conversation_memory.py

It needs nothing but Holdfast with its servers (`pip install 'holdfast[cli,servers]'`), which it starts by itself. The
engines that find facts and make embeddings are the built-in ones, which use no model: they know a few forms of English
sentences, and compare texts by their words. With a server that speaks OpenAI's interface, take in their place
`ChatExtractionEngine` and `OpenAIEmbeddingService`.
"""

from __future__ import annotations

import asyncio

from holdfast.contextiq import (
    ConsolidationProcessor,
    GenerationRequest,
    HashingEmbeddingService,
    MemoryGenerationProcessor,
    MemoryServiceClient,
    RuleBasedExtractionEngine,
    SessionsServiceClient,
)
from servers import Servers, reference_servers

USER = "ada"
MONDAY = [
    ("user", "Hi! I'm Ada, and I live in London. I prefer Python to every other language."),
    ("assistant", "Nice to meet you, Ada. What are you working on?"),
    ("user", "I'm building a parser for bank statements. Please remember that I'm allergic to peanuts."),
]
FRIDAY = [
    ("user", "Hello again. Well, I prefer Python to every other programming language."),
    ("assistant", "I do. Lunch?"),
    ("user", "Yes, but I'm allergic to peanuts! And I don't like cold food."),
]


async def converse(sessions: SessionsServiceClient, title: str, said: list[tuple[str, str]]) -> str:
    """Stores a conversation, and gives the id of its session."""
    session = await sessions.create_session({"user_id": USER}, title=title)
    for role, content in said:
        await sessions.create_event(session.id, "message", {"role": role, "content": content})
    session = await sessions.end_session(session.id)
    print(f"{title}: a session of {session.event_count} events")
    return session.id


async def show(memories: MemoryServiceClient) -> list[str]:
    """Prints what is remembered, and gives the ids."""
    found = await memories.list_memories(scope_user_id=USER).all()
    for memory in reversed(found):
        print(f"  {memory.fact:<56} {memory.topic or '-':<12} importance {memory.importance}")
    return [memory.id for memory in found]


async def remember(servers: Servers) -> None:
    """Two conversations, and what remains of them."""
    embeddings = HashingEmbeddingService()
    async with SessionsServiceClient(servers.sessions) as sessions, MemoryServiceClient(servers.memory) as memories:
        worker = MemoryGenerationProcessor(RuleBasedExtractionEngine(), embeddings, None, sessions, memories)
        for title, said in (("Monday", MONDAY), ("Friday", FRIDAY)):
            request = GenerationRequest(session_id=await converse(sessions, title, said), user_id=USER)
            print(f"  {await worker.process_request(request)}")
            # A queue may deliver a request twice. It does no harm.
            print(f"  once more: {await worker.process_request(request)}")

        print("\nWhat is remembered of Ada:")
        ids = await show(memories)

        print("\nWhat goes with 'no peanuts, she has an allergic reaction'?")
        (query,) = embeddings.embed(["no peanuts, she has an allergic reaction"])
        for match in await memories.search_memories(query, scope={"user_id": USER}, limit=2):
            print(f"  {match.similarity_score:.2f}  {match.memory.fact}")

        print("\nTwice the same is joined:")
        result = await ConsolidationProcessor(memories).process_consolidation({"user_id": USER}, ids)
        print(f"  {result}")
        for merged in result.merged:
            (reason, *_) = await memories.list_revisions(merged.memory.id)
            print(f"  {merged.memory.fact}\n    {reason.change_reason}")

        print("\nWhat is left:")
        await show(memories)


if __name__ == "__main__":
    with reference_servers() as servers:
        asyncio.run(remember(servers))
