"""The crew that is always there: it makes memories, and stores them in a Memory server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from holdfast.contextiq import HashingEmbeddingService, MemoryServiceClient
from holdfast.crews import CrewClient, CrewClientConfig, CrewExecutionError
from holdfast.servers.service import Storage
from tests.support.crews import serving_crews
from tests.support.serving import Serving, serving

pytestmark = pytest.mark.loopback

SECRET = "a secret of thirty-two bytes or so"
INPUTS: dict[str, Any] = {
    "text_content": "My name is Ada. I live in London and I love tea. What is the time?",
    "actor_type": "human",
    "actor_id": "user-123",
    "client_user_id": "client-456",
}
FACTS = ["User lives in London", "User loves tea", "User's name is Ada"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("data")) as server:
        yield server


@contextmanager
def clients(server: Serving) -> Iterator[tuple[CrewClient, MemoryServiceClient]]:
    crews = CrewClient(CrewClientConfig(url=f"http://127.0.0.1:{8001 + server.offset}"))
    memories = MemoryServiceClient(f"http://127.0.0.1:{8002 + server.offset}")
    try:
        yield crews, memories
    finally:
        crews.close().result()
        memories.close().result()


def test_facts_become_memories_of_the_neighbour(server):
    with clients(server) as (crews, memories):
        result = crews.execute_crew("memory_maker_crew", INPUTS).result()["result"]
        assert sorted(one["fact"] for one in result["memories"]) == FACTS
        assert (result["facts_found"], result["memories_stored"]) == (3, 3)
        stored = {memory.id: memory for memory in memories.list_memories(scope_user_id="client-456").all().result()}
        assert stored.keys() == {one["id"] for one in result["memories"]}
        for memory in stored.values():
            assert memory.scope == {"user_id": "client-456", "actor_type": "human", "actor_id": "user-123"}
            assert memory.source_type == "memory_maker_crew"
        # They can be searched for.
        (query,) = HashingEmbeddingService().embed(["Which tea does the user love?"])
        (best,) = memories.search_memories(query, scope={"user_id": "client-456"}, limit=1).result().results
        assert best.memory.fact == "User loves tea"


def test_the_same_text_makes_no_second_memories(server):
    with clients(server) as (crews, memories):
        inputs = {**INPUTS, "client_user_id": "again"}
        made = [crews.execute_crew("memory_maker_crew", inputs).result()["result"] for _ in range(2)]
        assert made[0] == made[1]
        assert len(memories.list_memories(scope_user_id="again").all().result()) == 3
        # The same fact out of another text is one of its own.
        crews.execute_crew("memory_maker_crew", {**inputs, "text_content": "I love tea."}).result()
        assert len(memories.list_memories(scope_user_id="again").all().result()) == 4


def test_a_text_without_facts_is_no_failure(server):
    with clients(server) as (crews, _):
        inputs = {**INPUTS, "text_content": "Analyze this conversation"}
        result = crews.execute_crew("memory_maker_crew", inputs).result()
        assert result["result"] == {"memories": [], "facts_found": 0, "memories_stored": 0}


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"input": "data"}, "inputs: missing text_content, actor_type, actor_id, client_user_id"),
        ({**INPUTS, "text_content": ""}, "inputs: text_content: "),
        ({**INPUTS, "actor_id": 7, "actor_type": " "}, "inputs: actor_type: "),
        ({**INPUTS, "client_user_id": "c" * 256}, "inputs: client_user_id: "),
    ],
)
def test_inputs_that_are_missing_or_wrong_are_named(server, inputs, says):
    with clients(server) as (crews, _), pytest.raises(CrewExecutionError) as caught:
        crews.execute_crew("memory_maker_crew", inputs).result()
    assert caught.value.result is not None
    assert says in str(caught.value.result["error"])


def test_a_memory_server_that_wants_tokens_gets_them(tmp_path):
    env = {"CONTEXTIQ_REQUIRE_AUTH": "1", "CONTEXTIQ_JWT_SECRET_KEY": SECRET}
    with serving(tmp_path, env=env) as server, clients(server) as (crews, _):
        result = crews.execute_crew("memory_maker_crew", INPUTS).result()["result"]
        assert result["memories_stored"] == 3


@pytest.fixture
def nowhere() -> Iterator[str]:
    """The URL of a port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, nowhere: str) -> None:
    monkeypatch.setenv("MEMORY_SERVICE_URL", nowhere)
    monkeypatch.setenv("MEMORY_SERVICE_RETRY_DELAY", "0.001")
    monkeypatch.setenv("MEMORY_SERVICE_RETRY_MAX_WAIT", "0.001")


def test_a_memory_server_that_cannot_be_reached_is_a_failure_that_says_so(tmp_path, impatient):
    with serving_crews(Storage(tmp_path)) as crews:
        # A neighbour is not asked where the variable names another one.
        crews.server.meet({"Memory": "http://127.0.0.1:9"})
        answer = crews("memory_maker_crew", **INPUTS)
        assert (answer["success"], answer["result"]) == (False, None)
        assert answer["error"].startswith("0 of 3 memories were stored, then the Memory service failed: ")
        assert "POST /api/v1/memories" in answer["error"] and "3 attempts" in answer["error"]


def test_one_client_serves_all_executions_and_is_closed_at_the_end(tmp_path, impatient):
    with serving_crews(Storage(tmp_path)) as crews:
        maker = crews.server.registry.get("memory_maker_crew")
        assert maker is not None
        client = maker.target.memories
        for _ in range(2):
            crews("memory_maker_crew", **INPUTS)
            assert maker.target.memories is client
    with pytest.raises(RuntimeError, match="closed"):
        client.health().result()


def test_a_setting_of_the_memory_client_that_is_wrong_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMORY_SERVICE_TIMEOUT", "soon")
    with pytest.raises(Exception, match="MEMORY_SERVICE_TIMEOUT"), serving_crews(Storage(tmp_path)):
        pass
    monkeypatch.delenv("MEMORY_SERVICE_TIMEOUT")
    monkeypatch.setenv("MEMORY_SERVICE_URL", "nonsense")
    with pytest.raises(Exception, match="MEMORY_SERVICE_URL"), serving_crews(Storage(tmp_path)):
        pass
