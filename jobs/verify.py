"""Replays a recorded session under schedules that must not matter, and says whether its bars come out the same.

Ticks are shuffled within the watermark, spread over partitions, cut into micro-batches of any size, repeated; runs
crash and go on from their checkpoint; trades come late, are corrected, are cancelled. Bars and indicators of every run
are held, digit by digit, against a reference that shares no code with the pipeline. One hash at the end, or the first
difference: the bar, the field, both values.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from conf.logs import configure_logs
from conf.settings import Settings, load_settings
from core import rulesets
from core.errors import InputError, TickstreamError
from core.sessions import ALWAYS_OPEN, check_calendar
from jobs.verifying.comparing import hash_of
from jobs.verifying.folding import fold
from jobs.verifying.mutants import judge
from jobs.verifying.outcome import Outcome
from jobs.verifying.planning import Plan, Run
from jobs.verifying.recording import Part, Recording, load
from jobs.verifying.sample import sample_day
from jobs.verifying.schedules import ENGINES, Schedule, schedules
from producers.reading import TickFile, find_files, suggested_ruleset

_EXAMPLES = """examples:
  python -m jobs.verify --data ../shared/data/us_equity_2013/ticks
      20 schedules over three days of four stocks, on every engine: some minutes
  python -m jobs.verify --data day.parquet more.csv --engine python
      without Spark and Java: the definition alone, in one process
  python -m jobs.verify --data ticks/ --symbols AAPL,MSFT --schedules 60 --seed 7 --json found.json
      more schedules, drawn from another seed; what each of them was goes to a file
  python -m jobs.verify --data day.parquet --with-amendments
      beside that: late, corrected and cancelled trades of a day through reconciling, on a PostgreSQL of its own
  python -m jobs.verify --mutants
      deliberately broken bar rules over a made-up session: does a verification catch each of them?

engines:
  fold     one process: micro-batches, watermark, checkpoint and sink, with the bars of core/bars.py
  stream   the final query of jobs/queries.py on Spark, from files of records; crashes are errors of its sink
  killed   the same in a process of its own, ended by SIGKILL
  batch    the backfill of jobs/backfill.py on Spark

Files: Parquet or CSV with symbol, event_time, seq, price, size; trade_id, exchange, conditions where there are any.
A run replays as much of the session as its engine does in some seconds, and says which part; parts
are taken in turn. Exit code: 0 all equal, 1 a difference or wrong arguments. docs/verify.md tells what is promised."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 where every run agrees with the reference (or every mutant is caught), else 1."""
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options)
        if options.mutants:
            return _mutants(options, settings)
        if not options.data:
            raise InputError("--data names the recorded ticks; --mutants needs none")
        files = find_files([Path(path) for path in options.data])
        recording = load(files, settings, options.symbols)
        _say(_what(recording, files))
        with tempfile.TemporaryDirectory(prefix="tickstream-verify-") as folder:
            return Verification(options, recording, files, Path(folder)).run()
    except TickstreamError as error:
        sys.stderr.write(f"verify: {error}\n")
        return 1


class Verification:
    """All schedules over one recording. Spark starts when the first schedule needs it."""

    def __init__(
        self, options: argparse.Namespace, recording: Recording, files: Sequence[TickFile], folder: Path
    ) -> None:
        self._options, self._recording, self._files, self._folder = options, recording, files, folder
        self._plan = Plan(recording)
        self._session: Any = None

    def run(self) -> int:
        """Every schedule in turn; goes on after a difference, so that one run tells all."""
        wanted = schedules(self._options.schedules, self._options.engine, self._options.seed)
        started, runs = time.monotonic(), []
        try:
            with tqdm(total=len(wanted), desc="verifying", unit="schedule", disable=None) as bar:
                bar.set_postfix_str("the reference")
                whole = self._plan.hash()
                for number, schedule in enumerate(wanted):
                    bar.set_postfix_str(f"{schedule.name} ({schedule.engine})")
                    runs.append(self._run(number, schedule))
                    bar.write(f"{number + 1:3} {runs[-1].line}", file=sys.stdout)
                    if runs[-1].problem:
                        bar.write(f"    {runs[-1].problem}\n    {schedule.told}, seed {schedule.seed}", file=sys.stdout)
                    bar.update()
            amended = self._amendments() if self._options.with_amendments else None
        finally:
            if self._session is not None:
                self._session.stop()
        return self._tell(runs, whole, amended, time.monotonic() - started)

    def _run(self, number: int, schedule: Schedule) -> Run:
        part = self._plan.part(schedule, self._options.ticks)
        started = time.monotonic()
        folder = self._folder / f"{number}"
        outcome = self._outcome(schedule, part, folder)
        seconds = time.monotonic() - started
        shutil.rmtree(folder, ignore_errors=True)
        problem = outcome.problem(self._plan.expected(part, schedule.amended), schedule.amended)
        return Run(schedule, part, len(outcome.bars), hash_of(outcome.bars), seconds, outcome, problem)

    def _outcome(self, schedule: Schedule, part: Part, folder: Path) -> Outcome:
        if schedule.engine == "fold":
            return fold(part, schedule)
        from jobs.verifying import batching, streaming  # bring Spark

        if schedule.engine == "killed":
            return streaming.killed(part, schedule, folder, self._options.cores)
        if schedule.engine == "stream":
            return streaming.stream(self._spark(), part, schedule, folder)
        return batching.batch(self._spark(), part, schedule, self._files, folder)

    def _amendments(self) -> dict[str, Any]:
        from jobs.verifying.reconciled import reconciled_day

        return reconciled_day(self._spark(), self._recording, self._options.seed, self._folder / "amended", _say)

    def _spark(self) -> Any:
        if self._session is None:
            from jobs.local_session import local_session

            self._session = local_session("tickstream verify", self._options.cores)
        return self._session

    def _tell(self, runs: Sequence[Run], whole: str, amended: dict[str, Any] | None, seconds: float) -> int:
        """The last lines, and the file for programs."""
        wrong = [run for run in runs if run.problem]
        engines = ", ".join(sorted({run.schedule.engine for run in runs}))
        bad = len(wrong) + bool(amended and amended["problem"])
        if self._options.json is not None:
            told = {"hash": whole, "equal": not bad, "seconds": round(seconds, 1), "amendments": amended}
            _write(self._options.json, told | {"session": _session(self._recording), "runs": [r.told() for r in runs]})
        _say(f"{len(runs) - len(wrong)} of {len(runs)} schedules ({engines}) equal the reference, {seconds:.0f} s")
        if bad:
            first = wrong[0].problem if wrong else amended and amended["problem"]
            _say(f"first difference: {first}")
            return 1
        _say(f"hash of all bars and indicators: {whole}")
        return 0


def _mutants(options: argparse.Namespace, settings: Settings) -> int:
    """A table of broken rules: which were caught, by what."""
    raw = [sample_day(seed=options.seed)]
    if options.data:
        raw = load(find_files([Path(path) for path in options.data]), settings, options.symbols).raw
    with tqdm(desc="judging", unit=" rules", disable=None) as bar:
        verdicts = judge(raw, settings, partial(bar.update, 1))
    for verdict in verdicts:
        by = f"{verdict.by}: {verdict.how}" if verdict.by else ""
        _say(f"{verdict.name:40} {'caught' if verdict.by else 'passes' if verdict is verdicts[0] else 'MISSED'}  {by}")
    missed = sum(verdict.by is None for verdict in verdicts[1:])
    _say(f"{len(verdicts) - 1 - missed} of {len(verdicts) - 1} broken rules caught")
    if options.json is not None:
        _write(options.json, [{"rule": v.name, "caught_by": v.by, "how": v.how} for v in verdicts])
    return int(bool(missed) or verdicts[0].by is not None)


def _settings(options: argparse.Namespace) -> Settings:
    """Those of the environment, with what the options say."""
    settings = load_settings()
    name = options.ruleset
    if name is None and options.mutants and not options.data:
        name = "us-equity"
    if name is None and options.data:
        name = suggested_ruleset(find_files([Path(path) for path in options.data]))
    changes = {"ruleset": name or settings.ruleset, "calendar": options.calendar or settings.calendar}
    rulesets.load(changes["ruleset"])
    if changes["calendar"] != ALWAYS_OPEN:
        check_calendar(changes["calendar"])
    return settings.model_copy(update=changes)


def _what(recording: Recording, files: Sequence[TickFile]) -> str:
    told = _session(recording)
    lines = [
        f"{len(files)} files, {told['ticks']:,} ticks of {', '.join(told['symbols'])},"
        f" {told['first']} .. {told['last']}, ruleset {told['ruleset']}, calendar {told['calendar']}"
    ]
    return "\n".join([*lines, *recording.remarks])


def _session(recording: Recording) -> dict[str, Any]:
    whole = Run(Schedule("", "fold"), recording.whole(), 0, "", 0, Outcome({}), None).told()
    kept = {name: whole[name] for name in ("symbols", "first", "last", "ticks")}
    return kept | {"ruleset": recording.ruleset.id, "calendar": recording.settings.calendar}


def _write(path: Path, told: Any) -> None:
    try:
        path.write_text(json.dumps(told, indent=1) + "\n")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.verify",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", nargs="+", metavar="PATH", help="Parquet or CSV files of ticks, or folders of them")
    add("--symbols", type=_names, metavar="A,B", help="of these symbols only")
    add("--schedules", type=_count, default=20, metavar="N", help="how many (default: 20); from 21 on at random")
    add("--seed", type=int, default=0, metavar="N", help="another seed is another set of shuffles (default: 0)")
    add("--engine", choices=list(ENGINES), default="both", help="python: fold; spark: the others (default: both)")
    add("--ruleset", metavar="NAME", help=f"one of {', '.join(rulesets.names())} (default: what the files ask for)")
    add("--calendar", metavar="NAME", help="sessions of VWAP, such as XNYS (default: the setting)")
    add("--ticks", type=_count, metavar="N", help="ticks of a run, whatever the engine (default: by engine)")
    add("--cores", type=_count, default=4, metavar="N", help="task slots of Spark (default: 4)")
    add("--with-amendments", action="store_true", help="and a day through reconciling, on a real PostgreSQL")
    add("--mutants", action="store_true", help="instead: are deliberately broken rules caught?")
    add("--json", type=Path, metavar="FILE", help="write what was found here, too")
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return int(text)


if __name__ == "__main__":
    configure_logs("text", sys.stderr)  # what is found is on stdout, alone
    sys.exit(main())
