"""`python -m producers parse`: recorded messages in, ticks on standard output, a summary on standard error."""

import gzip
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from core.records import Tick
from producers.parse import Outcome, take
from tests.feeds import MESSAGES, needs_messages, records

ROOT = Path(__file__).parents[3]
MATCH = {
    "type": "match",
    "trade_id": 17,
    "size": "0.50",
    "price": "30001.10",
    "product_id": "BTC-USD",
    "sequence": 5,
    "time": "2021-04-17T16:43:37.089723Z",
}


def parse(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "producers", "parse", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60)


def lines(path: Path, *messages: object) -> Path:
    path.write_text("".join(f"{json.dumps(message)}\n" for message in messages))
    return path


def ticks(out: bytes) -> list[Tick]:
    return [msgspec.json.decode(line, type=Tick) for line in out.splitlines()]


def told(errors: bytes) -> dict[str, int]:
    rows = (line.split() for line in errors.decode().splitlines() if not line.startswith(" "))
    return {row[0]: int(row[1].replace(",", "")) for row in rows}


def test_bare_messages_and_records_around_them_zipped_or_not(tmp_path: Path) -> None:
    plain = lines(tmp_path / "a.jsonl", MATCH, {"message": MATCH | {"trade_id": 18}, "recv_time": 1618677817.5})
    zipped = tmp_path / "b.jsonl.gz"
    zipped.write_bytes(gzip.compress(json.dumps(MATCH | {"trade_id": 19}).encode() + b"\n\n"))
    done = parse("coinbase", plain, zipped)
    assert done.returncode == 0
    found = ticks(done.stdout)
    assert [(tick.trade_id, tick.received_us) for tick in found] == [("17", 0), ("18", 1618677817500000), ("19", 0)]
    assert (found[0].price, found[0].size, found[0].event_us) == ("30001.1", "0.5", 1618677817089723)
    assert told(done.stderr) == {"messages": 3, "ticks": 3, "ignored": 0, "errors": 0}


def test_what_is_no_trade_is_counted_by_type_and_what_is_broken_by_reason(tmp_path: Path) -> None:
    poor = {name: value for name, value in MATCH.items() if name != "price"}
    file = lines(tmp_path / "a.jsonl", {"type": "ticker"}, {"type": "ticker"}, {"type": "l2update"}, poor, poor, MATCH)
    with file.open("a") as more:
        more.write('{"type":"match","tra\n' + json.dumps(MATCH | {"price": "0.00"}) + "\n")
    done = parse("coinbase", file)
    assert done.returncode == 0
    assert len(ticks(done.stdout)) == 1
    summary = done.stderr.decode()
    assert told(done.stderr) == {"messages": 8, "ticks": 1, "ignored": 3, "errors": 4}
    assert "2 ticker, 1 l2update" in summary
    assert (
        "2 x coinbase: a message of type 'match' is not as documented: Object missing required field `price`" in summary
    )
    assert "not JSON" in summary
    assert "'BTC-USD' is no tick: price" in summary


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nobody", "x.jsonl"), "parse: unknown provider 'nobody'; known: "),
        (("coinbase", "/nonexistent/x.jsonl"), "parse: /nonexistent/x.jsonl: cannot be read"),
    ],
)
def test_file_or_provider_that_is_not_there_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = parse(*arguments)
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.decode().startswith(message)
    assert done.stderr.count(b"\n") == 1


def test_file_that_ends_in_the_middle_of_its_zip_keeps_what_came_before(tmp_path: Path) -> None:
    whole = gzip.compress((json.dumps(MATCH) + "\n").encode() * 5000)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) - 20])
    done = parse("coinbase", tmp_path / "cut.jsonl.gz")
    assert done.returncode == 1
    assert b"cannot be read" in done.stderr
    assert len(ticks(done.stdout)) > 1000


@needs_messages
def test_every_trade_of_a_recorded_file_by_another_reading() -> None:
    path = MESSAGES / "coinbase_pro" / "ws_match.jsonl"
    found = ticks(parse("coinbase_pro", path).stdout)
    wanted = [json.loads(record["message"], parse_float=Decimal) for record in records(path)]
    assert [(t.symbol, t.trade_id, Decimal(t.price or 0), Decimal(t.size or 0)) for t in found] == [
        (m["product_id"], str(m["trade_id"]), Decimal(m["price"]), Decimal(m["size"])) for m in wanted
    ]


def test_tick_that_breaks_the_rules_of_the_topic_is_an_error_and_the_rest_stays() -> None:
    from producers.feeds import Coinbase
    from tests.feeds import encoded, settings_with_keys

    outcome, feed = Outcome(), Coinbase(settings_with_keys())
    assert take(feed, encoded(MATCH | {"product_id": "B" * 40}), outcome) == []
    assert len(take(feed, encoded(MATCH), outcome)) == 1
    assert (outcome.messages, outcome.ticks, outcome.errors.total()) == (2, 1, 1)
