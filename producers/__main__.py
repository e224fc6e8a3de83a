"""`python -m producers`: one command for each source of ticks."""

import argparse
import importlib
import os
import select
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from conf.logs import configure_logs
from conf.settings import load_settings
from core.errors import TickstreamError
from metrics.serve import serve
from producers import SOURCES
from stores.influx_metrics import export_metrics

PROGRAMS = {"simulate": "feed", "replay": "feed", "live": "feed", "poll": "poll"}
"""Commands that show metrics, and under which program's name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one source; returns the exit code: 0, 1 for a problem (one line on stderr), 2 for wrong usage."""
    configure_logs("text", sys.stderr)
    words = sys.argv[1:] if argv is None else argv
    args = _parser(words).parse_args(words)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        settings = load_settings()
        configure_logs(settings.log_format, sys.stderr)
        if program := PROGRAMS.get(args.command):
            serve(program, settings)
            export_metrics(program, settings)
        if text := args.run(args, settings):
            print(text, flush=True)
    except TickstreamError as error:
        print(f"{args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before anything was sent
        return 130
    except OSError as error:
        return _not_written(args.command, error)
    return 0


def _not_written(command: str, error: OSError) -> int:
    """A disk that is full, a folder that is not ours, a reader of standard output that has seen enough."""
    unread = isinstance(error, BrokenPipeError) and _unread()
    try:
        sys.stdout.flush()
    except OSError:  # what is left would be tried again at the very end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if unread:
        return 128 + signal.SIGPIPE
    where = f"{error.filename}: " if error.filename else ""
    print(f"{command}: {where}{error.strerror or error}", file=sys.stderr)
    return 1


def _parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """A command that the words begin with is the only one that is loaded: together they take a second."""
    asked = [name for name in words[:1] if name in SOURCES] or list(SOURCES)
    parser = argparse.ArgumentParser(
        prog="python -m producers", description="Publish ticks to Kafka.", epilog="`COMMAND --help` shows examples."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in asked:
        module = importlib.import_module(SOURCES[name])
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _unread() -> bool:
    """Whether nobody reads standard output any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """A supervisor's SIGTERM ends a source as Ctrl-C does: flushed and counted."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
