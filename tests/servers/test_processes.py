"""`holdfast serve` with databases, as processes."""

from __future__ import annotations

import errno
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.serving import Serving, finished, free_offset, request, serving

pytestmark = pytest.mark.loopback

SESSION = b'{"scope": {"user_id": "1"}}'
JSON = {"Content-Type": "application/json"}


def sessions_url(server: Serving) -> str:
    return f"http://127.0.0.1:{8001 + server.offset}/api/v1/sessions"


def refused(*arguments: str, env: dict[str, str] | None = None, code: int = 1) -> str:
    """The one line with which it does not start."""
    done = finished("serve", "--port-offset", str(free_offset()), *arguments, env=env)
    assert (done.returncode, done.stdout) == (code, ""), done
    # That tokens are signed with a development key is warned of in any case.
    (line,) = (line for line in done.stderr.splitlines() if " WARNING holdfast.auth: " not in line)
    return line


def created(server: Serving) -> str:
    status, body = request(sessions_url(server), "POST", SESSION, JSON)
    assert status == 201, body
    return str(json.loads(body)["id"])


def test_what_was_written_is_there_after_a_restart(tmp_path):
    with serving(tmp_path) as server:
        session = created(server)
        assert server.stop()[0] == 0
        # Closed properly: no journals are left beside the files.
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "codegen.db",
            "integration-workflows.db",
            "integration.db",
            "memory.db",
            "sessions.db",
        ]
    with serving(tmp_path) as server:
        assert request(f"{sessions_url(server)}/{session}")[0] == 200


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_postgresql_by_url_is_what_all_services_use(tmp_path, postgres_server, by):
    url = postgres_server.emptied()
    options, env = (["--database-url", url], {}) if by == "option" else ([], {"HOLDFAST_DATABASE_URL": url})
    with serving(tmp_path, *options, env=env) as server:
        session = created(server)
        memory = f"http://127.0.0.1:{8002 + server.offset}"
        assert json.loads(request(f"{memory}/health/ready")[1]) == {"status": "ready"}
        assert server.stop()[0] == 0
    assert list(tmp_path.iterdir()) == []
    with serving(tmp_path, *options, env=env) as server:
        assert request(f"{sessions_url(server)}/{session}")[0] == 200


def test_a_database_that_cannot_be_used_is_one_line(tmp_path):
    at = ["--data-dir", str(tmp_path)]
    line = refused(*at, "--database-url", "postgresql://me:secret@127.0.0.1:1/name")
    assert "postgresql://me:***@127.0.0.1:1/name" in line and f"[Errno {errno.ECONNREFUSED}]" in line
    line = refused(*at, env={"HOLDFAST_DATABASE_URL": "mysql://me:secret@host/name"}, code=2)
    assert "--database-url" in line and "postgresql://" in line and "secret" not in line
    (tmp_path / "memory.db").write_text("this is no database" * 100)
    line = refused(*at)
    assert str(tmp_path / "memory.db") in line and "not a database" in line


def test_a_database_that_another_process_keeps_locked_is_a_503(tmp_path, monkeypatch):
    with serving(tmp_path) as server, closing(sqlite3.connect(tmp_path / "sessions.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        # Readers do not mind.
        assert request(sessions_url(server))[0] == 200
        headers = {**JSON, "Idempotency-Key": "k"}
        status, body = request(sessions_url(server), "POST", SESSION, headers)
        assert (status, json.loads(body)) == (503, {"detail": "The database is not available; try again"})
        other.rollback()
        assert request(sessions_url(server), "POST", SESSION, headers)[0] == 201


def test_tokens_are_required_by_a_setting(tmp_path):
    line = refused("--data-dir", str(tmp_path), env={"CONTEXTIQ_REQUIRE_AUTH": "1"}, code=2)
    assert "CONTEXTIQ_JWT_SECRET_KEY" in line
    env = {"CONTEXTIQ_REQUIRE_AUTH": "1", "CONTEXTIQ_JWT_SECRET_KEY": "x" * 32}
    with serving(tmp_path, env=env) as server:
        status, body = request(sessions_url(server))
        assert (status, json.loads(body)["detail"]) == (401, "Authentication required")


def test_failures_are_injected_into_these_servers_too(tmp_path: Path):
    with serving(tmp_path, "--faults", "--fault", "status=503;path=/api/v1/sessions;count=1") as server:
        assert [request(sessions_url(server))[0] for _ in range(2)] == [503, 200]
