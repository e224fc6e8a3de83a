"""`python -m ml train|evaluate|predict|serve|models|features`: see --help."""

from conf.loading import loading

with loading():
    import argparse
    import json
    import signal
    import sys
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    import pandas as pd  # type: ignore[import-untyped]
    from tqdm import tqdm  # type: ignore[import-untyped]

    from conf.logs import configure_logs
    from conf.settings import Settings, load_settings
    from core.clock import SystemClock
    from core.errors import InputError, TickstreamError
    from core.intervals import DAILY, INTERVALS
    from metrics import findings
    from metrics.serve import serve
    from ml.dataset import HORIZONS, check_interval, every_horizon, read_bars, whole_sessions
    from ml.evaluate import FOLDS, Progress, evaluate
    from ml.features import FEATURES
    from ml.latest import predictions
    from ml.report import text, verdict
    from ml.server import Server
    from ml.shelf import Shelf
    from ml.training import hold_against, shelve, train_challenger
    from stores.predictions import PredictionStore

_EXAMPLES = """examples:
  python -m ml evaluate --bars ../shared/data/crypto_bars/coinbase_BTC_ETH_2018_1m.parquet --json report.json
      the whole walk-forward on any Parquet of bars: what is the model worth, against doing without one?
  python -m ml train --bars ../shared/data/us_equity_2013/bars_1m --calendar XNYS --interval 1m
      the same, then a model of all bars; it serves if it beats the champion on the newest ones
  python -m ml predict --bars ../shared/data/us_equity_2013/bars_1m --calendar XNYS --interval 1m
      what the champion says after the last bar of each symbol
  python -m ml train --interval 1m           from the newest bars of the database
  python -m ml serve                         follow the topic `bars`; predictions to table, topic, Redis
  python -m ml models --interval 1m          versions, and which one serves
  python -m ml models --interval 1m --roll-back
  python -m ml features                      each feature and what it means

bars: Parquet with symbol, start (or bar_start, date), open, high, low, close, volume; a file or a folder."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when done, 1 with one line on what went wrong."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        configure_logs(settings.log_format, sys.stderr)
        options.run(options, settings)
    except TickstreamError as error:
        sys.stderr.write(f"ml: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _evaluate(options: argparse.Namespace, settings: Settings) -> None:
    bars = read_bars(options.bars, options.interval)
    horizons = _horizons(options.horizons)
    with _Steps(len(horizons) * options.folds) as progress:
        report = evaluate(
            bars, options.calendar or settings.calendar, horizons, options.folds, options.threads, progress
        )
    _say(text(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1, allow_nan=False, default=float) + "\n")
        _say(f"written to {options.json}")


def _train(options: argparse.Namespace, settings: Settings) -> None:
    bars = _bars(options, settings)
    calendar = options.calendar or settings.calendar
    samples = every_horizon(bars, calendar, _horizons(options.horizons))
    shelf = Shelf(options.folder or settings.models_path, options.interval)
    with _Steps(len(samples) * (options.folds + 1)) as progress:
        bundle = train_challenger(
            bars, samples, options.interval, SystemClock(), calendar, options.folds, options.threads, progress
        )
    duel = hold_against(shelf, samples, options.threads)
    shelve(shelf, bundle, duel)
    _say(text(bundle.card["report"]))
    against = "" if duel.champion is None else f" against {duel.champion:.5f}"
    _say(f"log loss on the newest bars: {duel.challenger:.5f}{against}; {duel.why}")
    _say(f"version {bundle.version} in {shelf.folder}, champion: {shelf.champion()}")


def _serve(_: argparse.Namespace, settings: Settings) -> None:
    serve("predictor", settings)
    server = Server(settings)
    findings.PREDICTOR.watch(lambda: [((), {"predictions_total": server.made})])
    findings.CHAMPION.watch(lambda: [([name], {"champion_timestamp_seconds": at}) for name, at in server.champions()])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    server.run()
    _say(f"predictor stopped, {server.made} predictions stored")


def _bars(options: argparse.Namespace, settings: Settings) -> pd.DataFrame:
    """The bars of the files, which must be of the interval, or those of the database."""
    if options.bars is not None:
        bars = read_bars(options.bars, options.interval)
        check_interval(bars, options.interval)
        return bars
    store = PredictionStore(settings.postgres_dsn.get_secret_value())
    try:
        found = pd.DataFrame(store.last_bars(options.interval, settings.ml_train_bars))
    finally:
        store.close()
    if found.empty:
        raise InputError(f"the database has no bars of {options.interval}")
    return whole_sessions(found, settings.ml_train_bars, options.calendar or settings.calendar)


def _predict(options: argparse.Namespace, settings: Settings) -> None:
    bars = _bars(options, settings)
    shelf = Shelf(options.folder or settings.models_path, options.interval)
    version = options.version or shelf.champion()
    if version is None:
        raise InputError(f"no model of {options.interval} was trained yet: python -m ml train --help")
    for row in predictions(shelf.load(version), bars, options.calendar or settings.calendar):
        _say(json.dumps(row))


def _models(options: argparse.Namespace, settings: Settings) -> None:
    shelf = Shelf(options.folder or settings.models_path, options.interval)
    if options.roll_back:
        _say(f"champion: {shelf.roll_back()}")
        return
    champion = shelf.champion()
    for version in shelf.versions():
        horizons = shelf.load(version).card["report"]["horizons"]
        worth = "; ".join(f"{horizon}: {verdict(found)}" for horizon, found in horizons.items())
        _say(f"{'*' if version == champion else ' '} {version}  {worth}")
    if champion is None:
        _say(f"no champion of {options.interval} yet: python -m ml train --help")


def _features(_: argparse.Namespace, __: Settings) -> None:
    for feature in FEATURES:
        _say(f"{feature.name:<16} {feature.means}")


class _Steps:
    """A progress bar whose text says what is being done."""

    def __init__(self, total: int) -> None:
        shape = "{l_bar}{bar}| {n_fmt}/{total_fmt} {elapsed}"
        self._shown = tqdm(total=total, file=sys.stderr, bar_format=shape, disable=None)  # a log wants no bar
        self._begun = False

    def __enter__(self) -> Progress:
        return self._step

    def __exit__(self, kind: object, *_: Any) -> None:
        if kind is None:
            self._shown.update(self._shown.total - self._shown.n)
        self._shown.close()

    def _step(self, what: str) -> None:
        self._shown.update(int(self._begun))
        self._begun = True
        self._shown.set_description(what)


def _horizons(chosen: str) -> tuple[int, ...]:
    try:
        found = tuple(sorted({int(part) for part in chosen.split(",")}))
    except ValueError:
        raise InputError(f"--horizons: whole numbers of bars such as 1,5,15, not {chosen}") from None
    if not found or min(found) < 1 or max(found) > 1000:
        raise InputError("--horizons: between 1 and 1000 bars")
    return found


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _parser() -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m ml", description="The predictor.", epilog=_EXAMPLES, formatter_class=shape
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Any, about: str, interval: str | None, bars: bool = True) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=about, description=about)
        found.set_defaults(run=run)
        names = (*INTERVALS, DAILY)
        note = "of the files' bars where they have several" if interval is None else "the length of the bars"
        found.add_argument(
            "--interval", default=interval, metavar="|".join(names), help=f"{note} (default: %(default)s)"
        )
        if bars:
            asked = "Parquet file or folder" + ("" if interval is None else " (default: the newest of the database)")
            found.add_argument("--bars", type=Path, required=interval is None, help=asked)
            found.add_argument("--calendar", help="24/7, XNYS … (default: the setting)")
        return found

    def trained(found: argparse.ArgumentParser) -> None:
        usual = ",".join(str(each) for each in HORIZONS)
        found.add_argument("--horizons", default=usual, help=f"bars ahead (default: {usual})")
        found.add_argument("--folds", type=int, default=FOLDS, help=f"blocks of the walk-forward (default: {FOLDS})")
        found.add_argument("--threads", type=int, default=1, help="of XGBoost (default: 1)")

    evaluated = command("evaluate", _evaluate, "walk forward over bars and say what the model is worth", None)
    evaluated.add_argument("--json", type=Path, help="write the report there")
    training = command("train", _train, "evaluate, train, and let the better one serve", "1m")
    for each in (evaluated, training):
        trained(each)
    predicting = command("predict", _predict, "what a model says after the last bar of each symbol", "1m")
    predicting.add_argument("--version", help="a version (default: the champion)")
    listing = command("models", _models, "versions and what they are worth", "1m", bars=False)
    listing.add_argument("--roll-back", action="store_true", help="let the champion before this one serve")
    for each in (training, predicting, listing):
        each.add_argument("--folder", type=Path, help="where models are kept (default: data/models)")
    serving = commands.add_parser(
        "serve", help="follow final bars and say what the champion says; train when it is old"
    )
    serving.set_defaults(run=_serve)
    told = commands.add_parser("features", help="each feature and what it means")
    told.set_defaults(run=_features)
    return parser


if __name__ == "__main__":
    sys.exit(main())
