"""Indicators over batches of final bars: a repeated batch, a new process and a new checkpoint give the same rows."""

import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from conf.settings import Settings
from core.errors import StoreUnavailable
from core.records import Bar
from jobs.indicators import BatchIndicators, FinalIndicators
from stores.memory import MemoryStore
from stores.schema import INDICATOR_SCHEMA, STATE_SCHEMA, bars_table, values_of
from tests.factories import MONDAY_US, bar
from tests.indicator_rows import expected_values

MINUTE_US = 60_000_000
SETTINGS = Settings(indicators="sma:3 ema:4 obv vwap rsi:2 5m=mom:1", intervals="1m,5m")


def market(count: int, seed: int = 1) -> list[Bar]:
    """Bars of three symbols over `count` minutes, some minutes and some prices missing."""
    rng = random.Random(seed)
    bars = []
    for minute in range(count):
        for symbol in ("AAA", "BBB", "CCC"):
            if rng.random() < 0.2:
                continue
            price = None if rng.random() < 0.1 else Decimal(rng.randrange(10**10)).scaleb(-8)
            prices = dict.fromkeys(("open", "high", "low", "close"), price)
            interval = "5m" if minute % 5 == 0 and rng.random() < 0.5 else "1m"
            bars.append(bar(symbol=symbol, start=MONDAY_US + minute * MINUTE_US, interval=interval, **prices))
    return bars


def by_minute(bars: Sequence[Bar], size: int = 7) -> list[pa.Table]:
    """Micro-batches: the bars of some minutes each, in no order."""
    cut = [[each for each in bars if (each.start - MONDAY_US) // MINUTE_US // size == n] for n in range(20)]
    return [bars_table(random.Random(n).sample(part, len(part))) for n, part in enumerate(cut) if part]


def none() -> pa.Table:
    return STATE_SCHEMA.empty_table()


def final(folder: Path, settings: Settings = SETTINGS, initial=none) -> FinalIndicators:
    return FinalIndicators(BatchIndicators(settings, settings.bar_intervals), folder, initial)


def values(rows: pa.Table) -> dict[tuple, dict[str, float | None]]:
    starts = rows["start"].cast(pa.int64()).to_pylist()
    return {
        (row["symbol"], row["interval"], start): values_of(row["values"])
        for start, row in zip(starts, rows.drop_columns(["start"]).to_pylist(), strict=True)
    }


def expected(bars: Sequence[Bar]) -> dict[tuple, dict[str, float | None]]:
    return expected_values([{name: getattr(each, name) for name in each.__struct_fields__} for each in bars], SETTINGS)


@pytest.mark.parametrize("seed", range(3))
def test_batches_repeated_by_new_processes_equal_one_pass(tmp_path: Path, seed: int) -> None:
    bars, rng = market(60, seed), random.Random(seed)
    running, found = final(tmp_path), {}
    for number, batch in enumerate(by_minute(bars)):
        rows = running.rows(batch, number)
        if rng.random() < 0.4:
            rows_lost, running = rows, final(tmp_path)
            rows = running.rows(batch, number)
            assert rows.equals(rows_lost)
        found |= values(rows)
    assert found == expected(bars)


def test_a_batch_repeated_in_the_same_process_does_not_step_twice(tmp_path: Path) -> None:
    first, second, *_ = by_minute(market(30))
    running = final(tmp_path)
    running.rows(first, 4)
    rows = running.rows(second, 9)
    assert running.rows(second, 9).equals(rows)


def test_batches_without_bars_keep_no_version(tmp_path: Path) -> None:
    first, second, *_ = by_minute(market(30))
    running = final(tmp_path)
    running.rows(first, 0)
    for number in range(1, 50):
        assert running.rows(first.slice(0, 0), number).num_rows == 0
    rows = running.rows(second, 50)
    assert final(tmp_path).rows(second, 50).equals(rows)
    assert len(list(tmp_path.iterdir())) < 10


def test_old_versions_go(tmp_path: Path) -> None:
    running = final(tmp_path)
    for number, batch in enumerate(by_minute(market(120), size=3)):
        running.rows(batch, number)
    assert len(list(tmp_path.iterdir())) == 5


def test_a_new_checkpoint_begins_with_the_states_of_the_store(tmp_path: Path) -> None:
    bars, store = market(60), MemoryStore()
    before, after = [each for each in bars if each.start < MONDAY_US + 30 * MINUTE_US], []
    after = [each for each in bars if each not in before]
    batch = bars_table(before)
    store.write_bars(batch, final(tmp_path / "old").rows(batch, 0))
    assert values(final(tmp_path / "new", initial=store.read_states).rows(bars_table(after), 0)) == {
        key: row for key, row in expected(bars).items() if key[2] >= MONDAY_US + 30 * MINUTE_US
    }


def test_a_repeated_first_batch_does_not_begin_with_its_own_states(tmp_path: Path) -> None:
    store, batch = MemoryStore(), bars_table(market(10))
    rows = final(tmp_path, initial=store.read_states).rows(batch, 0)
    store.write_bars(batch, rows)
    assert final(tmp_path, initial=store.read_states).rows(batch, 0).equals(rows)


def test_a_checkpoint_of_other_indicators_keeps_those_in_both(tmp_path: Path) -> None:
    bars = market(40)
    first, *rest = by_minute(bars, size=20)
    final(tmp_path).rows(first, 0)
    changed = SETTINGS.model_copy(update={"indicators": "mom:1 obv"})
    found = values(final(tmp_path, changed).rows(rest[0], 1))
    wanted = {key: row["obv"] for key, row in expected(bars).items() if key in found}
    assert {key: row["obv"] for key, row in found.items()} == wanted


def test_states_that_cannot_be_kept_fail_the_batch_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StoreUnavailable, match="checkpoint"):
        final(tmp_path / "taken" / "indicators").rows(bars_table(market(3)), 0)


class Amended:
    """A database whose series were amended: its bars, and whether it answers."""

    def __init__(self, bars: Sequence[Bar]) -> None:
        self.bars, self.down, self.doubted = list(bars), False, []
        self.numbers: list[tuple[str, str, int]] = []

    def amended_since(self, number: int) -> list[tuple[str, str, int]]:
        if self.down:
            raise StoreUnavailable("timescale", "told to fail")
        return [each for each in self.numbers if each[2] > number]

    def doubt(self, keys: Sequence[tuple[str, str]]) -> None:
        self.doubted += keys

    def state_before(self, symbol: str, interval: str, before_us: int) -> tuple[str, bytes] | None:
        return ("another set", b"") if before_us and symbol and interval else None

    def bars_of(self, symbol: str, interval: str, before_us: int, count: int) -> pa.Table:
        own = [each for each in self.bars if (each.symbol, each.interval) == (symbol, interval)]
        return bars_table([each for each in own if each.start < before_us][-count:])

    def indicators_at(self, bars: pa.Table, interval: str, specs: str) -> pa.Table:  # noqa: ARG002
        return INDICATOR_SCHEMA.empty_table()

    def missed(self, series: Sequence[tuple[str, str, int]]) -> None:
        raise AssertionError(series)


def amended_market() -> tuple[Amended, list[pa.Table], dict[tuple, dict]]:
    """A market of which a bar of AAA was amended after its first batch: the batches, and the values that are right."""
    bars = market(60)
    changed = next(each for each in bars if each.symbol == "AAA" and each.interval == "1m" and each.close is not None)
    again = msgspec.structs.replace(changed, close=changed.close + 5, high=changed.close + 5, rev=2)
    right = [again if each is changed else each for each in bars]
    return Amended(right), by_minute(bars), expected(right)


def test_states_of_an_amended_series_are_made_again_also_for_a_repeated_batch(tmp_path: Path) -> None:
    history, batches, right = amended_market()
    running = FinalIndicators(BatchIndicators(SETTINGS, SETTINGS.bar_intervals), tmp_path, none, history)
    running.rows(batches[0], 0)
    running.rows(batches[1], 1)
    history.numbers = [("AAA", "1m", 1)]
    for number, batch in enumerate(batches[1:], 1):
        again = FinalIndicators(BatchIndicators(SETTINGS, SETTINGS.bar_intervals), tmp_path, none, history)
        found = values(again.rows(batch, number))
        assert found == {key: right[key] for key in found}, number
        assert again.rows(batch, number).num_rows == batch.num_rows


def test_bars_amended_between_a_batch_and_its_repeat_are_what_the_next_goes_on_from(tmp_path: Path) -> None:
    history, batches, right = amended_market()
    original, history.bars = history.bars, market(60)
    FinalIndicators(BatchIndicators(SETTINGS, SETTINGS.bar_intervals), tmp_path, none, history).rows(batches[0], 0)
    # It died before it could commit; another one amended a bar of that very batch before the repeat.
    history.bars, history.numbers = original, [("AAA", "1m", 1)]
    running = FinalIndicators(BatchIndicators(SETTINGS, SETTINGS.bar_intervals), tmp_path, none, history)
    for number, batch in enumerate(batches):
        rows = running.rows(batch, number)
        found = values(rows)
        assert found == {key: right[key] for key in found}, number
        assert rows.num_rows == batch.num_rows
    assert history.doubted == [("AAA", "1m")], "rows of its predecessor may be older than the amendment"


def test_a_database_that_is_down_leaves_a_doubt_and_is_asked_again(tmp_path: Path) -> None:
    history, batches, right = amended_market()
    running = FinalIndicators(BatchIndicators(SETTINGS, SETTINGS.bar_intervals), tmp_path, none, history)
    running.rows(batches[0], 0)
    history.numbers, history.down = [("AAA", "1m", 1)], True
    assert running.rows(batches[1], 1).num_rows == batches[1].num_rows and history.doubted == []
    history.down = False
    found = values(running.rows(batches[2], 2))
    assert found == {key: right[key] for key in found}
    assert ("AAA", "1m") in history.doubted


class Stored(Amended):
    """A database that keeps what it is given, bars by revision, and the newest state of each series."""

    def __init__(self) -> None:
        super().__init__([])
        self.store = MemoryStore()
        self.lacking: list[tuple[str, str, int]] = []

    def indicators_at(self, bars: pa.Table, interval: str, specs: str) -> pa.Table:
        states = {row["symbol"]: row["specs"] for row in self.store.read_states().to_pylist()
                  if row["interval"] == interval}  # fmt: skip
        asked = set(zip(bars["symbol"].to_pylist(), bars["start"].to_pylist(), strict=True))
        rows = [row | {"state": None} for row in self.store.indicators.to_pylist() if row["interval"] == interval
                and (row["symbol"], row["start"]) in asked and states[row["symbol"]] == specs]  # fmt: skip
        return pa.Table.from_pylist(rows, schema=INDICATOR_SCHEMA)

    def missed(self, series: Sequence[tuple[str, str, int]]) -> None:
        self.lacking += series

    def state_before(self, symbol: str, interval: str, before_us: int) -> tuple[str, bytes] | None:
        starts = [each.start for each in self.bars if (each.symbol, each.interval) == (symbol, interval)
                  and each.start < before_us]  # fmt: skip
        for row in self.store.read_states().to_pylist():
            if (row["symbol"], row["interval"], row["start"]) == (symbol, interval, max(starts, default=-1)):
                return row["specs"], row["state"]
        return None

    def keep(self, bars: Sequence[Bar]) -> None:
        """These bars, with the indicators and states that they give, and nothing else."""
        self.bars, self.store = list(bars), MemoryStore()
        batch = bars_table(self.bars)
        self.store.write_bars(batch, BatchIndicators(SETTINGS, SETTINGS.bar_intervals).rows(batch))

    def final(self, folder: Path, settings: Settings = SETTINGS) -> FinalIndicators:
        made = BatchIndicators(settings, settings.bar_intervals)
        return FinalIndicators(made, folder, self.store.read_states, self)


def minute_of(each: Bar) -> int:
    return (each.start - MONDAY_US) // MINUTE_US


def test_a_new_checkpoint_that_begins_with_old_bars_loses_no_history(tmp_path: Path) -> None:
    bars, database = market(90), Stored()
    known = [each for each in bars if minute_of(each) < 60]
    batch = bars_table(known)
    database.store.write_bars(batch, database.final(tmp_path / "old").rows(batch, 0))
    # The topic has lost the first 20 minutes; the query reads the rest once more, and then what is new.
    running, right = database.final(tmp_path / "new"), expected(bars)
    for number, again in enumerate(by_minute([each for each in bars if minute_of(each) >= 20])):
        found = values(running.rows(again, number))
        assert found == {key: right[key] for key in found} and len(found) == again.num_rows
        assert running.rows(again, number).num_rows == again.num_rows, "the same for a batch that is repeated"
    assert database.lacking == []


def test_an_old_bar_that_is_stored_nowhere_is_left_to_reconciling(tmp_path: Path) -> None:
    bars, database = market(60), Stored()
    unknown = next(each for each in bars if minute_of(each) > 5 and each.interval == "1m" and each.symbol == "BBB")
    batch = bars_table([each for each in bars if each is not unknown and minute_of(each) < 50])
    database.store.write_bars(batch, database.final(tmp_path / "old").rows(batch, 0))
    rows = database.final(tmp_path / "new").rows(bars_table(bars), 0)
    assert database.lacking == [("BBB", "1m", unknown.start)]
    right = expected([each for each in bars if each is not unknown])
    assert values(rows) == right, "what is newer goes on from the states all the same"


def test_replay_of_older_data_is_a_new_history(tmp_path: Path) -> None:
    bars, database = market(60), Stored()
    newer = bars_table([each for each in bars if minute_of(each) >= 30])
    database.store.write_bars(newer, database.final(tmp_path / "old").rows(newer, 0))
    older = [each for each in bars if minute_of(each) < 30]
    assert values(database.final(tmp_path / "new").rows(bars_table(older), 0)) == expected(older)
    assert database.lacking == []


def test_a_new_checkpoint_with_another_set_makes_it_for_all_that_the_topic_has(tmp_path: Path) -> None:
    bars, database = market(40), Stored()
    batch = bars_table(bars)
    database.store.write_bars(batch, database.final(tmp_path / "old").rows(batch, 0))
    changed = SETTINGS.model_copy(update={"indicators": "mom:1 obv"})
    rows = database.final(tmp_path / "new", changed).rows(batch, 0)
    assert rows.num_rows == batch.num_rows and set(rows["specs"].to_pylist()) == {"mom:1 obv"}


def test_amendments_that_the_states_know_are_not_followed_again(tmp_path: Path) -> None:
    database = Stored()
    batch = bars_table([each for each in market(60) if minute_of(each) < 30])
    database.store.write_bars(batch, database.final(tmp_path / "old").rows(batch, 0))
    database.numbers = [("AAA", "1m", 7)]
    running = database.final(tmp_path / "new")
    running.rows(bars_table([each for each in market(60) if 20 <= minute_of(each) < 40]), 0)
    # Its state would have been made again from the stored bars, of which there are none here.
    found = values(running.rows(bars_table([each for each in market(60) if minute_of(each) >= 40]), 1))
    right = expected(market(60))
    assert found == {key: right[key] for key in found} and database.doubted == [("AAA", "1m")]


def test_bar_amended_while_old_bars_are_made_again_counts_for_what_comes_new(tmp_path: Path) -> None:
    history, _, _ = amended_market()  # of AAA a bar near the beginning has another close
    bars, amended, database = market(60), history.bars, Stored()
    changed = next(each for each in amended if each.rev == 2)
    database.keep([each for each in bars if minute_of(each) < 50])
    running, right = database.final(tmp_path), expected(amended)
    for number, again in enumerate(by_minute(bars)):
        if number == 1:
            database.keep([each for each in amended if minute_of(each) < 50])
            database.numbers = [("AAA", "1m", 1)]
        found = values(running.rows(again, number))
        if number > 0:
            assert found == {key: right[key] for key in found} and len(found) == again.num_rows, number
    assert minute_of(changed) < 7, "it was made again before it was amended"
    assert database.lacking == []


def test_bar_amended_ahead_of_the_batches_that_come_again_counts_for_what_comes_new(tmp_path: Path) -> None:
    bars, database = market(60), Stored()
    series = [n for n, each in enumerate(bars) if (each.symbol, each.interval) == ("AAA", "1m") and each.close]
    at = next(n for n in series if minute_of(bars[n]) > 30)
    close = bars[at].close
    assert close is not None
    amended = [*bars[:at], msgspec.structs.replace(bars[at], close=close + 5, high=close + 5, rev=2), *bars[at + 1 :]]
    database.keep([each for each in bars if minute_of(each) < 50])
    running, right = database.final(tmp_path), expected(amended)
    for number, again in enumerate(by_minute(bars)):
        if number == 2:
            database.keep([each for each in amended if minute_of(each) < 50])
            database.numbers = [("AAA", "1m", 1)]
        found = values(running.rows(again, number))
        assert number < 2 or found == {key: right[key] for key in found}, number
