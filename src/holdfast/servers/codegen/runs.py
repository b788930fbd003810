"""What agent runs do: every function works in the transaction it is handed, and raises the answer if it cannot."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException
from sqlalchemy import ColumnElement, Row, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from holdfast.servers.codegen import seed
from holdfast.servers.codegen.schemas import (
    AgentRun,
    AgentRunLog,
    AgentRunWithLogs,
    NewAgentRun,
    Page,
    PullRequest,
    Repo,
    Resumption,
    page_of,
)
from holdfast.servers.codegen.script import Timeline, pull_request, status_at, timeline
from holdfast.servers.codegen.tables import run_logs, runs, seeded
from holdfast.servers.codegen.tokens import problem
from holdfast.servers.refusals import Refusal

if TYPE_CHECKING:
    from holdfast.servers.codegen.schemas import SourceType
    from holdfast.servers.db import Database

__all__ = [
    "add_run",
    "create_run",
    "get_logs",
    "get_run",
    "list_runs",
    "missing",
    "resume_run",
    "row_of",
    "shown",
    "sow",
]

LARGEST_ID = 2**63 - 1
"""What a database can compare an id with."""


async def create_run(
    connection: AsyncConnection, org_id: int, new: NewAgentRun, now: datetime, seconds: float
) -> AgentRun:
    """A new run, of the user to whom all tokens belong.

    Raises:
        Refusal: 404, the repository is none of the organization.
    """
    repo = _repo(org_id, new.repo_id)
    row = await add_run(
        connection,
        org_id,
        timeline(new.prompt, repo, now, seconds),
        now,
        prompt=new.prompt,
        repo=repo,
        user_id=seed.ME,
        source_type="API",
        metadata=new.metadata,
        model=new.model,
        agent_type=new.agent_type,
    )
    return shown(row, now)


async def add_run(
    connection: AsyncConnection,
    org_id: int,
    course: Timeline,
    now: datetime,
    *,
    prompt: str,
    repo: Repo | None,
    user_id: int,
    source_type: SourceType,
    metadata: dict[str, Any] | None = None,
    model: str | None = None,
    agent_type: str | None = None,
) -> Row[Any]:
    """A new run that takes a given course; its row."""
    values = {
        "organization_id": org_id,
        "user_id": user_id,
        "source_type": source_type,
        "prompt": prompt,
        "metadata": metadata,
        "repo_id": repo.id if repo else None,
        "model": model,
        "agent_type": agent_type,
        "created_at": now,
        **_course(course),
    }
    row = (await connection.execute(insert(runs).values(values).returning(runs))).one()
    await _write_log(connection, row.id, course)
    return await _open_pull_request(connection, row, course, prompt, repo)


async def get_run(connection: AsyncConnection, org_id: int, run_id: int, now: datetime) -> AgentRun:
    """A run of an organization.

    Raises:
        Refusal: 404, there is none.
    """
    return shown(await row_of(connection, org_id, run_id), now)


async def list_runs(
    connection: AsyncConnection,
    org_id: int,
    now: datetime,
    *,
    user_id: int | None,
    source_type: str | None,
    skip: int,
    limit: int,
) -> Page[AgentRun]:
    """Runs of an organization, the newest first."""
    if user_id is not None and user_id not in seed.USERS:
        return page_of([], 0, skip, limit)
    conditions: list[ColumnElement[bool]] = [runs.c.organization_id == org_id]
    if user_id is not None:
        conditions.append(runs.c.user_id == user_id)
    if source_type is not None:
        conditions.append(runs.c.source_type == source_type)
    found = select(runs).where(*conditions).order_by(runs.c.id.desc()).limit(limit).offset(skip)
    items = [shown(row, now) for row in await connection.execute(found)]
    return page_of(items, await _count(connection, runs.c.id, conditions), skip, limit)


async def resume_run(
    connection: AsyncConnection, org_id: int, more: Resumption, now: datetime, seconds: float
) -> AgentRun:
    """A run goes on with another prompt: one that was paused, or has come to any other end.

    Raises:
        Refusal: 404, there is none.
        HTTPException: 422, it is still going on.
    """
    row = await row_of(connection, org_id, more.agent_run_id, lock=True)
    status = status_at(now, row.active_at, row.ends_at, row.outcome)
    if now < row.ends_at:
        message = f"agent run {row.id} is {status}: it can be resumed when it is PAUSED, or has ended"
        raise HTTPException(422, [{"loc": ["body", "agent_run_id"], "msg": message, "type": "agent_run_active"}])
    repo = _repo(org_id, row.repo_id)
    course = timeline(more.prompt, repo, now, seconds)
    values = {**_course(course), "announced_at": None}
    row = (await connection.execute(update(runs).where(runs.c.id == row.id).values(values).returning(runs))).one()
    await _write_log(connection, row.id, course)
    return shown(await _open_pull_request(connection, row, course, row.prompt, repo), now)


async def get_logs(
    connection: AsyncConnection, org_id: int, run_id: int, now: datetime, *, skip: int, limit: int, reverse: bool
) -> AgentRunWithLogs:
    """A run and what was done in it until now, in the order of time or against it.

    Raises:
        Refusal: 404, there is no such run.
    """
    run = shown(await row_of(connection, org_id, run_id), now)
    conditions: list[ColumnElement[bool]] = [run_logs.c.run_id == run.id, run_logs.c.created_at <= now]
    order = run_logs.c.seq.desc() if reverse else run_logs.c.seq
    columns = [
        run_logs.c.run_id.label("agent_run_id"),
        *(one for one in run_logs.c if one.name not in {"seq", "run_id"}),
    ]
    found = select(*columns).where(*conditions).order_by(order).limit(limit).offset(skip)
    logs = [AgentRunLog.model_validate(row) for row in await connection.execute(found)]
    page = page_of(logs, await _count(connection, run_logs.c.seq, conditions), skip, limit)
    return AgentRunWithLogs(
        **run.model_dump(include={"id", "organization_id", "status", "created_at", "web_url", "result", "metadata"}),
        logs=page.items,
        total_logs=page.total,
        page=page.page,
        size=page.size,
        pages=page.pages,
    )


def shown(row: Row[Any], now: datetime) -> AgentRun:
    """What there is to see of a run at a time."""
    ended = now >= row.ends_at
    opened = PullRequest.model_validate(row.pull_request) if row.pull_request else None
    return AgentRun(
        id=row.id,
        organization_id=row.organization_id,
        status=status_at(now, row.active_at, row.ends_at, row.outcome),
        created_at=row.created_at,
        web_url=f"https://codegen.acme.example/agent/trace/{row.id}",
        result=row.result if ended else None,
        summary=row.summary if ended else None,
        source_type=row.source_type,
        github_pull_requests=[opened] if opened and opened.created_at <= now else [],
        metadata=row._mapping["metadata"],  # noqa: SLF001 - SQLAlchemy's name for public access by column
    )


async def sow(database: Database, org_id: int, now: datetime) -> None:
    """The organization's first runs, if it has not had any yet."""
    async with database.writing() as connection:
        make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        mark = make(seeded).values(organization_id=org_id).on_conflict_do_nothing()
        if not (await connection.execute(mark)).rowcount:
            return
        for first in seed.FIRST_RUNS:
            then = first.created_at(now)
            repo = _repo(org_id, first.repo_id)
            course = timeline(first.prompt, repo, then, 600.0)
            row = await add_run(
                connection,
                org_id,
                course,
                then,
                prompt=first.prompt,
                repo=repo,
                user_id=first.user_id,
                source_type=first.source_type,
            )
            # Nobody was there to be told.
            await connection.execute(update(runs).where(runs.c.id == row.id).values(announced_at=course.ends_at))


async def row_of(connection: AsyncConnection, org_id: int, run_id: int, *, lock: bool = False) -> Row[Any]:
    """The row of a run.

    Raises:
        Refusal: 404, there is none.
    """
    row = None
    if 0 < run_id <= LARGEST_ID:
        found = select(runs).where(runs.c.id == run_id, runs.c.organization_id == org_id)
        row = (await connection.execute(found.with_for_update() if lock else found)).one_or_none()
    if row is None:
        raise missing(f"Agent run not found: {run_id}")
    return row


def missing(message: str) -> Refusal:
    """The 404 for something that is not there."""
    body = problem(404, message)
    return Refusal(404, message, message=body["message"], status_code=body["status_code"])


def _repo(org_id: int, repo_id: int | None) -> Repo | None:
    if repo_id is None:
        return None
    repo = seed.repos(org_id).get(repo_id)
    if repo is None:
        raise missing(f"Repository not found in organization {org_id}: {repo_id}")
    return repo


def _course(course: Timeline) -> dict[str, Any]:
    return {
        "active_at": course.active_at,
        "ends_at": course.ends_at,
        "outcome": course.outcome,
        "result": course.result,
        "summary": course.summary,
    }


async def _write_log(connection: AsyncConnection, run_id: int, course: Timeline) -> None:
    entries = [
        {
            "run_id": run_id,
            "created_at": step.at,
            "message_type": step.message_type,
            "tool_name": step.tool_name,
            "thought": step.thought,
            "observation": step.observation,
            "tool_input": step.tool_input,
            "tool_output": step.tool_output,
        }
        for step in course.steps
    ]
    await connection.execute(insert(run_logs), entries)


async def _open_pull_request(
    connection: AsyncConnection, row: Row[Any], course: Timeline, prompt: str, repo: Repo | None
) -> Row[Any]:
    """The row with the pull request that will be there at the end; at most one in a run's life."""
    if repo is None or course.outcome != "COMPLETE" or row.pull_request is not None:
        return row
    opened = pull_request(row.id, prompt, repo, course.ends_at)
    change = update(runs).where(runs.c.id == row.id).values(pull_request=opened).returning(runs)
    changed: Row[Any] = (await connection.execute(change)).one()
    return changed


async def _count(connection: AsyncConnection, column: ColumnElement[int], conditions: list[ColumnElement[bool]]) -> int:
    return (await connection.execute(select(func.count(column)).where(*conditions))).scalar_one()
