"""`python -m stores`: the database's migrations and retention."""

import argparse
import sys
from collections.abc import Sequence

import psycopg

from conf.settings import Settings, load_settings
from core.clock import SystemClock
from core.errors import TickstreamError
from stores import hypertables, migrations
from stores.daily_bars import forget_days
from stores.postgres import connect_args, translated
from stores.retention import retain, tidy


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        with translated(), _connected(settings) as connection:
            if options.command == "retention":
                return _retention(connection, settings)
            return _check(connection) if options.check else _migrate(connection, settings)
    except TickstreamError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stores", description="Look after the database that POSTGRES_DSN names."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    migrate = commands.add_parser("migrate", help="create or update the tables; safe to run at any time")
    migrate.add_argument("--check", action="store_true", help="change nothing; exit 1 if migrations are pending")
    commands.add_parser(
        "retention",
        help="delete rows older than TICKSTREAM_RETENTION_TICKS_DAYS, …_BARS_DAYS and …_DAILY_YEARS, and notes of them",
    )
    return parser


def _connected(settings: Settings) -> psycopg.Connection:
    return psycopg.connect(**connect_args(settings.postgres_dsn.get_secret_value()), autocommit=True)


def _kept(settings: Settings) -> hypertables.Retention:
    return hypertables.Retention(settings.retention_ticks_days, settings.retention_bars_days)


def _migrate(connection: psycopg.Connection, settings: Settings) -> int:
    applied = migrations.migrate(connection, _kept(settings))
    sys.stdout.write(f"applied {', '.join(applied)}\n" if applied else "up to date\n")
    return 0


def _check(connection: psycopg.Connection) -> int:
    waiting = migrations.pending(connection)
    sys.stdout.write(f"pending {', '.join(waiting)}\n" if waiting else "up to date\n")
    return 1 if waiting else 0


def _retention(connection: psycopg.Connection, settings: Settings) -> int:
    now_us = SystemClock().now_us()
    deleted = {"daily_bars": forget_days(connection, settings.retention_daily_years, now_us)}
    if hypertables.installed(connection):
        sys.stdout.write("TimescaleDB drops old chunks by its own policy; ")
    else:
        deleted = retain(connection, _kept(settings), now_us) | deleted
    deleted |= tidy(connection, _kept(settings), now_us)
    sys.stdout.write(f"deleted {', '.join(f'{rows} {table}' for table, rows in deleted.items())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
