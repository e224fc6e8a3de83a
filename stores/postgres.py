"""What the PostgreSQL reads, writes and migrations share: connection settings and error translation."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import PoolClosed, PoolTimeout

from core.errors import ConfigError, InputError, StoreUnavailable

NAME = "timescale"
CONNECT_SECONDS = 2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_US = -62_135_596_800_000_000  # 0001-01-01
_LATEST_US = 253_402_300_799_000_000  # 9999-12-31


def connect_args(dsn: str) -> dict[str, Any]:
    """The DSN as connection arguments, in UTC and with a connect timeout.

    Raises ConfigError, which does not quote the DSN, where it cannot be parsed.
    """
    try:
        args = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise ConfigError("POSTGRES_DSN is not a PostgreSQL connection string") from None
    args.setdefault("connect_timeout", CONNECT_SECONDS)
    args["options"] = f"{args.get('options') or ''} -c TimeZone=UTC -c client_min_messages=warning".strip()
    return dict(args)


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
    return _EPOCH + timedelta(microseconds=min(max(us, _EARLIEST_US), _LATEST_US))
