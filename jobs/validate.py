"""`core.validate` in Spark SQL: the first reason why a record is no tick, or null.

Arithmetic on the scaled numbers is safe from here on: the table bounds every one of them.
"""

from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

from core.records import KINDS, MAX_NOTIONAL_UNITS, MAX_UNITS, MIN_EVENT_US, SCALE, SEQ_LIMIT, TICK_VERSION
from core.validate import AMENDING, DECIMAL_PATTERN, PRICED, REASONS, SYMBOL_PATTERN, TEXT_PATTERN


@dataclass(frozen=True, slots=True)
class Amounts:
    """How a source's price and size are judged: each a condition, null counting as wrong, and their product."""

    price_is_good: Column
    size_is_good: Column
    worth: Column


def text_amounts() -> Amounts:
    """`price` and `size` as decimal text."""
    return Amounts(
        _whole("price", DECIMAL_PATTERN) & F.col("price").rlike("[1-9]"),
        _whole("size", DECIMAL_PATTERN),
        F.col("price").try_cast("double") * F.col("size").try_cast("double"),
    )


def scaled_amounts() -> Amounts:
    """`price` and `size` as 64-bit counts of 1e-8, null where the source's number is not one."""
    limit = MAX_UNITS * SCALE
    return Amounts(
        (F.col("price") > 0) & (F.col("price") < limit),
        (F.col("size") >= 0) & (F.col("size") < limit),
        F.col("price").cast("double") * F.col("size").cast("double") / float(SCALE) / float(SCALE),
    )


def first_reason(
    amounts: Amounts, known_symbols: frozenset[str] | None, tolerance_us: int, appended_us: Column | None
) -> Column:
    """One word of `core.validate.REASONS`, or null for a tick.

    Expects the fields of the tick record as columns, `value` as the original bytes and `parsed` telling whether
    they were a JSON object. `appended_us` is the broker's clock; None skips `future`.
    """
    wrong = _wrong(amounts, known_symbols, tolerance_us, appended_us)
    assert list(wrong) == list(REASONS)
    verdict = F.lit(None).cast("string")
    for reason, condition in reversed(wrong.items()):
        verdict = F.when(F.coalesce(condition, F.lit(True)), reason).otherwise(verdict)
    return verdict


def _wrong(
    amounts: Amounts, known_symbols: frozenset[str] | None, tolerance_us: int, appended_us: Column | None
) -> dict[str, Column]:
    """Reason -> condition; a null condition counts as wrong."""
    kind, no = F.col("kind"), F.lit(False)
    priced = kind.isin(*PRICED)
    texts = F.concat_ws("", "source", "venue", "trade_id", "conditions")
    strict = F.lit(True) if known_symbols is None else F.col("symbol").isin(*known_symbols)
    ahead = no if appended_us is None else F.col("event_us") > appended_us + F.lit(tolerance_us)
    return {
        "empty": F.col("value").isNull() | (F.length("value") == 0),
        "malformed": ~F.col("parsed"),
        "version": F.col("v") != TICK_VERSION,
        "symbol": ~_whole("symbol", SYMBOL_PATTERN),
        "unknown_symbol": ~(strict | (kind == "heartbeat")),
        "kind": ~kind.isin(*KINDS),
        "event_time": F.col("event_us") < MIN_EVENT_US,
        "future": ahead,
        "text": F.col("source").isNull() | (F.length("source") == 0) | ~_whole(texts, TEXT_PATTERN),
        "received": F.col("received_us").isNull(),
        "seq": ~F.col("seq").between(1 - SEQ_LIMIT, SEQ_LIMIT - 1),
        "price": priced & ~F.coalesce(amounts.price_is_good, no),
        "size": priced & ~F.coalesce(amounts.size_is_good, no),
        "notional": priced & (amounts.worth >= MAX_NOTIONAL_UNITS),
        "trade_ref": kind.isin(*AMENDING) & (F.length(F.coalesce("trade_id", F.lit(""))) == 0),
    }


def _whole(text: str | Column, pattern: str) -> Column:
    # \z, not $: Java's $ also matches before a trailing line break.
    return (F.col(text) if isinstance(text, str) else text).rlike(rf"^(?:{pattern})\z")
