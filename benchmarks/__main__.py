"""`python -m benchmarks`: one command for each benchmark."""

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from benchmarks import BENCHMARKS
from benchmarks.machine import machine
from benchmarks.report import check_path, say, write
from benchmarks.servers import bench
from core.errors import TickstreamError
from local.jars import ensure_jars


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 measured and right, 1 for a problem or a wrong result (one line on stderr), 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        return _measure(options)
    except TickstreamError as error:
        print(f"{options.command}: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"{options.command}: stopped", file=sys.stderr)
        return 130
    return 1


def _measure(options: argparse.Namespace) -> int:
    module = importlib.import_module(BENCHMARKS[options.command])
    module.complete(options)
    check_path(options.json)
    if getattr(module, "NEEDS_SERVERS", True):
        ensure_jars()
    here = machine()
    say(f"{options.command} on {here['cpu']}, {here['cores']} cores, load average {here['load_average_at_start']}")
    if getattr(module, "NEEDS_SERVERS", True):
        with bench(module.overrides(options) | dict(options.set), options.keep) as servers:
            result = module.run(options, servers)
    else:
        result = module.run(options, None)
    write(options.json, options.command, here, vars(options), result)
    print(result.text())
    say(f"written to {options.json}")
    return 1 if result.wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure tickstream on servers of its own. Keep the machine quiet meanwhile.",
        epilog="`COMMAND --help` shows examples; benchmarks/README.md says how to read the results.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module_name in BENCHMARKS.items():
        module = importlib.import_module(module_name)
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--json", type=Path, required=True, metavar="FILE", help="where to write the result")
        module.add_arguments(command)
        command.add_argument("--set", type=_setting, action="append", default=[], metavar="NAME=VALUE",
                             help="any field of conf/settings.py, such as shuffle_partitions=4")  # fmt: skip
        command.add_argument("--keep", action="store_true", help="keep the temporary folder with its logs")
    return parser


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Ctrl-C and SIGTERM end the measurement; another one does not interrupt the stopping of what was started."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
