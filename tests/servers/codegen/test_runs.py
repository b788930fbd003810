"""Agent runs, and the people and repositories around them."""

from __future__ import annotations

import pytest

from holdfast.servers.codegen.schemas import LONGEST_PROMPT
from tests.support.codegen_served import ORGANIZATION, RUN, RUNS, codegen_served
from tests.support.served import Clock

FIELDS = {
    "id",
    "organization_id",
    "status",
    "created_at",
    "web_url",
    "result",
    "summary",
    "source_type",
    "github_pull_requests",
    "metadata",
}
RESUME = f"{RUN}/resume"


def test_a_run_progresses_by_itself(everywhere):
    run = everywhere.new_run("Fix the bug", metadata={"pr": 123, "deep": [{"ü": None}]}, repo_id=1)
    assert run.keys() == FIELDS
    assert (run["organization_id"], run["source_type"]) == (123, "API")
    assert run["metadata"] == {"pr": 123, "deep": [{"ü": None}]}
    seen = []
    for _ in range(5):
        now = everywhere.run(run["id"])
        seen.append((now["status"], now["result"], now["summary"], len(now["github_pull_requests"])))
        everywhere.clock.advance(seconds=0.9)
    before = (None, None, 0)
    after = ("Done: Fix the bug", "Complete: Fix the bug", 1)
    assert seen == [
        ("PENDING", *before),
        ("PENDING", *before),
        ("ACTIVE", *before),
        ("ACTIVE", *before),
        ("COMPLETE", *after),
    ]
    (opened,) = everywhere.run(run["id"])["github_pull_requests"]
    assert opened["head_branch_name"] == f"codegen/run-{run['id']}" and opened["title"] == "Fix the bug"


@pytest.mark.parametrize(
    ("prompt", "status", "result"),
    [
        ("Do [fail] this", "FAILED", "Failed, because the prompt has the marker [fail]: Do this"),
        ("[PAUSE] and [fail]", "PAUSED", None),
        ("[cancel]", "CANCELLED", None),
        ("[failure] is no marker", "COMPLETE", "Done: [failure] is no marker"),
    ],
)
def test_markers_decide_how_a_run_ends(codegen, prompt, status, result):
    run = codegen.new_run(prompt, repo_id=1)
    codegen.clock.advance(seconds=3)
    ended = codegen.run(run["id"])
    assert (ended["status"], ended["result"]) == (status, result)
    assert bool(ended["github_pull_requests"]) is (status == "COMPLETE")


def test_what_was_acknowledged_survives_a_restart_and_time_goes_on(storage):
    clock = Clock()
    with codegen_served(storage, clock) as codegen:
        run = codegen.new_run(metadata={"a": 1})
        first = codegen.ok("GET", RUNS)
    clock.advance(seconds=3)
    with codegen_served(storage, clock) as codegen:
        again = codegen.run(run["id"])
        assert again == {**run, "status": "COMPLETE", "result": "Done: Fix the bug", "summary": "Complete: Fix the bug"}
        # Nothing is sown twice.
        assert codegen.ok("GET", RUNS)["total"] == first["total"] == 5


def test_the_first_runs_have_come_to_every_end(codegen):
    page = codegen.ok("GET", RUNS)
    assert [run["status"] for run in page["items"]] == ["PAUSED", "CANCELLED", "FAILED", "COMPLETE"]
    assert {run["source_type"] for run in page["items"]} == {"CHAT", "SLACK", "LINEAR", "GITHUB"}


def test_runs_are_listed_newest_first_in_pages(everywhere):
    made = [everywhere.new_run(f"Number {number}")["id"] for number in range(5)]
    page = everywhere.ok("GET", f"{RUNS}?source_type=API&skip=2&limit=2")
    assert [run["id"] for run in page["items"]] == [made[2], made[1]]
    assert {key: page[key] for key in ("total", "page", "size", "pages")} == {
        "total": 5,
        "page": 2,
        "size": 2,
        "pages": 3,
    }
    assert everywhere.ok("GET", f"{RUNS}?user_id=1&source_type=CHAT")["total"] == 1
    assert everywhere.ok("GET", f"{RUNS}?user_id=2")["total"] == 1
    for nobody in (26, -1, 2**70):
        assert everywhere.ok("GET", f"{RUNS}?user_id={nobody}")["items"] == []
    assert everywhere.ok("GET", f"{RUNS}?skip=100") | {"items": []} == {
        "items": [],
        "total": 9,
        "page": 2,
        "size": 100,
        "pages": 1,
    }


def test_logs_come_with_time_in_either_order_and_in_pages(everywhere):
    run = everywhere.new_run("Look around", repo_id=2)["id"]
    lengths = []
    for _ in range(4):
        lengths.append(everywhere.logs(run)["total_logs"])
        everywhere.clock.advance(seconds=1)
    assert lengths == [1, 2, 3, 4]
    whole = everywhere.logs(run)
    assert [(one["message_type"], one["tool_name"]) for one in whole["logs"]] == [
        ("USER_MESSAGE", None),
        ("ACTION", "plan"),
        ("ACTION", "search"),
        ("FINAL_ANSWER", None),
    ]
    assert (whole["logs"][0]["observation"], whole["logs"][2]["observation"]) == (
        "Look around",
        "Looked in acme/ledger.",
    )
    assert whole["logs"][1]["observation"] == {"steps": ["look", "change", "check"]}
    assert {one["agent_run_id"] for one in whole["logs"]} == {run}
    assert everywhere.logs(run, "?reverse=true")["logs"] == whole["logs"][::-1]
    page = everywhere.logs(run, "?skip=1&limit=2")
    assert page["logs"] == whole["logs"][1:3]
    assert [page[key] for key in ("total_logs", "page", "size", "pages")] == [4, 1, 2, 2]
    assert page["status"] == "COMPLETE"


def test_a_paused_run_goes_on_when_it_is_resumed(everywhere):
    run = everywhere.new_run("[pause] First half", repo_id=1)["id"]
    everywhere.clock.advance(seconds=3)
    assert everywhere.run(run)["status"] == "PAUSED"
    resumed = everywhere.ok("POST", RESUME, {"agent_run_id": run, "prompt": "Second half"})
    assert (resumed["id"], resumed["status"], resumed["result"]) == (run, "PENDING", None)
    everywhere.clock.advance(seconds=3)
    ended = everywhere.run(run)
    assert (ended["status"], ended["result"]) == ("COMPLETE", "Done: Second half")
    assert len(ended["github_pull_requests"]) == 1
    assert everywhere.logs(run)["total_logs"] == 3 + 4
    again = everywhere.ok("POST", RESUME, {"agent_run_id": run, "prompt": "Once more"})
    # What it opened stays open.
    assert again["github_pull_requests"] == ended["github_pull_requests"]


def test_a_run_that_goes_on_cannot_be_resumed(codegen):
    run = codegen.new_run()["id"]
    for status in ("PENDING", "ACTIVE"):
        problem = codegen.problem("POST", RESUME, {"agent_run_id": run, "prompt": "x"})
        assert problem["loc"] == ["body", "agent_run_id"]
        assert f"agent run {run} is {status}" in problem["msg"]
        codegen.clock.advance(seconds=1.5)


@pytest.mark.parametrize("run_id", [0, -1, 99_999, 2**63, 10**30])
def test_there_is_no_such_run(everywhere, run_id):
    expected = (404, f"Agent run not found: {run_id}")
    assert everywhere.refused("GET", f"{RUN}/{run_id}") == expected
    assert everywhere.refused("GET", f"/v1/alpha{RUN[3:]}/{run_id}/logs") == expected
    assert everywhere.refused("POST", RESUME, {"agent_run_id": run_id, "prompt": "x"}) == expected


@pytest.mark.parametrize("path", ["users", "users/1", "repos", "agent/runs", "agent/run/1"])
def test_another_organization_is_out_of_reach(codegen, path):
    assert codegen.refused("GET", f"/v1/organizations/124/{path}") == (
        403,
        "You do not have access to organization 124.",
    )


def test_the_organization_is_the_one_that_is_set(tmp_path):
    from holdfast.servers.service import Storage

    with codegen_served(Storage(tmp_path), org_id=77) as codegen:
        (only,) = codegen.ok("GET", "/v1/organizations")["items"]
        assert only["id"] == 77 and only["settings"]["enable_pr_creation"] is True
        assert codegen.ok("GET", "/v1/organizations/77/agent/runs")["total"] == 4
        assert codegen("GET", f"{ORGANIZATION}/users").status_code == 403


def test_there_are_25_users_and_some_repositories(codegen):
    page = codegen.ok("GET", f"{ORGANIZATION}/users?skip=20&limit=10")
    assert [user["id"] for user in page["items"]] == [21, 22, 23, 24, 25]
    assert (page["total"], page["page"], page["size"], page["pages"]) == (25, 3, 10, 3)
    users = codegen.ok("GET", f"{ORGANIZATION}/users")["items"]
    assert len({user["github_username"] for user in users} | {user["github_user_id"] for user in users}) == 50
    assert codegen.ok("GET", f"{ORGANIZATION}/users/7") == users[6]
    assert codegen.ok("GET", "/v1/users/me") == users[0]
    assert codegen.refused("GET", f"{ORGANIZATION}/users/99999") == (404, "User not found in organization 123: 99999")
    repos = codegen.ok("GET", f"{ORGANIZATION}/repos")["items"]
    assert {repo["organization_id"] for repo in repos} == {123} and len(repos) == 5


@pytest.mark.parametrize(
    ("fields", "where", "what"),
    [
        ({"prompt": None}, "prompt", "string"),
        ({"prompt": 7}, "prompt", "string"),
        ({"prompt": ""}, "prompt", "at least 1 character"),
        ({"prompt": " \n\t"}, "prompt", "white space alone"),
        ({"prompt": "x" * (LONGEST_PROMPT + 1)}, "prompt", f"at most {LONGEST_PROMPT} characters"),
        ({"prompt": "nul \x00"}, "prompt", "U+0000"),
        ({"metadata": []}, "metadata", "dictionary"),
        ({"metadata": {"a": "\x00"}}, "metadata", "U+0000"),
        ({"repo_id": "1"}, "repo_id", "integer"),
        ({"repo_id": True}, "repo_id", "integer"),
        ({"model": ""}, "model", "at least 1 character"),
        ({"agent_type": "robot"}, "agent_type", "'codegen' or 'claude_code'"),
        ({"images": "data:"}, "images", "list"),
        ({"images": ["data:image/png;base64,AA=="] * 21}, "images", "at most 20 items"),
    ],
)
def test_what_cannot_be_a_run_says_what_and_where(codegen, fields, where, what):
    problem = codegen.problem("POST", RUN, {"prompt": "x", **fields})
    assert problem["loc"] == ["body", where]
    assert what in problem["msg"]


def test_an_image_is_a_data_uri(codegen):
    assert codegen.new_run(images=["data:image/png;base64,iVBORw0KGgo="])
    problem = codegen.problem("POST", RUN, {"prompt": "x", "images": ["data:image/png;base64,AA==", "https://x/y.png"]})
    assert problem["loc"] == ["body", "images", 1]


def test_the_longest_prompt_and_null_options_are_taken(codegen):
    run = codegen.new_run("x" * LONGEST_PROMPT, images=None, metadata=None, repo_id=None, model=None, agent_type=None)
    codegen.clock.advance(seconds=3)
    assert len(codegen.run(run["id"])["result"]) < 100


def test_an_unknown_repository(codegen):
    assert codegen.refused("POST", RUN, {"prompt": "x", "repo_id": 9}) == (
        404,
        "Repository not found in organization 123: 9",
    )


@pytest.mark.parametrize("query", ["skip=-1", "limit=0", "limit=101", "source_type=FAX", "user_id=me"])
def test_queries_are_checked(codegen, query):
    assert codegen.problem("GET", f"{RUNS}?{query}")["loc"] == ["query", query.partition("=")[0]]


def test_a_body_that_is_too_large(tmp_path):
    from holdfast.servers.service import Storage

    with codegen_served(Storage(tmp_path), max_body_bytes=1000) as codegen:
        answer = codegen("POST", RUN, {"prompt": "x" * 2000})
        assert answer.status_code == 413 and "more than 1000 bytes" in answer.json()["detail"]
        assert codegen.ok("GET", RUNS)["total"] == 4


def test_a_body_that_is_no_json(codegen):
    answer = codegen("POST", RUN, content=b'{"prompt": ', headers={"Content-Type": "application/json"})
    assert answer.status_code == 422 and answer.json()["detail"][0]["type"] == "json_invalid"


def test_the_same_key_makes_one_run(everywhere):
    headers = {"Idempotency-Key": "once"}
    first = everywhere("POST", RUN, {"prompt": "x"}, headers=headers)
    everywhere.clock.advance(seconds=3)
    again = everywhere("POST", RUN, {"prompt": "x"}, headers=headers)
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (first.json(), "true")
    assert everywhere.ok("GET", f"{RUNS}?source_type=API")["total"] == 1
    other = everywhere("POST", RUN, {"prompt": "y"}, headers=headers)
    assert (other.status_code, other.json()["detail"][0]["type"]) == (422, "idempotency_key_reused")
    # Somebody else's keys are their own.
    theirs = everywhere("POST", RUN, {"prompt": "y"}, headers={**headers, "Authorization": "Bearer else"})
    assert theirs.status_code == 200 and theirs.json()["id"] != first.json()["id"]


def test_a_refusal_under_a_key_is_repeated_in_the_same_shape(codegen):
    headers = {"X-Request-ID": "once"}
    body = {"prompt": "x", "repo_id": 9}
    assert codegen.refused("POST", RUN, body, headers=headers) == codegen.refused("POST", RUN, body, headers=headers)


def test_duplicates_at_the_same_time_make_one_run(everywhere):
    served = everywhere.served
    asked = [served.ask("POST", RUN, {"prompt": "x"}, headers={"Idempotency-Key": "k"}) for _ in range(8)]
    answers = served.together(*asked)
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_unknown_paths_and_methods(codegen):
    assert codegen.refused("GET", "/v1/nowhere") == (404, "Not Found")
    assert codegen.refused("DELETE", RUNS) == (405, "Method Not Allowed")
