"""`python -m api keys`: create, list and revoke the API's keys in the database that POSTGRES_DSN names."""

import argparse
import re
import sys
from collections.abc import Sequence

from api.security.keys import new_key
from api.security.principal import SCOPES
from conf.settings import load_settings
from core.clock import SystemClock
from core.errors import InputError, TickstreamError
from core.intervals import SECOND_US
from stores.access import KeyTable, StoredKey
from stores.postgres import to_time

EPILOG = """\
scopes:
  read     every GET of the REST API
  stream   WebSockets
  write    polling jobs, and whatever else changes something
  admin    everything

examples:
  python -m api keys create dashboard --scopes read,stream
  python -m api keys create ci --scopes read --expires 30d
  python -m api keys revoke 3f2a90c1d4e7

A key is printed once, when it is created; the database holds its hash only. A revoked key is refused within seconds.
"""
_LIFE = re.compile(r"(\d{1,5})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit code. An error is one line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        table = KeyTable(load_settings().postgres_dsn.get_secret_value())
        if options.command == "create":
            return _create(table, options)
        return _revoke(table, options.id) if options.command == "revoke" else _list(table)
    except TickstreamError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _create(table: KeyTable, options: argparse.Namespace) -> int:
    expires = None if options.expires is None else SystemClock().now_us() + options.expires * SECOND_US
    text, key = new_key(options.name, options.scopes, expires)
    table.add(key)
    sys.stderr.write(f"key {key.id} of {key.name} ({', '.join(key.scopes)}); it is not shown again:\n")
    sys.stdout.write(f"{text}\n")
    return 0


def _list(table: KeyTable) -> int:
    rows: list[tuple[str, ...]] = [("ID", "NAME", "SCOPES", "CREATED", "EXPIRES", "LAST USED", "STATE")]
    now = SystemClock().now_us()
    rows += [_row(key, now) for key in table.all()]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
    return 0


def _revoke(table: KeyTable, key_id: str) -> int:
    if not table.revoke(key_id):
        raise InputError(f"no key {key_id}; `python -m api keys list` shows those there are")
    sys.stdout.write(f"key {key_id} is revoked\n")
    return 0


def _row(key: StoredKey, now_us: int) -> tuple[str, ...]:
    state = "good"
    if key.revoked_us is not None:
        state = "revoked"
    elif key.expires_us is not None and key.expires_us <= now_us:
        state = "expired"
    moments = (_moment(us) for us in (key.created_us, key.expires_us, key.last_used_us))
    return key.id, key.name, ",".join(key.scopes), *moments, state


def _moment(us: int | None) -> str:
    return "-" if us is None else to_time(us).strftime("%Y-%m-%d %H:%M")


def _scopes(text: str) -> list[str]:
    asked = [scope.strip() for scope in text.split(",") if scope.strip()]
    unknown = [scope for scope in asked if scope not in SCOPES]
    if unknown or not asked:
        raise argparse.ArgumentTypeError(f"unknown scope {', '.join(unknown)}; there are {', '.join(SCOPES)}")
    return asked


def _life(text: str) -> int:
    match = _LIFE.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no span of time such as 30d, 12h, 90m or 60s")
    return int(match[1]) * _SECONDS[match[2]]


def _name(text: str) -> str:
    if not text.strip() or len(text) > 100 or not text.isprintable():
        raise argparse.ArgumentTypeError("a name has 1 to 100 printable characters")
    return text.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m api keys",
        description="Keys of the API, in the database that POSTGRES_DSN names.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    create = commands.add_parser("create", help="a new key; printed once, on standard output")
    create.add_argument("name", type=_name, help="whose it is, for people")
    create.add_argument("--scopes", type=_scopes, default=["read", "stream"], help="default: read,stream")
    create.add_argument("--expires", type=_life, metavar="SPAN", help="for how long it is good, such as 30d or 12h")
    commands.add_parser("list", help="every key, without its secret")
    revoke = commands.add_parser("revoke", help="refuse a key from now on, for good")
    revoke.add_argument("id", help="the id, as `list` shows it")
    return parser
