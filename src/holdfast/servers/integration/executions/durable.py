"""What makes somebody go on after a crash: dbos, which knows of every execution how many of its steps are done.

An execution in one of its runs is one dbos workflow, with the id `{execution}.{run}`. dbos has a database of its own
beside ours: a second SQLite file, because two engines on one file would fight for its write lock, or a schema of its
own in the same PostgreSQL database. There is one dbos in a process, so there is one of these.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID

from holdfast.servers.service import ServerStartError
from holdfast.servers.sqlite_file import prepare_file

if TYPE_CHECKING:
    from dbos import WorkflowStatus

    from holdfast.servers.integration.executions.steps import Checkpoint
    from holdfast.servers.service import Storage

__all__ = ["CarryOut", "Durable"]

logger = logging.getLogger(__name__)

CarryOut = Callable[[UUID, int, "Checkpoint"], Awaitable[str]]
"""Carries out an execution in one of its runs."""

VERSION = "1"
"""Of what `_execute` does with dbos: the names and order of its steps. Only servers of the same version go on with
each other's executions, so this changes only if those of the old version could not be gone on with; then a server of
the old version has to run until they have ended."""

MOST_RECOVERIES = 10
"""So often somebody goes on with an execution in one of its runs. One that ends its server each time is given up."""

QUEUE = "holdfast-executions"
"""Where executions wait that the process which took them cannot begin at once."""

POLL_SECONDS = 0.25
"""Between two looks into the queue."""

SCHEMA = "holdfast_workflows"
FILE = "integration-workflows.db"

POOL_SIZE = 10
"""Connections of dbos to PostgreSQL, of which it keeps one or two for itself."""

_process: Durable | None = None


# A dead server's executions are found by its name, so this one is registered once, under a name that stays.
@DBOS.workflow(name="holdfast.execution", max_recovery_attempts=MOST_RECOVERIES)
async def _execute(execution_id: str, run: int) -> str:
    if _process is None:
        raise asyncio.CancelledError("the server stops")
    return await _process.carry_out(UUID(execution_id), run, _checkpoint)


async def _checkpoint(name: str, function: Callable[..., Awaitable[str]], *arguments: Any) -> str:
    async def step() -> str:
        return await function(*arguments)

    return await DBOS.run_step_async({"name": name}, step)


class _NoCancellations(logging.Filter):
    """What is cancelled when the server stops is nothing to warn of, a line for each layer."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Asyncio task cancelled")


class Durable:
    """dbos in this process, from `launch` to `close`.

    Args:
        storage: where data is kept.
        executor_id: of this process; no other one has ever had it.
        concurrency: executions that are taken from the queue at the same time.
        carry_out: does the work.
    """

    def __init__(self, storage: Storage, executor_id: str, concurrency: int, carry_out: CarryOut) -> None:
        self.executor_id = executor_id
        self.carry_out = carry_out
        self._storage = storage
        self._concurrency = concurrency
        self._engine: sa.Engine | None = None

    async def launch(self) -> None:
        """Starts it in the running event loop, which executions are carried out in.

        Raises:
            ServerStartError: another app of this process has one, or the database cannot be used.
        """
        global _process  # noqa: PLW0603 - dbos is one per process too
        if _process is not None:
            raise ServerStartError(
                "another Service Integration server runs in this process already, and there can be only one: what"
                " makes executions durable (dbos) is one per process. Start it in a process of its own."
            )
        _process = self
        _set_up_logging()
        try:
            DBOS(config=self._config())
            # It takes the running event loop as its own, so not in a thread; it migrates its database meanwhile.
            DBOS.launch()
            await DBOS.register_queue_async(
                QUEUE,
                worker_concurrency=self._concurrency,
                polling_interval_sec=POLL_SECONDS,
                on_conflict="always_update",
            )
        except BaseException as error:
            await self.close()
            if isinstance(error, Exception):
                reason = str(getattr(error, "orig", None) or error).splitlines()[0]
                raise ServerStartError(f"cannot use the database of durable executions: {reason}") from error
            raise

    async def close(self) -> None:
        """Stops it. What it has not recorded as done, it does again, here or elsewhere."""
        global _process  # noqa: PLW0603 - the same
        loop = asyncio.get_running_loop()
        # It waits for its threads, so it does so in one that is not its own.
        with ThreadPoolExecutor(1, thread_name_prefix="holdfast-dbos") as pool:
            await loop.run_in_executor(pool, DBOS.destroy)
        # dbos made its own threads those of the event loop, and they are gone.
        loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        _process = None

    async def start(self, execution_id: UUID, run: int, *, queued: bool) -> None:
        """Has an execution carried out, once, however often this is called.

        Args:
            execution_id: its id.
            run: which of its runs.
            queued: by whichever process has room for it, not in this one at once.
        """
        with SetWorkflowID(_workflow_id(execution_id, run)):
            if queued:
                await DBOS.enqueue_workflow_async(QUEUE, _execute, str(execution_id), run)
            else:
                await DBOS.start_workflow_async(_execute, str(execution_id), run)

    async def known(self, runs: Collection[tuple[UUID, int]]) -> dict[tuple[UUID, int], WorkflowStatus]:
        """What dbos knows of executions in their runs; those that it does not know are missing."""
        ids = {_workflow_id(*one): one for one in runs}
        if not ids:
            return {}
        found = await DBOS.list_workflows_async(workflow_ids=list(ids), load_input=False, load_output=False)
        return {ids[status.workflow_id]: status for status in found}

    async def recover(self, executor_ids: Sequence[str]) -> None:
        """Has this process, or any other one, go on with what dead ones were doing.

        Idempotent: dbos gives back what one of these executors has, and another one does not have yet. There is no
        public way to say so; dbos's own is a service that it sells.
        """
        await asyncio.to_thread(DBOS._recover_pending_workflows, list(executor_ids))  # noqa: SLF001 - see above

    async def forget(self, runs: Collection[tuple[UUID, int]]) -> None:
        """Removes what dbos knows of executions in their runs."""
        await DBOS.delete_workflows_async([_workflow_id(*one) for one in runs])

    def _config(self) -> DBOSConfig:
        config = DBOSConfig(
            name="holdfast",
            executor_id=self.executor_id,
            application_version=VERSION,
            # Its default would load pickles from the database.
            serializer=DBOSPortableJSONSerializer(),
            log_level="WARNING",
            dbos_system_schema=SCHEMA,
            sys_db_pool_size=POOL_SIZE,
            # They are for messages between workflows, which there are none of. The first would keep a connection.
            use_listen_notify=False,
            notification_listener_polling_interval_sec=0.2,
        )
        if self._storage.database_url is None:
            path = self._storage.data_dir / FILE
            self._engine = _sqlite(str(path))
            config["system_database_engine"] = self._engine
            config["system_database_url"] = self._engine.url.render_as_string(hide_password=False)
        else:
            url = sa.make_url(self._storage.database_url).set(drivername="postgresql+psycopg")
            # What asyncpg calls ssl, psycopg and libpq call sslmode.
            query = {"sslmode" if name == "ssl" else name: value for name, value in url.query.items()}
            config["system_database_url"] = url.set(query=query).render_as_string(hide_password=False)
        return config


def _workflow_id(execution_id: UUID, run: int) -> str:
    return f"{execution_id}.{run}"


def _set_up_logging() -> None:
    log = logging.getLogger("dbos")
    if not log.handlers:
        # Where there is a handler dbos adds none of its own, and lets everything go where the other loggers' goes.
        log.addHandler(logging.NullHandler())
    if not any(isinstance(one, _NoCancellations) for one in log.filters):
        log.addFilter(_NoCancellations())


def _sqlite(path: str) -> sa.Engine:
    """An engine like dbos's own, but one with which readers and a writer do not wait for each other."""
    prepare_file(path, 30)
    engine = sa.create_engine(sa.URL.create("sqlite", database=path))

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        connection.execute("PRAGMA busy_timeout = 30000")
        connection.execute("PRAGMA foreign_keys = ON")
        # As in our own database: see `holdfast.servers.db`.
        connection.execute("PRAGMA synchronous = NORMAL")

    return engine
