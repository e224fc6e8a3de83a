"""API keys and the audit log in PostgreSQL: asked by the API's workers, looked after by `python -m api keys`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from stores.pooled import Pooled
from stores.postgres import EPOCH_US, connect_args, to_time, translated

MAX_TEXT = 500  # characters of a path or a name that are kept

_COLUMNS = "id, name, hash, scopes, " + ", ".join(
    f"{EPOCH_US.format(f'{moment}_at')} AS {moment}_us" for moment in ("created", "expires", "revoked", "last_used")
)
_GET = f"SELECT {_COLUMNS} FROM api_keys WHERE id = %s"
_LIST = f"SELECT {_COLUMNS} FROM api_keys ORDER BY api_keys.created_at, id"
_ADD = """
    INSERT INTO api_keys (id, name, hash, scopes, expires_at) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (id) DO NOTHING RETURNING id
"""
_REVOKE = "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = %s RETURNING id"
_TOUCH = "UPDATE api_keys SET last_used_at = now() WHERE id = %s"
_ANY = "SELECT exists(SELECT FROM api_keys) AS found"
_AUDIT = "INSERT INTO audit_log (who, address, method, path, status, request_id) VALUES (%s, %s, %s, %s, %s, %s)"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A row of `api_keys`: `hash` is SHA-256 of the whole key; times in epoch microseconds, None for never."""

    id: str
    name: str
    hash: bytes
    scopes: list[str]
    created_us: int
    expires_us: int | None = None
    revoked_us: int | None = None
    last_used_us: int | None = None

    def __repr__(self) -> str:
        return f"StoredKey({self.id})"


class AccessStore(Pooled):
    """Keys and audit log for a worker of the API; its calls raise what those of Pooled do."""

    def __init__(self, dsn: str, *, timeout: float = 2.0, pool_size: int = 2) -> None:
        super().__init__(dsn, "access", timeout=timeout, pool_size=pool_size)

    async def get(self, key_id: str) -> StoredKey | None:
        rows = await self._rows(_GET, [key_id])
        return StoredKey(**rows[0]) if rows else None

    async def any_keys(self) -> bool:
        """Whether there is a row at all: a revoked or expired key means too that access is not open."""
        return bool((await self._rows(_ANY))[0]["found"])

    async def touch(self, key_id: str) -> None:
        """Note that the key was used just now."""
        await self._rows(_TOUCH, [key_id])

    async def add(self, key: StoredKey) -> bool:
        """Whether it was added: False when there is one of this id already."""
        return bool(await self._rows(_ADD, _values(key)))

    async def audit(self, who: str, address: str, method: str, path: str, status: int, request_id: str) -> None:
        """Keep one change that was asked for."""
        kept = path.replace("\0", "").encode(errors="replace").decode()[:MAX_TEXT]
        await self._rows(_AUDIT, [who[:MAX_TEXT], address, method, kept, status, request_id])


class KeyTable:
    """The same table for a command: synchronous, a connection for each call."""

    def __init__(self, dsn: str) -> None:
        self._args = connect_args(dsn)

    def any_keys(self) -> bool:
        return bool(self._rows(_ANY)[0]["found"])

    def all(self) -> list[StoredKey]:
        """Every key, oldest first."""
        return [StoredKey(**row) for row in self._rows(_LIST)]

    def add(self, key: StoredKey) -> None:
        self._rows(_ADD, _values(key))

    def revoke(self, key_id: str) -> bool:
        """Whether there is such a key; one that was revoked before stays so since then."""
        return bool(self._rows(_REVOKE, [key_id]))

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        with translated(), psycopg.connect(**self._args, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(sql.encode(), values)
            return cursor.fetchall() if cursor.description else []


def _values(key: StoredKey) -> list[object]:
    expires = None if key.expires_us is None else to_time(key.expires_us)
    return [key.id, key.name[:MAX_TEXT], key.hash, key.scopes, expires]
