"""The Memory server, in process, on every database. Search has tests of its own."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from tests.support.served import Served

FIELDS = {
    "id",
    "scope",
    "fact",
    "topic",
    "embedding",
    "confidence",
    "importance",
    "source_type",
    "source_id",
    "access_count",
    "last_accessed_at",
    "expires_at",
    "deleted_at",
    "created_at",
    "updated_at",
}
REVISION_FIELDS = {
    "id",
    "memory_id",
    "revision_number",
    "previous_fact",
    "new_fact",
    "change_reason",
    "created_at",
    "updated_at",
}
NOW = "2024-02-29T12:00:00.123456Z"


def new_memory(served: Served, **fields) -> str:
    memory = {"scope": {"user_id": "1"}, "fact": "f", "source_type": "t", **fields}
    return str(served.ok("POST", "/memories", memory)["id"])


def listed(served: Served, **params) -> list[str]:
    page = served.ok("GET", "/memories", params={"scope_user_id": "1", **params})
    return [memory["id"] for memory in page["memories"]]


def test_a_new_memory_has_every_field_and_the_defaults(served):
    answer = served("POST", "/memories", {"scope": {"user_id": "1"}, "fact": "f", "source_type": "direct"})
    memory = answer.json()
    assert answer.status_code == 201
    assert memory.keys() == FIELDS
    assert str(UUID(memory["id"])) == memory["id"]
    assert [memory[name] for name in ("confidence", "importance", "access_count")] == [1.0, 0.5, 0]
    assert memory["created_at"] == memory["updated_at"] == NOW
    assert memory["expires_at"] == "2025-02-28T12:00:00.123456Z"
    empty = ("topic", "embedding", "source_id", "last_accessed_at", "deleted_at")
    assert [memory[name] for name in empty] == [None] * 5


def test_every_memory_of_a_page_has_its_own_embedding(served):
    embeddings = [None, [1.5, 2.5], [0.1], None, [0.0, 0.0, 0.0], [3.25]]
    for embedding in embeddings:
        new_memory(served, embedding=embedding)
    page = served.ok("GET", "/memories", params={"scope_user_id": "1"})
    assert [memory["embedding"] for memory in reversed(page["memories"])] == embeddings


def test_a_memory_is_kept_as_it_was_given(served):
    given = {
        "scope": {"user_id": "ü", "org_id": "o", "n": [1, {"a": None}]},
        "fact": "prefers Python\n" * 500,
        "source_type": "s" * 50,
        "topic": "t" * 200,
        "embedding": [0.1, -0.25, 3.0, 0.0],
        "confidence": 0.0,
        "importance": 1.0,
        "source_id": str(uuid4()),
    }
    memory = served.ok("POST", "/memories", {**given, "ttl_days": 730})
    assert {name: memory[name] for name in given} == given
    assert memory["expires_at"] == "2026-02-28T12:00:00.123456Z"
    kept = served.ok("GET", f"/memories/{memory['id']}")
    assert kept == {**memory, "access_count": 1, "last_accessed_at": NOW}


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"scope": None}, ["scope"]),
        ({"fact": ""}, ["fact"]),
        ({"fact": "\x00"}, ["fact"]),
        ({"source_type": "s" * 51}, ["source_type"]),
        ({"topic": "t" * 201}, ["topic"]),
        ({"embedding": []}, ["embedding"]),
        ({"embedding": [1] * 16_001}, ["embedding"]),
        ({"embedding": [1, "x"]}, ["embedding", 1]),
        ({"embedding": [1, 2, 1e16]}, ["embedding", 2]),
        ({"confidence": 1.01}, ["confidence"]),
        ({"confidence": True}, ["confidence"]),
        ({"ttl_days": "7"}, ["ttl_days"]),
        ({"importance": -0.01}, ["importance"]),
        ({"source_id": "session-7"}, ["source_id"]),
        ({"ttl_days": 0}, ["ttl_days"]),
        ({"ttl_days": 731}, ["ttl_days"]),
    ],
)
def test_what_cannot_be_a_memory_names_the_field(served, fields, where):
    memory = {"scope": {}, "fact": "f", "source_type": "t", **fields}
    status, (problem,) = served.refused("POST", "/memories", memory)
    assert (status, problem["loc"]) == (422, ["body", *where])


def test_there_is_no_such_memory(served):
    missing = uuid4()
    for method, path, body in [
        ("GET", "", None),
        ("PATCH", "", {"fact": "g"}),
        ("DELETE", "", None),
        ("DELETE", "?hard_delete=true", None),
        ("GET", "/revisions", None),
        ("GET", "/revisions/1", None),
    ]:
        assert served.refused(method, f"/memories/{missing}{path}", body) == (404, f"Memory not found: {missing}")
    assert served.refused("GET", "/memories/123")[0] == 422


def test_every_access_is_counted_also_those_at_the_same_time(served):
    memory = new_memory(served)
    served.clock.advance(seconds=1)
    answers = served.together(*[served.ask("GET", f"/memories/{memory}") for _ in range(20)])
    assert sorted(answer.json()["access_count"] for answer in answers) == list(range(1, 21))
    assert {answer.json()["last_accessed_at"] for answer in answers} == {"2024-02-29T12:00:01.123456Z"}
    # Lists and searches are not accesses.
    served.ok("POST", "/memories/search", {"query_embedding": [1]})
    (shown,) = served.ok("GET", "/memories", params={"scope_user_id": "1"})["memories"]
    assert shown["access_count"] == 20


def test_lists_want_a_scope_and_find_what_contains_it(served):
    both = new_memory(served, scope={"user_id": "1", "org_id": "o", "agent_id": "a"})
    user = new_memory(served, topic="food")
    new_memory(served, scope={"org_id": "o"})
    new_memory(served, scope={"user_id": 1})
    assert listed(served) == [user, both]
    assert listed(served, scope_org_id="o") == [both]
    assert listed(served, topic="food") == [user]
    assert served.ok("GET", "/memories", params={"scope_org_id": "o"})["total"] == 2
    wants = (400, "At least one of scope_user_id and scope_org_id is required")
    assert served.refused("GET", "/memories") == wants
    assert served.refused("GET", "/memories", params={"topic": "food"}) == wants


def test_lists_have_pages(served):
    made = [new_memory(served, fact=str(n)) for n in range(5)][::-1]
    page = served.ok("GET", "/memories", params={"scope_user_id": "1", "limit": 2, "offset": 3})
    assert [memory["id"] for memory in page["memories"]] == made[3:]
    assert (page["total"], page["limit"], page["offset"]) == (5, 2, 3)
    for name, value in [("limit", 0), ("limit", 1001), ("offset", -1)]:
        status, (problem,) = served.refused("GET", "/memories", params={"scope_user_id": "1", name: value})
        assert (status, problem["loc"]) == (422, ["query", name])


def test_a_deleted_memory_is_kept_but_hidden(served):
    memory = new_memory(served)
    served.clock.advance(seconds=1)
    answer = served.ok("DELETE", f"/memories/{memory}")
    assert answer == {"success": True, "message": f"Memory deleted: {memory}"}
    for method, path in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/revisions"), ("GET", "/revisions/1")]:
        assert served.refused(method, f"/memories/{memory}{path}", {"fact": "g"})[0] == 404
    assert listed(served) == []
    (shown,) = served.ok("GET", "/memories", params={"scope_user_id": "1", "include_deleted": True})["memories"]
    assert (shown["id"], shown["deleted_at"]) == (memory, "2024-02-29T12:00:01.123456Z")
    # For good, this time.
    assert served.ok("DELETE", f"/memories/{memory}", params={"hard_delete": True})["success"] is True
    assert listed(served, include_deleted=True) == []
    assert served.refused("DELETE", f"/memories/{memory}", params={"hard_delete": True})[0] == 404


def test_a_removed_memory_takes_its_revisions_along(served):
    memory = new_memory(served)
    served.ok("PATCH", f"/memories/{memory}", {"fact": "g"})
    served.ok("DELETE", f"/memories/{memory}", params={"hard_delete": True})
    assert served.refused("GET", f"/memories/{memory}/revisions/1")[0] == 404


def test_an_expired_memory_is_hidden(served):
    memory, other = new_memory(served, ttl_days=1), new_memory(served)
    served.clock.advance(hours=23.99)
    assert listed(served) == [other, memory]
    served.clock.advance(hours=0.01)
    assert listed(served) == [other]
    assert listed(served, include_deleted=True) == [other]
    assert listed(served, include_expired=True) == [other, memory]
    assert served.refused("GET", f"/memories/{memory}") == (404, f"Memory not found: {memory}")
    assert served.refused("PATCH", f"/memories/{memory}", {"fact": "g"})[0] == 404
    assert served.refused("DELETE", f"/memories/{memory}")[0] == 404


def test_a_change_changes_what_is_given(served):
    memory = new_memory(served, topic="t", embedding=[1, 2], confidence=0.5)
    before = served.ok("GET", f"/memories/{memory}")
    served.clock.advance(seconds=1)
    later = "2024-02-29T12:00:01.123456Z"
    assert served.ok("PATCH", f"/memories/{memory}", {}) == before
    changed = served.ok("PATCH", f"/memories/{memory}", {"confidence": 0, "importance": 1})
    assert changed == {**before, "confidence": 0.0, "importance": 1.0, "updated_at": later}
    changed = served.ok("PATCH", f"/memories/{memory}", {"topic": None, "embedding": None, "fact": "g"})
    assert [changed[name] for name in ("topic", "embedding", "fact", "confidence")] == [None, None, "g", 0.0]
    for name in ("fact", "confidence", "importance"):
        status, (problem,) = served.refused("PATCH", f"/memories/{memory}", {name: None})
        assert (status, problem["loc"]) == (422, ["body", name])


def test_a_new_fact_or_a_reason_makes_a_revision(served):
    memory = new_memory(served, fact="a")
    path = f"/memories/{memory}"
    served.ok("PATCH", path, {"fact": "b", "change_reason": "said so"})
    served.ok("PATCH", path, {"topic": "t"})
    served.ok("PATCH", path, {"fact": "b"})
    served.ok("PATCH", path, {"fact": "c"})
    served.ok("PATCH", path, {"confidence": 0.1, "change_reason": "doubts"})
    page = served.ok("GET", f"{path}/revisions")
    assert (page["total"], page["limit"], page["offset"]) == (3, 10, 0)
    assert all(revision.keys() == REVISION_FIELDS and revision["memory_id"] == memory for revision in page["revisions"])
    told = [
        (one["revision_number"], one["previous_fact"], one["new_fact"], one["change_reason"])
        for one in page["revisions"]
    ]
    assert told == [(3, "c", "c", "doubts"), (2, "b", "c", None), (1, "a", "b", "said so")]
    assert served.ok("GET", f"{path}/revisions/1") == page["revisions"][-1]
    second = served.ok("GET", f"{path}/revisions", params={"limit": 1, "offset": 1})
    assert (second["revisions"], second["total"]) == ([page["revisions"][1]], 3)
    assert served.refused("GET", f"{path}/revisions/4") == (404, f"Revision not found: 4 of memory {memory}")
    for bad in (f"{path}/revisions/0", f"{path}/revisions/{2**31}", f"{path}/revisions?limit=101"):
        assert served.refused("GET", bad)[0] == 422


def test_changes_at_the_same_time_are_numbered_without_gaps(served):
    path = f"/memories/{new_memory(served)}"
    answers = served.together(*[served.ask("PATCH", path, {"fact": f"fact {n}"}) for n in range(20)])
    assert {answer.status_code for answer in answers} == {200}
    revisions = served.ok("GET", f"{path}/revisions", params={"limit": 100})["revisions"]
    assert [one["revision_number"] for one in revisions] == list(range(20, 0, -1))
    # Each began where the one before it ended.
    assert [one["previous_fact"] for one in revisions[:-1]] == [one["new_fact"] for one in revisions[1:]]


def test_it_tells_how_it_is(served):
    assert served.ok("GET", "/health").keys() == {"status", "service", "version", "timestamp", "search"}
    assert served.ok("GET", "/health/ready") == {"status": "ready"}
