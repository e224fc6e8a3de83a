"""Bars by other means: plain Python over sorted lists with Fraction and Decimal, sharing no code with ours."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from core.records import Tick

MINUTES = {"1m": 1, "5m": 5, "15m": 15}
Bar = dict[str, object]


def oracle_bars(arrivals: Sequence[tuple[Tick, int | None, int | None]]) -> dict[tuple[str, str, int], Bar]:
    """(symbol, interval, start) -> fields, for trades given in the order they arrived, of ruleset `all`."""
    unique: dict[tuple, tuple[Tick, int | None, int | None]] = {}
    for tick, partition, offset in arrivals:
        if tick.kind == "trade":
            by_id = (tick.symbol, tick.venue, "id", tick.trade_id)
            by_seq = (tick.symbol, tick.source, "seq", tick.event_us, tick.seq)
            unique.setdefault(by_id if tick.trade_id else by_seq, (tick, partition, offset))
    groups: dict[tuple[str, str, int], list] = defaultdict(list)
    for tick, partition, offset in unique.values():
        for name, minutes in MINUTES.items():
            length = minutes * 60_000_000
            groups[tick.symbol, name, tick.event_us // length * length].append((tick, partition, offset))
    return {
        key: _bar(trades, MINUTES[key[1]]) | dict(zip(("symbol", "interval", "start"), key, strict=True))
        for key, trades in groups.items()
    }


def _bar(trades: list, minutes: int) -> Bar:
    ordered = sorted((tick for tick, _, _ in trades), key=lambda tick: (tick.event_us, tick.seq))
    prices = [Decimal(tick.price) for tick in ordered]
    volume = sum((Fraction(tick.size) for tick in ordered), Fraction(0))
    notional = sum((Fraction(tick.price) * Fraction(tick.size) for tick in ordered), Fraction(0))
    offsets = [offset for _, _, offset in trades if offset is not None]
    length = minutes * 60_000_000
    return {
        "end": ordered[0].event_us // length * length + length,
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "close": prices[-1],
        "volume": _decimal(volume, 8),
        "notional": _decimal(notional, 16),
        "vwap": _decimal(notional / volume, 8) if volume else None,
        "trade_count": len(ordered),
        "open_us": ordered[0].event_us,
        "close_us": ordered[-1].event_us,
        "first_trade_id": ordered[0].trade_id or None,
        "last_trade_id": ordered[-1].trade_id or None,
        "kafka_partition": min((p for _, p, _ in trades if p is not None), default=None),
        "first_offset": min(offsets, default=None),
        "last_offset": max(offsets, default=None),
        "received_us": max(tick.received_us for tick in ordered),
    }


def _decimal(value: Fraction, places: int) -> Decimal:
    scaled = value * 10**places
    rounded = (scaled.numerator * 2 + scaled.denominator) // (scaled.denominator * 2)
    return Decimal(f"{rounded}e-{places}")


def rolled_up(rows: Sequence[Bar]) -> dict[tuple[str, str, int], Bar]:
    """The 5- and 15-minute bars that 1-minute rows add up to, with all their fields but provenance and ruleset."""
    groups: dict[tuple[str, str, int], list[Bar]] = defaultdict(list)
    for row in sorted((row for row in rows if row["interval"] == "1m"), key=lambda row: row["start"]):
        for name in ("5m", "15m"):
            length = MINUTES[name] * 60_000_000
            groups[row["symbol"], name, row["start"] // length * length].append(row)
    return {key: _rolled(key, minutes) for key, minutes in groups.items()}


def _rolled(key: tuple[str, str, int], minutes: list[Bar]) -> Bar:
    priced = [minute for minute in minutes if minute["open"] is not None]
    first, last = (priced[0], priced[-1]) if priced else (minutes[0], minutes[0])
    volume = sum((Fraction(minute["volume"]) for minute in minutes), Fraction(0))
    notional = sum((Fraction(minute["notional"]) for minute in minutes), Fraction(0))

    def every(name: str) -> list:
        return [minute[name] for minute in minutes if minute[name] is not None]

    return {
        "symbol": key[0],
        "interval": key[1],
        "start": key[2],
        "end": key[2] + MINUTES[key[1]] * 60_000_000,
        "open": first["open"],
        "high": max(every("high"), default=None),
        "low": min(every("low"), default=None),
        "close": last["close"],
        "volume": _decimal(volume, 8),
        "notional": _decimal(notional, 16),
        "vwap": _decimal(notional / volume, 8) if volume else None,
        "trade_count": sum(every("trade_count")),
        "open_us": first["open_us"],
        "close_us": last["close_us"],
        "first_trade_id": first["first_trade_id"],
        "last_trade_id": last["last_trade_id"],
        "kafka_partition": min(every("kafka_partition"), default=None),
        "first_offset": min(every("first_offset"), default=None),
        "last_offset": max(every("last_offset"), default=None),
        "received_us": max(every("received_us")),
    }
