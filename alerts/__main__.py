"""`python -m alerts serve|rules|check|test-target`: see --help."""

from conf.loading import loading

with loading():
    import argparse
    import asyncio
    import json
    import signal
    import sys
    import time
    from collections.abc import Sequence
    from pathlib import Path
    from typing import TYPE_CHECKING, Any
    from uuid import uuid4

    import yaml  # type: ignore[import-untyped]

    from alerts.messages import Message, moment
    from alerts.rules import Rule, parse_rule
    from alerts.targets import parse_targets, route
    from conf.logs import configure_logs
    from conf.settings import Settings, load_settings
    from core.errors import InputError, TickstreamError
    from core.intervals import SECOND_US
    from metrics import findings
    from metrics.serve import serve
    from stores.alert_rules import AlertReads
    from stores.alerts import AlertStore

if TYPE_CHECKING:
    from alerts.trials import Trial

_EXAMPLES = """examples:
  python -m alerts serve                 follow bars, anomalies and the system's health; tell the targets
  python -m alerts serve --dry-run       the same, but receipts say what would have been sent
  python -m alerts rules list            the rules there are
  python -m alerts rules apply FILE      make or replace the rules of a YAML or JSON file, by their names
  python -m alerts rules delete NAME
  python -m alerts check RULE.json --hours 48
      when the rule would have fired on the stored bars, and with how many messages; nothing is saved
  python -m alerts test-target ops       send one message to a target, now

a rule:
  {"name": "BTC overbought", "symbols": ["BTC-USD"], "interval": "1m", "severity": "warning",
   "condition": {"kind": "indicator", "expression": "rsi:14 > 70", "hysteresis": 2},
   "cooldown_seconds": 300, "quiet": {"start": "22:00", "end": "07:00", "zone": "Europe/Berlin"}}

conditions:
  {"kind": "price", "when": "above|below|crosses|crosses_above|crosses_below", "level": 70000}
  {"kind": "move", "percent": 5, "bars": 5, "direction": "any|up|down"}
  {"kind": "indicator", "expression": "close crosses_below sma:200"}
  {"kind": "anomaly", "rules": ["volume_spike"], "least": "warning"}
  {"kind": "health", "check": "store_down|feed_silent|bars_late|dead_letters", "store": "redis", "seconds": 60}

targets are in the setting TICKSTREAM_ALERT_TARGETS, as `name=URL` or `name[warning,critical]=URL`, separated by spaces;
URLs are those of apprise: mailto://user:password@host?to=me@example.com, slack://…, jsons://host/path. More in
docs/alerts.md."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when done, 1 with one line on what went wrong."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        configure_logs(settings.log_format, sys.stderr)
        return int(options.run(options, settings) or 0)
    except TickstreamError as error:
        sys.stderr.write(f"alerts: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _serve(options: argparse.Namespace, settings: Settings) -> None:
    from alerts.server import Server  # brings apprise and Kafka, which the other commands do without

    if options.dry_run:
        settings = settings.model_copy(update={"alert_dry_run": True})
    serve("alerts", settings)
    server = Server(settings)
    findings.ALERTER.watch(lambda: [((), {"messages_total": server.told})])
    findings.WAITING.watch(server.waiting)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    server.run()
    _say(f"alerts stopped, {server.told} messages decided")


def _list(_: argparse.Namespace, settings: Settings) -> None:
    store = _store(settings)
    try:
        for row in store.rules():
            mark = " " if row.rule["enabled"] else "-"
            _say(f"{mark} {row.rule['name']:<32} {row.rule['severity']:<9} {json.dumps(row.rule['condition'])}")
    finally:
        store.close()


def _apply(options: argparse.Namespace, settings: Settings) -> None:
    """All rules are read before the first one is kept."""
    rules = _rules(options.file)
    store = _store(settings)
    try:
        for rule in rules:
            new = store.put_rule(str(uuid4()), rule.name, rule.model_dump(mode="json"))
            _say(f"{'made' if new else 'replaced'} {rule.name}")
    finally:
        store.close()


def _delete(options: argparse.Namespace, settings: Settings) -> int:
    store = _store(settings)
    try:
        gone = store.delete_rule(options.name)
    finally:
        store.close()
    _say(f"deleted {options.name}" if gone else f"no rule is named {options.name}")
    return 0 if gone else 1


def _check(options: argparse.Namespace, settings: Settings) -> None:
    rules = _rules(options.file)
    end_us = time.time_ns() // 1000
    start_us = end_us - int(options.hours * 3600 * SECOND_US)
    for rule in rules:
        trial = asyncio.run(_tried(rule, settings, start_us, end_us))
        if options.json:
            import msgspec

            _say(msgspec.json.encode(trial).decode())
        else:
            _say(_text(rule, trial))


async def _tried(rule: Rule, settings: Settings, start_us: int, end_us: int) -> "Trial":
    from alerts.trials import tried  # brings pandas, which serving does without

    reads = AlertReads(settings.postgres_dsn.get_secret_value(), timeout=60)
    await reads.open()
    try:
        return await tried(rule, reads, start_us, end_us, settings.calendar)
    finally:
        await reads.close()


def _text(rule: Rule, trial: "Trial") -> str:
    lines = [f"{rule.name}: {moment(trial.start_us)} to {moment(trial.end_us)}"]
    if trial.untried:
        return "\n".join([*lines, f"  not tried: {trial.untried}"])
    lines.append(f"  {trial.bars} bars of {trial.symbols} symbols{', not all of the range' if trial.truncated else ''}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(trial.messages.items()))
    total = sum(trial.messages.values())
    lines.append(f"  began {trial.crossings} times in {len(trial.alerts)} alerts; {total} messages ({kinds or 'none'})")
    for past in trial.alerts[:20]:
        until = "still" if past.until_us is None else moment(past.until_us)
        lines.append(f"  {past.symbol:<12} {moment(past.since_us)} - {until}  {past.crossings} times")
    rest = len(trial.alerts) - 20
    return "\n".join(lines + ([f"  and {rest} more"] if rest > 0 else []))


def _test_target(options: argparse.Namespace, settings: Settings) -> int:
    from alerts.sending import Sender

    targets = parse_targets(settings.alert_targets.get_secret_value())
    found = route(targets, [options.name], "info")
    if not found:
        known = ", ".join(target.name for target in targets) or "none are set"
        raise InputError(f"no target is named {options.name}; known: {known}")
    receipt = Sender(found[0], settings.alert_timeout_seconds).send(
        Message("[info] tickstream: a test", "Sent by `python -m alerts test-target`.", "info")
    )
    _say("sent" if receipt.sent else f"not sent: {receipt.error}")
    return 0 if receipt.sent else 1


def _rules(path: Path) -> list[Rule]:
    """The rules of a file: one, a list, or a list under `rules`. Raises InputError that names the one that is wrong."""
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML too
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is neither YAML nor JSON: {' '.join(str(error).split())}") from None
    if isinstance(data, dict) and "rules" in data and "condition" not in data:
        data = data["rules"]
    found = []
    for number, each in enumerate(data if isinstance(data, list) else [data], 1):
        try:
            found.append(parse_rule(each))
        except InputError as error:
            name = each.get("name", number) if isinstance(each, dict) else number
            raise InputError(f"{path}: rule {name}: {error}") from None
    return found


def _store(settings: Settings) -> AlertStore:
    return AlertStore(settings.postgres_dsn.get_secret_value())


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    about = "Alerts: rules over bars, indicators, anomalies and the system's health, told to people."
    parser = argparse.ArgumentParser(
        prog="python -m alerts", description=about, epilog=_EXAMPLES, formatter_class=shape
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    serving = commands.add_parser("serve", help="follow the topics, decide and deliver until Ctrl-C")
    serving.add_argument("--dry-run", action="store_true", help="send nothing; receipts say what would have been sent")
    serving.set_defaults(run=_serve)
    rules = commands.add_parser("rules", help="list, apply or delete rules").add_subparsers(
        required=True, metavar="list|apply|delete"
    )
    listing = rules.add_parser("list", help="the rules there are")
    listing.set_defaults(run=_list)
    applying = rules.add_parser("apply", help="make or replace the rules of a YAML or JSON file, by name")
    applying.add_argument("file", type=Path)
    applying.set_defaults(run=_apply)
    deleting = rules.add_parser("delete", help="delete a rule")
    deleting.add_argument("name")
    deleting.set_defaults(run=_delete)
    checking = commands.add_parser("check", help="try rules of a file on the stored bars; nothing is saved")
    checking.add_argument("file", type=Path, metavar="RULE.json")
    checking.add_argument("--hours", type=float, default=24.0, help="how far back (default: %(default)g)")
    checking.add_argument("--json", action="store_true", help="as JSON")
    checking.set_defaults(run=_check)
    testing = commands.add_parser("test-target", help="send one message to a target now")
    testing.add_argument("name")
    testing.set_defaults(run=_test_target)
    return parser


if __name__ == "__main__":
    sys.exit(main())
