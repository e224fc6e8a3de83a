"""`python -m producers parse`: recorded messages in, ticks on standard output, a summary on standard error."""

import argparse
import gzip
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from core.errors import InputError
from core.records import Tick
from producers.feeds.coinbase import Coinbase
from producers.parse import Outcome, add_arguments, lines_of, take
from producers.parse import run as parse_run
from tests.feeds import MESSAGES, encoded, needs_messages, records, settings_with_keys

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


def run(*arguments: object) -> None:
    """The command in this process."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parse_run(parser.parse_args(list(map(str, arguments))), settings_with_keys())


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
    found = len(ticks(done.stdout))
    *summary, problem = done.stderr.splitlines(keepends=True)
    assert problem.startswith(b"parse: ") and b"cut.jsonl.gz: cannot be read" in problem
    assert told(b"".join(summary)) == {"messages": found, "ticks": found, "ignored": 0, "errors": 0} and found > 1000


def test_file_that_is_not_there_does_not_stop_the_others(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    with pytest.raises(InputError, match=r"no.jsonl: cannot be read: No such file or directory$"):
        run("coinbase", tmp_path / "no.jsonl", lines(tmp_path / "a.jsonl", MATCH))
    out, errors = capsysbinary.readouterr()
    assert [tick.trade_id for tick in ticks(out)] == ["17"]
    assert told(errors)["ticks"] == 1


def test_empty_and_binary_files_are_read_and_hold_nothing(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 100)
    run("coinbase", tmp_path / "empty.jsonl", tmp_path / "binary")
    out, errors = capsysbinary.readouterr()
    assert out == b""
    counts = told(errors)
    assert counts["ticks"] == 0 and counts["messages"] == counts["errors"] + counts["ignored"] > 0


def test_line_beyond_all_use_is_an_error_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.parse.LONGEST_LINE", 1000)
    file = lines(tmp_path / "a.jsonl", MATCH, MATCH | {"more": "x" * 5000}, MATCH)
    assert [len(line) for line in lines_of(file)] == [len(json.dumps(MATCH)) + 1, 1000, len(json.dumps(MATCH)) + 1]
    outcome, feed = Outcome(), Coinbase(settings_with_keys())
    assert sum(len(take(feed, line, outcome)) for line in lines_of(file)) == 2
    assert "truncated" in next(iter(outcome.errors))


def test_full_disk_is_one_line_and_a_reader_that_leaves_is_none(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", *[MATCH] * 2000)
    command = [sys.executable, "-m", "producers", "parse", "coinbase", str(file)]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (1, b"parse: No space left on device\n")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141, "what a shell says of SIGPIPE"


@needs_messages
def test_every_trade_of_a_recorded_file_by_another_reading() -> None:
    path = MESSAGES / "coinbase_pro" / "ws_match.jsonl"
    found = ticks(parse("coinbase_pro", path).stdout)
    wanted = [json.loads(record["message"], parse_float=Decimal) for record in records(path)]
    assert [(t.symbol, t.trade_id, Decimal(t.price or 0), Decimal(t.size or 0)) for t in found] == [
        (m["product_id"], str(m["trade_id"]), Decimal(m["price"]), Decimal(m["size"])) for m in wanted
    ]


def test_tick_that_breaks_the_rules_of_the_topic_is_an_error_and_the_rest_stays() -> None:
    outcome, feed = Outcome(), Coinbase(settings_with_keys())
    assert take(feed, encoded(MATCH | {"product_id": "B" * 40}), outcome) == []
    assert len(take(feed, encoded(MATCH), outcome)) == 1
    assert (outcome.messages, outcome.ticks, outcome.errors.total()) == (2, 1, 1)
