"""The command line of the chaos suite."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from chaos.feed import Market
from chaos.run import Outcome, Plan, run, told
from core.errors import TickstreamError

EXAMPLES = """examples:
  python -m chaos                          30 minutes of faults, then the comparison: some 40 minutes in all
  python -m chaos --minutes 4 --seed 7     a short run; the same seed draws the same faults
  python -m chaos --json chaos.json        and everything it did and found as a file

A stack of its own in a temporary folder on free ports of loopback: broker, PostgreSQL, Redis, the drivers, relays and
the API, fed by the simulator at ten times the market's pace with late, repeated, disordered, broken and future ticks,
with corrections and with cancels. Meanwhile: kill -9 of every program and server, a broker restart, servers that stand
still (SIGSTOP), a network that is cut (as root with `ip` each server is in a network namespace at the end of a cable
that is pulled, else behind a TCP proxy), a full disk under the checkpoints (where this account may mount one), a
producer with a wrong clock, poison. At the end the table, the lake, PostgreSQL, both topics, Redis and the API are
held, to the last digit, against what the simulator noted and against jobs/backfill.py over the tick log; every amended
bar must have its revision, reason and known_at. Exit code 1 when anything differs.

Beyond the minutes of faults a run takes about 6: a minute and a half to start, two to come to rest (at most 7), two
for the comparisons. On a busy machine twice that."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when everything was right, 1 when not, 2 when the suite itself could not go on."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Half an hour more than the faults take, so that the feed is never at its end before them.
    market = Market(rate=options.rate, speed=options.speed, seconds=options.minutes * 60 + 1800, seed=options.seed)
    try:
        outcome = run(Plan(options.minutes, options.seed, market, options.all), _say, options.keep)
    except TickstreamError as error:
        sys.stderr.write(f"chaos: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(report(outcome))
    if options.json is not None:
        outcome.save(options.json)
    return 0 if outcome.right else 1


def report(outcome: Outcome) -> str:
    """The counts of a run and its verdicts, as lines."""
    lines = [f"\n{outcome.faults.total()} faults in {outcome.minutes:g} minutes, seed {outcome.seed}"]
    lines += [f"  {count:>3} x {name}" for name, count in sorted(outcome.faults.items())]
    lines.append(f"the network that was cut: {outcome.network}")
    for what, counts in (("sent", outcome.sent), ("starts", outcome.starts), ("bars by reason", outcome.revisions)):
        lines.append(f"{what}: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
    lines += [f"left out: {each}" for each in outcome.left_out]
    lines += [told(each) for each in outcome.verdicts]
    lines.append(f"{'everything is right' if outcome.right else 'NOT RIGHT'} after {outcome.seconds:.0f} s")
    return "\n".join(lines) + "\n"


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description="Break a running stack in every way that is known, and hold what comes out against the truth.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=30.0, metavar="N", help="of faults (default: 30)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of faults and ticks (default: 1)")
    parser.add_argument("--rate", type=float, default=150.0, metavar="N", help="ticks/s of wall time (default: 150)")
    parser.add_argument("--speed", type=float, default=10.0, metavar="N", help="times the market's pace (default: 10)")
    parser.add_argument("--all", action="store_true", help="dashboard, predictor and polling too")
    parser.add_argument("--keep", action="store_true", help="keep the folder; a run that went wrong keeps it anyway")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was done and found")
    return parser


if __name__ == "__main__":
    sys.exit(main())
