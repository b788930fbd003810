"""The registry's services, in process."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

NOW = "2024-02-29T12:00:00.123456Z"
MISSING = "6e1f4b9c-0000-4000-8000-000000000000"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": "n" * 201}, "name"),
    ({"name": None}, "name"),
    ({"name": "\x00"}, "name"),
    ({"description": "d" * 10_001}, "description"),
    ({"endpoint": None}, "endpoint"),
    ({"endpoint": 7}, "endpoint"),
    ({"deduplicates": "true"}, "deduplicates"),
    ({"actions": {}}, "actions"),
    ({"actions": [{"name": "a"}] * 101}, "actions"),
    ({"actions": [{"name": "a/b"}]}, "actions.0.name"),
    ({"actions": [{"name": "a b"}]}, "actions.0.name"),
    ({"actions": [{"name": ""}]}, "actions.0.name"),
    ({"actions": [{"name": ".."}]}, "actions.0.name"),
    ({"actions": [{"name": "ä"}]}, "actions.0.name"),
    ({"actions": [{"name": "a" * 201}]}, "actions.0.name"),
    ({"actions": [{"name": "a\n"}]}, "actions.0.name"),
    ({"metadata": []}, "metadata"),
    ({"metadata": {"a": "\x00"}}, "metadata"),
    ({"status": "active"}, "status"),
]


@pytest.mark.parametrize("name", ["%00", "%ff", "a%0Ab"])
def test_a_key_may_be_used_with_any_path(everywhere, name):
    for path in ("/services/{}", "/services/{}/actions/x", "/workflows/{}", "/executions/{}/cancel"):
        method = "POST" if path.count("/") > 2 else "DELETE"
        for _ in range(2):
            assert everywhere(method, path.format(name), {}, headers={"Idempotency-Key": "k"}).status_code == 404


def test_a_service_is_kept_as_it_was_given(everywhere):
    given = {
        "name": "text-extraction",
        "description": "Ä\n" * 10,
        "endpoint": "http://text-extraction:8000/api",
        "deduplicates": True,
        "actions": [
            {
                "name": "extract",
                "description": "d",
                "input_schema": {"type": "object", "required": ["url"]},
                "output_schema": True,
            }
        ],
        "metadata": {"version": "1.0.0", "nested": [1, {"a": None}]},
        "status": "INACTIVE",
    }
    answer = everywhere("POST", "/services", given)
    service = answer.json()
    assert answer.status_code == 201
    assert str(UUID(service["id"])) == service["id"]
    assert service == {**given, "id": service["id"], "created_at": NOW, "updated_at": NOW}
    assert everywhere.ok("GET", f"/services/{service['id']}") == service
    health = everywhere.ok("GET", "/health")
    assert (health["services"], health["workflows"]) == ({"total": 1, "active": 0}, {"total": 0, "active": 0})


def test_the_defaults(registry):
    service = registry.ok(
        "POST", "/services", {"name": "s", "endpoint": "https://s.example", "actions": [{"name": "a"}]}
    )
    assert (service["description"], service["deduplicates"], service["metadata"]) == ("", False, {})
    assert service["status"] == "ACTIVE"
    assert service["actions"] == [{"name": "a", "description": "", "input_schema": {}, "output_schema": {}}]


def test_what_cannot_be_a_service_names_the_field(registry):
    for fields, where in REFUSED:
        given = {"name": "s", "endpoint": "http://s.invalid", **fields}
        status, problems = registry.refused("POST", "/services", given)
        assert status == 422
        assert {".".join(map(str, problem["loc"])) for problem in problems} == {f"body.{where}"}, fields
    assert registry.ok("GET", "/services")["total"] == 0


def test_everything_that_is_wrong_is_told_at_once(registry):
    given = {
        "name": "s",
        "endpoint": "http://169.254.169.254/latest",
        "actions": [
            {"name": "a", "input_schema": {"type": "strin", "minimum": "x"}},
            {"name": "a", "output_schema": {"$ref": "http://example.com/schema"}},
        ],
    }
    problems = registry.problems("POST", "/services", given)
    assert problems.keys() == {
        "endpoint",
        "actions.0.input_schema.type",
        "actions.0.input_schema.minimum",
        "actions.1.name",
        "actions.1.output_schema.$ref",
    }
    assert "metadata address" in problems["endpoint"]
    assert all(text.startswith("action 'a': ") for name, text in problems.items() if name.startswith("actions"))
    assert registry.ok("GET", "/services")["total"] == 0


def test_there_is_no_such_service(registry):
    for missing in (MISSING, "123", "x" * 500, "%00", "{" + MISSING + "}"):
        asked: list[tuple[str, str, Any]] = [
            ("GET", "", None),
            ("PUT", "", {"name": "n"}),
            ("DELETE", "", None),
            ("GET", "/health", None),
            ("POST", "/actions/extract", {"input_data": {}}),
        ]
        for method, path, body in asked:
            answer = registry(method, f"/services/{missing}{path}", body)
            assert answer.status_code == 404
            shown = "\x00" if missing == "%00" else missing
            assert answer.json() == {
                "detail": f"Service not found: {shown}",
                "resource_type": "service",
                "resource_id": shown,
            }


def test_names_are_unique(everywhere):
    first, other = everywhere.service("one"), everywhere.service("two")
    status, detail = everywhere.refused("POST", "/services", {"name": "one", "endpoint": "http://x.invalid"})
    assert status == 409 and "'one'" in detail
    assert everywhere.refused("PUT", f"/services/{other['id']}", {"name": "one"})[0] == 409
    assert everywhere.ok("PUT", f"/services/{first['id']}", {"name": "one"})["name"] == "one"
    new = [
        everywhere.served.ask("POST", "/api/services", {"name": "n", "endpoint": "http://x.invalid"}) for _ in "1234"
    ]
    assert sorted(answer.status_code for answer in everywhere.served.together(*new)) == [201, 409, 409, 409]


def test_a_change_changes_what_is_given(everywhere):
    before = everywhere.service(metadata={"a": 1}, description="d")
    path = f"/services/{before['id']}"
    everywhere.served.clock.advance(seconds=1)
    assert everywhere.ok("PUT", path, {}) == before
    later = {"updated_at": "2024-02-29T12:00:01.123456Z"}
    changed = everywhere.ok("PUT", path, {"status": "INACTIVE", "endpoint": "http://v2.invalid"})
    assert changed == {**before, "status": "INACTIVE", "endpoint": "http://v2.invalid", **later}
    actions = [*before["actions"], {"name": "new", "description": "", "input_schema": {}, "output_schema": {}}]
    assert everywhere.ok("PUT", path, {"actions": actions, "metadata": {}, "deduplicates": True}) == {
        **changed,
        "actions": actions,
        "metadata": {},
        "deduplicates": True,
    }
    for name in ("name", "endpoint", "actions", "metadata", "status", "deduplicates", "description"):
        assert everywhere.problems("PUT", path, {name: None}).keys() == {name}
    assert everywhere.problems("PUT", path, {"endpoint": "ftp://x"}).keys() == {"endpoint"}


def test_lists_have_pages_and_filters(everywhere):
    made = [everywhere.service(f"s{n}", status="INACTIVE" if n % 2 else "ACTIVE") for n in range(5)][::-1]
    assert everywhere.ok("GET", "/services") == {"items": made, "total": 5, "page": 1, "per_page": 10, "pages": 1}
    page = everywhere.ok("GET", "/services", params={"page": 2, "per_page": 2})
    assert page == {"items": made[2:4], "total": 5, "page": 2, "per_page": 2, "pages": 3}
    page = everywhere.ok("GET", "/services", params={"status": "INACTIVE", "per_page": 1, "page": 2})
    assert (page["items"], page["total"], page["pages"]) == ([made[3]], 2, 2)
    beyond = everywhere.ok("GET", "/services", params={"page": 99})
    assert (beyond["items"], beyond["total"]) == ([], 5)
    for params in ({"page": 0}, {"per_page": 0}, {"per_page": 101}, {"status": "active"}, {"page": "x"}):
        assert everywhere.refused("GET", "/services", params=params)[0] == 422


def test_a_service_that_workflows_use_stays(everywhere):
    service, unused = everywhere.service(), everywhere.service("other")
    workflows = [everywhere.workflow(name=f"w{n}") for n in range(7)]
    status, detail = everywhere.refused("DELETE", f"/services/{service['id']}")
    assert status == 409
    assert "'text'" in detail and workflows[0]["id"] in detail and "and 2 more" in detail
    assert everywhere.ok("DELETE", f"/services/{unused['id']}")["success"] is True
    assert everywhere.ok("GET", "/services")["total"] == 1
    status, detail = everywhere.refused("PUT", f"/services/{service['id']}", {"actions": [{"name": "clean"}]})
    assert status == 409 and "'extract'" in detail and "'clean'" not in detail and workflows[0]["id"] in detail
    for workflow in workflows:
        everywhere.ok("DELETE", f"/workflows/{workflow['id']}")
    assert everywhere.ok("PUT", f"/services/{service['id']}", {"actions": []})["actions"] == []
    assert everywhere.ok("DELETE", f"/services/{service['id']}")["success"] is True
    assert everywhere.refused("GET", f"/services/{service['id']}")[0] == 404


def test_workflows_follow_a_renamed_service(everywhere):
    service = everywhere.service()
    workflow = everywhere.workflow()
    everywhere.ok("PUT", f"/services/{service['id']}", {"name": "text-v2"})
    steps = everywhere.ok("GET", f"/workflows/{workflow['id']}")["steps"]
    assert [one["service"] for one in steps] == ["text-v2", "text-v2"]


def test_a_repeated_key_gets_the_same_answer(everywhere):
    body = {"name": "s", "endpoint": "http://s.invalid"}
    first, again = [everywhere("POST", "/services", body, headers={"Idempotency-Key": "k"}) for _ in "12"]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json() and again.headers["Idempotent-Replayed"] == "true"
    other = everywhere("POST", "/services", {**body, "name": "t"}, headers={"Idempotency-Key": "k"})
    assert other.status_code == 422
    # What is said besides `detail` is kept as well.
    gone = [everywhere("DELETE", f"/services/{uuid4()}", headers={"X-Request-ID": "r"}) for _ in "1"]
    same = everywhere("DELETE", gone[0].request.url.path.removeprefix("/api"), headers={"X-Request-ID": "r"})
    assert same.json() == gone[0].json() and same.json()["resource_type"] == "service"
    assert same.headers["Idempotent-Replayed"] == "true"


def test_too_large_a_body_is_refused(registry):
    answer = registry(
        "POST", "/services", {"name": "s", "endpoint": "http://s.invalid", "metadata": {"a": "x" * 9_000_000}}
    )
    assert answer.status_code == 413 and "8388608 bytes" in answer.json()["detail"]
    deep = '{"name": "s", "endpoint": "http://s.invalid", "metadata": {"a": ' + "[" * 100_000 + "]" * 100_000 + "}}"
    for body in (deep, "{", "[]", "null", "", '{"name": 1' + "0" * 5000 + "}"):
        answer = registry.served("POST", "/api/services", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in {400, 422}, body[:50]
