"""A conformance client: does a server keep to what docs/api.md promises?

    python -m tests.conformance http://127.0.0.1:8000 [--key KEY] [--symbol BTC-USD]

A line for each check, `ok` or `FAIL` with the reason; exit code 0 when all are ok, 1 when one failed, 2 when the server
cannot be asked. It only reads. It needs one symbol with a few stored 1-minute bars; checks of what a server has no data
for are skipped, and said to be. The checks are in tests/conformance_rest.py; those of the WebSocket, in
tests/conformance_socket.py, run along.
"""

import argparse
import asyncio
import importlib
import sys
from collections.abc import Callable, Sequence
from contextlib import closing

import httpx

from tests.conformance_rest import CHECKS, Check, Server, Skip

FEW_BARS = 12


def run(server: Server, checks: Sequence[Check], say: Callable[[str], object]) -> int:
    """Run the checks, a line each; how many failed."""
    failed = 0
    for check in checks:
        name = check.__name__.replace("_", " ")
        try:
            check(server)
            say(f"ok    {name}")
        except Skip as reason:
            say(f"skip  {name}: {reason}")
        except (AssertionError, httpx.HTTPError, LookupError, ValueError, TypeError) as error:
            failed += 1
            say(f"FAIL  {name}: {type(error).__name__} {str(error).splitlines()[0] if str(error) else ''}")
    return failed


def connect(url: str, key: str | None, symbol: str | None) -> Server:
    """The server, with a symbol that has stored bars. Raises ValueError where there is none."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    client = httpx.Client(base_url=url, headers=headers, timeout=30)
    answer = client.get("/api/v1/symbols")
    answer.raise_for_status()
    names = [symbol] if symbol else [row["symbol"] for row in answer.json()["symbols"]]
    for name in names:
        found = client.get(f"/api/v1/bars/{name}", params={"limit": FEW_BARS})
        if found.status_code == 200 and found.json()["bars"]:
            return Server(client, name, found.json()["bars"])
    raise ValueError("no symbol has a bar")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 all ok, 1 a check failed, 2 the server cannot be asked."""
    options = _parser().parse_args(argv)
    try:
        server = connect(options.url, options.key, options.symbol)
    except (httpx.HTTPError, ValueError) as error:
        sys.stderr.write(f"{options.url}: {error}\n")
        return 2
    with closing(server.client):
        return _judged(server, options)


def _judged(server: Server, options: argparse.Namespace) -> int:
    _say(f"{options.url}, symbol {server.symbol}, {len(server.bars)} bars")
    failed = run(server, CHECKS, _say) + _sockets(options, server, _say)
    _say(f"{failed} failed" if failed else "all ok")
    return 1 if failed else 0


def _sockets(options: argparse.Namespace, server: Server, say: Callable[[str], object]) -> int:
    """The checks of tests/conformance_socket.py, where it is; how many failed."""
    try:
        sockets = importlib.import_module("tests.conformance_socket")
    except ModuleNotFoundError as error:
        if error.name == "tests.conformance_socket":
            say("skip  sockets: no tests/conformance_socket.py")
            return 0
        say(f"FAIL  sockets: no package {error.name}; it comes with requirements-dev.txt")
        return 1
    return len(asyncio.run(sockets.run_all(options.url, server.symbol, options.key)))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance", description="Check a server against docs/api.md; a line per check."
    )
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8000")
    parser.add_argument("--key", help="an API key with the scopes read and stream, where the server wants one")
    parser.add_argument("--symbol", help="the symbol to ask for (default: the first that has bars)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
