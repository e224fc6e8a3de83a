"""The command line of the local stack.

What needs the pinned packages is imported by the command that needs it: `doctor` must run where they are missing.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from core.errors import TickstreamError
from local.docs_check import broken_links, pages
from local.doctor import examine, report
from local.jars import ROOT, SETS, ensure_jars

EPILOG = """\
first steps:
  python -m local doctor                 what is missing here, and how to get it
  python -m local up                     servers, stream, relay, API and a simulated market; Ctrl-C stops all
  python -m local up --feed replay --data ../shared/data/us_equity_2013 --speed 60 --ruleset us-equity
  python -m local up --feed coinbase --symbols BTC-USD,ETH-USD
  python -m local up --servers-only      only Kafka, PostgreSQL and Redis; prints their URLs as `export` lines
  python -m local down                   stops, from another terminal, the stack of this folder

A server named by KAFKA_BOOTSTRAP, POSTGRES_DSN or REDIS_URL is used as it is and never stopped; the others are
started from packages in the data folder (TICKSTREAM_DATA_PATH, `data` by default) and keep their data there.
All settings: conf/.env.example.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code. An error is one line on stderr."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except TickstreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a disk that is full, a folder that is not ours
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed here ({sys.executable}); `make up` installs all", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local",
        description="The embedded stack: everything on one machine, from packages.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_up(commands.add_parser("up", help="start the stack in the foreground; Ctrl-C stops all of it"))
    _add_jars(commands.add_parser("jars", help="fetch the JVM jars of conf/ivy.xml into .jars"))
    for name, run, text in (
        (
            "classes",
            _classes,
            "archive the JVMs' classes in .jars, once: brokers and drivers start sooner, with less CPU",
        ),
        ("down", _down, "stop the stack of this folder, or what a killed one left behind"),
        ("status", _status, "what runs here"),
        ("addresses", _addresses, "the file that says where the servers of a running stack are, for shells to read"),
        ("doctor", _doctor, "what is missing here, and how to get it"),
        ("docs-check", _docs_check, "check the links of README.md and docs/"),
        ("env-example", _env_example, "print conf/.env.example"),
    ):
        commands.add_parser(name, help=text, description=text).set_defaults(run=run)
    return parser


def _add_up(parser: argparse.ArgumentParser) -> None:
    env = os.environ
    parser.set_defaults(run=_up)
    parser.add_argument(
        "--feed",
        default=env.get("FEED") or "simulator",
        help="simulator, replay, or a provider's live trades: coinbase, binance and kraken need no key (FEED)",
    )
    parser.add_argument(
        "--symbols",
        default=env.get("SYMBOLS") or "",
        help="what to stream live: BTC-USD,ETH-USD (SYMBOLS)",
    )
    parser.add_argument(
        "--backup",
        default=env.get("BACKUP") or "",
        help="providers that take over when the feed fails, the first one first: kraken,binance_us (BACKUP)",
    )
    parser.add_argument(
        "--data", nargs="+", type=Path, default=_paths(env.get("DATA")), help="files or folders to replay (DATA)"
    )
    parser.add_argument("--speed", default=env.get("SPEED") or "60", help="times the original speed, or max (SPEED)")
    parser.add_argument("--ruleset", default=env.get("RULESET") or None, help="which trades count (RULESET)")
    parser.add_argument("--servers-only", action="store_true", help="only the servers; print their URLs")


def _add_jars(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_jars)
    parser.add_argument(
        "--print", choices=SETS, help="print the jars of this set with commas, as spark-submit wants them"
    )


def _paths(text: str | None) -> list[Path]:
    """DATA is one path, or several separated by spaces."""
    if not text:
        return []
    return [Path(text)] if Path(text).exists() else [Path(part) for part in text.split()]


def _up(options: argparse.Namespace) -> int:
    from local.programs import Feed
    from local.stack import up

    symbols, backup = (
        tuple(name.strip() for name in text.split(",") if name.strip()) for text in (options.symbols, options.backup)
    )
    feed = Feed(options.feed, tuple(options.data), options.speed, symbols, backup)
    return up(feed, options.ruleset, options.servers_only)


def _down(_: argparse.Namespace) -> int:
    from local.stack import down

    print(down())
    return 0


def _addresses(_: argparse.Namespace) -> int:
    from conf.settings import load_settings
    from local.stack import ADDRESSES

    print(load_settings().data_path.resolve() / ADDRESSES)
    return 0


def _status(_: argparse.Namespace) -> int:
    from local.stack import status

    for name, state in status():
        print(f"{name:<10} {state}")
    return 0


def _doctor(_: argparse.Namespace) -> int:
    findings = examine()
    print(report(findings))
    return 0 if all(finding.well for finding in findings) else 1


def _jars(options: argparse.Namespace) -> int:
    jars = ensure_jars()
    if options.print:
        folder: Path = getattr(jars, options.print)
        print(",".join(str(path) for path in sorted(folder.glob("*.jar"))))
    else:
        print(f"{jars.connector}\n{jars.broker}")
    return 0


def _classes(_: argparse.Namespace) -> int:
    from local.classes import ensure_classes

    ensure_classes(lambda text: print(text, file=sys.stderr, flush=True))
    return 0


def _docs_check(_: argparse.Namespace) -> int:
    problems = broken_links(ROOT)
    print("\n".join(problems) or f"{len(pages(ROOT))} pages, no broken link")
    return 1 if problems else 0


def _env_example(_: argparse.Namespace) -> int:
    from local.env_example import env_example

    print(env_example(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
