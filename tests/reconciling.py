"""A system under reconciling: its stores filled by the queries or straight, and held against bars of a clean tape."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pyarrow as pa
from psycopg.rows import dict_row

from conf.settings import Settings
from conf.topics import BARS, INDICATORS
from core import rulesets
from core.bars import fold_bars
from core.clock import ManualClock
from core.records import BAR_COLUMNS, BAR_PROVENANCE, Bar, Tick
from jobs import indicator_topic
from jobs.amend import DELIVERY
from jobs.indicators import BatchIndicators, FinalIndicators
from jobs.reconciler import Reconciler, Run
from jobs.sinks import Sinks
from stores.redis import RedisReader
from stores.schema import TICK_SCHEMA, bars_table, values_of
from stores.timescale import TimescaleReader
from tests.indicator_rows import expected_values, last_of, newest_starts
from tests.streaming import consume

NOW_US = 1_800_000_000_000_000
VALUES = [name for name in BAR_COLUMNS if name not in BAR_PROVENANCE | DELIVERY | {"ruleset"}]
_START = '(extract(epoch FROM "start") * 1000000)::bigint AS "start"'
_END = '(extract(epoch FROM "end") * 1000000)::bigint AS "end"'
Key = tuple[str, str, int]


def values(bar: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a bar that bar, whoever delivered its ticks."""
    return {name: bar[name] for name in VALUES}


def tick_row(tick: Tick, offset: int) -> dict[str, Any]:
    """A tick as the archive query writes it, of partition 0."""
    known = [tick.symbol, tick.venue or "", tick.trade_id or f"{tick.source} {tick.event_us} {tick.seq}"]
    if tick.kind != "trade":
        known += [tick.kind, str(tick.event_us), str(tick.price), str(tick.size)]
    amounts = {
        name: None if getattr(tick, name) is None else Decimal(getattr(tick, name)) for name in ("price", "size")
    }
    fields = {name: getattr(tick, name) for name in TICK_SCHEMA.names if hasattr(tick, name)}
    placed = {"event_time": tick.event_us, "kafka_partition": 0, "kafka_offset": offset, "identity": "|".join(known)}
    return fields | amounts | placed


class System:
    """Settings with servers behind them. `sinks` are those of its driver; `close` in the end."""

    def __init__(self, spark: Any, settings: Settings) -> None:
        self.spark, self.settings = spark, settings
        self.sinks = Sinks(settings)
        self.sinks.setup()
        self.offset = 0
        self.placed: list[tuple[Tick, int | None, int | None]] = []
        self._batch = 0
        self._indicators = self.new_driver()

    def new_driver(self) -> FinalIndicators:
        """The final query's indicators of a process that has just started, on the checkpoint that is there."""
        made = BatchIndicators(self.settings, self.settings.bar_intervals)
        folder = self.settings.checkpoint_path / "final" / "indicators"
        self._indicators = FinalIndicators(made, folder, self.sinks.read_states, history=self.sinks)
        return self._indicators

    def archive(self, ticks: Sequence[Tick]) -> None:
        """Ticks to the log, as the archive query has them."""
        rows = [tick_row(tick, self.offset + n) for n, tick in enumerate(ticks)]
        self.placed += [(tick, 0, self.offset + n) for n, tick in enumerate(ticks)]
        self.offset += len(rows)
        self.sinks._timescale.write_ticks(pa.Table.from_pylist(rows, schema=TICK_SCHEMA))

    def final(self, bars: Sequence[Bar], again: bool = False) -> None:
        """A batch of final bars, as the final query has them; `again` repeats the batch before."""
        self._batch += not again
        batch = bars_table(list(bars))
        with self.sinks.turn:
            self.sinks.write_bars(batch, self._indicators.rows(batch, self._batch))

    def fold(self, ticks: Sequence[Tick] | None = None, since_us: int = 0, until_us: int = 1 << 62) -> list[Bar]:
        """The final bars of ticks, or of all archived ones, that end within `(since_us, until_us]`."""
        placed = self.placed if ticks is None else [item for item in self.placed if item[0] in ticks]
        made = fold_bars(placed, self.settings.bar_intervals, rulesets.load(self.settings.ruleset), 1)
        return [bar for bar in made if since_us < bar.end <= until_us]

    def reconciler(self, final_here: bool = True, sinks: Sinks | None = None) -> Reconciler:
        return Reconciler(self.spark, self.settings, sinks or self.sinks, ManualClock(NOW_US), final_here=final_here)

    def reconcile(self) -> Run:
        run = self.reconciler().run_recent()
        assert run is not None
        return run

    def close(self) -> None:
        self.sinks.close()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.settings.postgres_dsn.get_secret_value(), row_factory=dict_row) as connection:
            return connection.execute(sql.encode()).fetchall()

    def bars(self) -> dict[Key, dict[str, Any]]:
        """The bars of the database, times in microseconds."""
        found = self.rows(f"SELECT *, {_START}, {_END} FROM bars")
        return {(row["symbol"], row["interval"], row["start"]): row for row in found}

    def read(self, call: Callable[[TimescaleReader], Coroutine[Any, Any, Any]]) -> Any:
        """The answer of the API's reader."""

        async def asked() -> Any:
            reader = TimescaleReader(self.settings.postgres_dsn.get_secret_value(), timeout=20)
            await reader.open()
            try:
                return await call(reader)
            finally:
                await reader.close()

        return asyncio.run(asked())

    def assert_stores_hold(self, expected: Mapping[Key, Mapping[str, Any]]) -> None:
        """These bars in every store, and beside them the indicators of exactly these bars."""
        bars = self.bars()
        assert {key: values(bar) for key, bar in bars.items()} == {key: values(bar) for key, bar in expected.items()}
        self._assert_topic(bars)
        indicators = expected_values(list(bars.values()), self.settings)
        self._assert_indicators(indicators)
        asyncio.run(self._assert_redis(bars, indicators))

    def _assert_topic(self, bars: dict[Key, dict[str, Any]]) -> None:
        newest: dict[Key, dict[str, Any]] = {}
        for record in consume(self.settings, BARS):
            row = msgspec.json.decode(record.value)
            key = (row["symbol"], row["interval"], row["start"])
            if key not in newest or newest[key]["rev"] <= row["rev"]:
                newest[key] = row
        assert {key: _told(row) for key, row in newest.items()} == {key: _told(row) for key, row in bars.items()}

    def _assert_indicators(self, expected: dict[Key, dict[str, float | None]]) -> None:
        found = self.rows(f'SELECT symbol, "interval", {_START}, "values"::text AS v FROM indicators')
        assert {(row["symbol"], row["interval"], row["start"]): values_of(row["v"]) for row in found} == expected
        states = self.rows(f"SELECT *, {_START} FROM indicator_states")
        assert {(row["symbol"], row["interval"]): row["start"] for row in states} == newest_starts(list(expected))
        for row in states:
            assert last_of(row["state"], row["specs"], self.settings, row["interval"]) == row["start"]
        published = [msgspec.json.decode(record.value) for record in consume(self.settings, INDICATORS)]
        assert {(row["symbol"], row["interval"], row["start"]): row["values"] for row in published} == expected
        reader = indicator_topic.FinalStates(self.settings)
        memories = {(each.symbol, each.interval): (each.start, each.state) for each in reader.read_all()}
        reader.close()
        assert memories == {(row["symbol"], row["interval"]): (row["start"], bytes(row["state"])) for row in states}

    async def _assert_redis(self, bars: dict[Key, dict[str, Any]], indicators: dict[Key, dict]) -> None:
        reader = RedisReader(self.settings.redis_url.get_secret_value())
        try:
            await self._compare(reader, bars, indicators)
        finally:
            await reader.close()

    async def _compare(self, reader: RedisReader, bars: dict[Key, dict[str, Any]], indicators: dict[Key, dict]) -> None:
        for (symbol, interval), newest in newest_starts(list(bars)).items():
            tail = await reader.tail(symbol, interval, with_indicators=True)
            starts = sorted(start for s, i, start in bars if (s, i) == (symbol, interval))[-30:]
            assert [bar["start"] for bar in tail] == starts
            for bar in tail:
                key = (symbol, interval, bar["start"])
                assert _told(bar) == _told(bars[key])
                assert bar["indicators"] == indicators[key]
            shown = await reader.indicators(symbol, interval)
            wanted = {"start": newest, "rev": bars[symbol, interval, newest]["rev"]}
            assert shown == wanted | {"values": indicators[symbol, interval, newest]}


def _told(bar: Mapping[str, Any]) -> dict[str, Any]:
    """Values and provenance, amounts as numbers."""
    names = [*VALUES, "rev", "state", "reason", "ruleset"]
    amounts = ("open", "high", "low", "close", "volume", "notional", "vwap")
    return {name: Decimal(bar[name]) if name in amounts and bar[name] is not None else bar[name] for name in names}
