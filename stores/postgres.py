"""What the PostgreSQL reads, writes and migrations share: connection settings, pools, error translation."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from core.errors import ConfigError, InputError, StoreUnavailable

NAME = "timescale"
CONNECT_SECONDS = 2
# A server that vanished does not even say that it is gone, and TCP by itself waits for a quarter of an hour. Seconds, a
# count, and milliseconds; on a Unix socket libpq ignores all of them.
_GIVEN_UP = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
Pool = AsyncConnectionPool[AsyncConnection[DictRow]]
EPOCH_US = "(extract(epoch FROM {0}) * 1000000)::bigint"
"""SQL of a timestamp as epoch microseconds; `format` it with the column."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_US = -62_135_596_800_000_000  # 0001-01-01
LATEST_US = 253_402_300_799_000_000  # 9999-12-31


def connect_args(dsn: str) -> dict[str, Any]:
    """The DSN as connection arguments, in UTC and UTF-8, with a connect timeout and a deadline for a vanished server.

    Raises ConfigError, which does not quote the DSN, where it cannot be parsed.
    """
    try:
        args = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise ConfigError("POSTGRES_DSN is not a PostgreSQL connection string") from None
    args.setdefault("connect_timeout", CONNECT_SECONDS)
    for name, value in _GIVEN_UP.items():
        args.setdefault(name, value)
    # From a database without an encoding (SQL_ASCII, as initdb makes it in the locale C) texts would come as bytes.
    args["client_encoding"] = "UTF8"
    args["options"] = f"{args.get('options') or ''} -c TimeZone=UTC -c client_min_messages=warning".strip()
    return dict(args)


def async_pool(args: Mapping[str, Any], purpose: str, size: int, timeout: float, *, checked: bool = True) -> Pool:
    """A pool of up to `size` autocommit connections whose rows are dicts; `timeout` seconds to get one.

    `checked` asks the server each time whether a connection is alive. Not open yet. To be made on the event loop that
    uses it.
    """
    return AsyncConnectionPool(
        kwargs={**args, "autocommit": True, "row_factory": dict_row},
        connection_class=AsyncConnection[DictRow],
        min_size=0,
        max_size=size,
        timeout=timeout,
        reconnect_timeout=timeout,
        check=AsyncConnectionPool.check_connection if checked else None,
        name=f"{NAME}-{purpose}",
        open=False,
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn psycopg's errors into ours. No message holds connection arguments."""
    try:
        yield
    except PoolTimeout:
        raise StoreUnavailable(NAME, "no connection to the database") from None
    except PoolClosed:
        raise StoreUnavailable(NAME, "the connection pool is closed") from None
    except (errors.UndefinedTable, errors.UndefinedColumn):
        raise ConfigError("the database has no such table or column: run `python -m stores migrate`") from None
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise StoreUnavailable(NAME, first_line(error)) from None
    except psycopg.Error as error:
        raise InputError(f"{NAME}: {type(error).__name__}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def to_time(us: int) -> datetime:
    """Epoch microseconds as a UTC datetime, held within the years that one can name."""
    return _EPOCH + timedelta(microseconds=min(max(us, _EARLIEST_US), LATEST_US))
