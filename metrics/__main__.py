"""`python -m metrics list|boards`: what is measured, and Grafana's boards of it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from metrics.boards import BOARDS, board_json
from metrics.catalog import declared

FOLDER = Path(__file__).parents[1] / "deploy" / "grafana"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m metrics", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")
    commands.add_parser("list", help="every metric, its type and its meaning")
    commands.add_parser("boards", help="write deploy/grafana/*.json from metrics/boards.py")
    if parser.parse_args(arguments).command == "list":
        for name, (kind, text) in declared().items():
            sys.stdout.write(f"{name:<50} {kind:<10} {text}\n")
        return 0
    for name in BOARDS:
        (FOLDER / f"{name}.json").write_text(board_json(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
