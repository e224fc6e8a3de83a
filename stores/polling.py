"""Polling jobs in PostgreSQL: what the API creates and deletes, and what workers take in turns.

A worker takes a due job by moving its `next_at` ahead by a lease, which it renews while it polls: a worker that is
killed leaves the job due again within seconds. Polls lie on a grid, `created_at` plus whole intervals, so they do not
drift, and those missed while no worker ran are not made up for.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from core.errors import StoreUnavailable
from stores.pooled import Pooled, within
from stores.postgres import EPOCH_US, NAME, translated

_LOCK = 7_203_147  # first key of the advisory locks; the second is the provider's
MAX_DETAIL = 500  # characters

_COLUMNS = f"""
    id, provider, symbols, interval_seconds, state, detail, polls, ticks,
    {EPOCH_US.format("created_at")} AS created_us,
    {EPOCH_US.format("next_at")} AS next_us,
    {EPOCH_US.format("last_at")} AS last_us
"""
_CREATE = f"""
    INSERT INTO polling_jobs (id, provider, symbols, interval_seconds) VALUES (%s, %s, %s, %s) RETURNING {_COLUMNS}
"""
_ONE_AT_A_TIME = f"SELECT pg_advisory_xact_lock({_LOCK}, hashtext(%s))"
_LIST = f"SELECT {_COLUMNS} FROM polling_jobs ORDER BY polling_jobs.created_at DESC, id LIMIT %s"
_GET = f"SELECT {_COLUMNS} FROM polling_jobs WHERE id = %s"
_OF_SYMBOL = f"""
    SELECT {_COLUMNS} FROM polling_jobs WHERE provider = %s AND %s = ANY (symbols)
    ORDER BY state, polling_jobs.created_at DESC LIMIT 1
"""
_LOAD = "SELECT cardinality(symbols), interval_seconds FROM polling_jobs WHERE provider = %s AND state = 'active'"
_CLAIM = f"""
    WITH due AS MATERIALIZED (
        SELECT id AS due_id FROM polling_jobs
        WHERE state = 'active' AND next_at <= now() AND provider <> ALL (%s::text[])
        ORDER BY next_at LIMIT %s FOR UPDATE SKIP LOCKED
    )
    UPDATE polling_jobs SET next_at = now() + make_interval(secs => %s) FROM due WHERE id = due_id RETURNING {_COLUMNS}
"""
_RENEW = "UPDATE polling_jobs SET next_at = now() + make_interval(secs => %s) WHERE id = ANY (%s) AND state = 'active'"
_FINISH = """
    UPDATE polling_jobs SET
        polls = polls + 1, ticks = ticks + %(ticks)s, last_at = now(), state = %(state)s, detail = %(detail)s,
        next_at = created_at + make_interval(secs => interval_seconds * (1 + floor(
            (extract(epoch FROM now() - created_at)::double precision + %(pause)s) / interval_seconds)))
    WHERE id = %(id)s
"""
_AGENDA = """
    SELECT count(*) AS active, coalesce(max(interval_seconds), 0) AS slowest,
           extract(epoch FROM min(next_at) - now())::double precision AS wait
    FROM polling_jobs WHERE state = 'active'
"""


Load = list[tuple[int, float]]
"""Of each active job of a provider: how many symbols, every how many seconds."""


@dataclass(frozen=True, slots=True)
class PollingJob:
    """A row of `polling_jobs`; times in epoch microseconds, `last_us` None before the first poll.

    `polls` counts all, failed ones too; `detail` says what was wrong with the last one, empty for nothing.
    """

    id: UUID
    provider: str
    symbols: list[str]
    interval_seconds: float
    state: str
    detail: str
    created_us: int
    next_us: int
    last_us: int | None
    polls: int
    ticks: int


@dataclass(frozen=True, slots=True)
class Agenda:
    """How many jobs are active, the longest of their intervals, and the seconds until one is due, None for never."""

    active: int
    slowest: float
    wait: float | None


class PollingJobs(Pooled):
    """The table; its calls raise what those of Pooled do."""

    def __init__(self, dsn: str, *, timeout: float = 2.0, pool_size: int = 4) -> None:
        super().__init__(dsn, "polling", timeout=timeout, pool_size=pool_size)

    # What the API asks

    async def create(
        self,
        provider: str,
        symbols: Sequence[str],
        interval_seconds: float,
        allow: Callable[[Load], None] = lambda _load: None,
    ) -> PollingJob:
        """A new job, due at once; none where `allow`, given the load of the provider's active jobs, raises.

        Jobs of one provider are made one after the other: what `allow` was given still holds when the job is there.
        """

        async def made() -> PollingJob:
            if self._pool is None:
                raise StoreUnavailable(NAME, "the pool for polling is not open")
            with translated():
                async with self._pool.connection() as connection, connection.transaction():
                    await connection.execute(_ONE_AT_A_TIME.encode(), [provider])
                    active = await (await connection.execute(_LOAD.encode(), [provider])).fetchall()
                    allow([(row["cardinality"], row["interval_seconds"]) for row in active])
                    values = [uuid4(), provider, list(symbols), interval_seconds]
                    rows = await (await connection.execute(_CREATE.encode(), values)).fetchall()
                    return PollingJob(**rows[0])

        return await within(made, self._timeout)

    async def newest(self, limit: int) -> list[PollingJob]:
        """The newest `limit` jobs, newest first."""
        return await self._jobs(_LIST, [limit])

    async def get(self, job_id: UUID) -> PollingJob | None:
        return next(iter(await self._jobs(_GET, [job_id])), None)

    async def delete(self, job_id: UUID) -> bool:
        """Whether there was one."""
        return bool(await self._rows("DELETE FROM polling_jobs WHERE id = %s RETURNING id", [job_id]))

    async def of_symbol(self, provider: str, symbol: str) -> PollingJob | None:
        """A job that polls the symbol, an active one before a failed one."""
        return next(iter(await self._jobs(_OF_SYMBOL, [provider, symbol])), None)

    # What workers ask

    async def claim(self, limit: int, lease_seconds: float, without: Collection[str] = ()) -> list[PollingJob]:
        """Take up to `limit` due jobs, of no provider in `without`; no other worker gets them within the lease."""
        return await self._jobs(_CLAIM, [list(without), limit, lease_seconds])

    async def renew(self, job_ids: Collection[UUID], lease_seconds: float) -> None:
        """Keep jobs that take longer than their lease; a lease of 0 gives them back."""
        if job_ids:
            await self._rows(_RENEW, [lease_seconds, list(job_ids)])

    async def finish(
        self, job_id: UUID, *, ticks: int = 0, detail: str = "", pause_seconds: float = 0.0, failed: bool = False
    ) -> None:
        """Count a poll, and set the next one: the first on the job's grid after now and the pause."""
        state = "failed" if failed else "active"
        text = detail.replace("\0", "").encode(errors="replace").decode()[:MAX_DETAIL]
        values = {"id": job_id, "ticks": ticks, "detail": text, "pause": pause_seconds, "state": state}
        await self._rows(_FINISH, values)

    async def agenda(self) -> Agenda:
        return Agenda(**(await self._rows(_AGENDA))[0])

    async def _jobs(self, sql: str, values: Sequence[object]) -> list[PollingJob]:
        return [PollingJob(**row) for row in await self._rows(sql, values)]
