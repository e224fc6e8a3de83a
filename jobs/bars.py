"""`core.bars.BAR_RULES` compiled to Spark: the only place where ticks become bars.

Real-time mode, micro-batch and batch call `bars()` on canonical ticks; what differs between them is the
source, the output mode and the sink.
"""

from collections.abc import Iterator

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from core.bars import BAR_RULES, Rule
from core.intervals import Interval
from core.records import BAR_COLUMNS, ORDER_CENTRE_US, ORDER_SPAN
from core.rulesets import Exclusion, Ruleset, Session
from jobs import exact
from jobs.ticks import condition_mask

_TOUCHES = ("open_close", "high_low", "volume")
_AMOUNTS = ("open", "high", "low", "close")
_FREE_TEXT = ("symbol", "first_trade_id", "last_trade_id")
_NEVER_NULL = ("symbol", "interval", "volume", "notional", "state", "ruleset")
_TYPES = {"volume": "decimal(28,8)", "notional": "decimal(38,16)", "vwap": "decimal(18,8)"} | dict.fromkeys(
    _AMOUNTS, "decimal(18,8)"
)


def bars(ticks: DataFrame, intervals: tuple[Interval, ...], ruleset: Ruleset, lateness_seconds: float = 0) -> DataFrame:
    """Bar rows, amounts still decimal text, from canonical ticks free of duplicates.

    On a stream whose `event_time` has a watermark, each bar closes when the watermark passes its end;
    `lateness_seconds` is that watermark's delay. Rows that are no trades move the watermark and make no bar.
    """
    words = _words()
    inputs = _inputs(words)
    columns = [column.alias(name) for name, column in inputs.items()]
    wide = _touching(ticks, ruleset).select("symbol", "event_us", "seq", _touch("open_close"), *columns)
    keyed = _spread(wide, intervals).select(
        "symbol", "choice.interval", _bar_end(lateness_seconds), _order_key().alias("order_key"), *inputs
    )
    grouped = keyed.groupBy("symbol", "interval", "bar_end").agg(*_aggregates(words))
    return _assemble(grouped.where(F.col("received_us__0").isNotNull()), intervals, ruleset, words)


def as_final(rows: DataFrame, processed_us: int) -> DataFrame:
    """Typed, final bars: the columns of `stores.schema.BAR_SCHEMA`."""
    stamped = rows.withColumns(
        {"rev": F.lit(1), "state": F.lit("final"), "processed_us": F.lit(processed_us).cast("long")}
    )
    return stamped.select(*(_typed(name) for name in BAR_COLUMNS))


def to_json(rows: DataFrame) -> Column:
    """A row of `bars()` as the JSON of topic `bars.live`: amounts as text, `start` and `end` as microseconds.

    Concatenated, which costs live less than `F.to_json` (docs/decisions/0004).
    """
    types = dict(rows.dtypes)
    parts: list[str | Column] = []
    for name in rows.columns:
        parts += ["," if parts else "{", f'"{name}":', *_json_value(name, types[name])]
    return F.concat(*_merged([*parts, "}"]))


def _json_value(name: str, kind: str) -> list[str | Column]:
    value = F.col(name)
    if kind == "timestamp":
        return [F.unix_micros(value).cast("string")]
    if kind != "string":
        return [F.coalesce(value.cast("string"), F.lit("null"))]
    text = _escaped(value) if name in _FREE_TEXT else value
    if name in _NEVER_NULL:
        return ['"', text, '"']
    return [F.coalesce(F.concat(F.lit('"'), text, F.lit('"')), F.lit("null"))]


def _merged(parts: list[str | Column]) -> Iterator[Column]:
    """Neighbouring literals as one."""
    literal = ""
    for part in parts:
        if isinstance(part, str):
            literal += part
            continue
        if literal:
            yield F.lit(literal)
        yield part
        literal = ""
    if literal:
        yield F.lit(literal)


def _escaped(text: Column) -> Column:
    # Validation lets printable ASCII alone through.
    special = text.contains('"') | text.contains("\\")
    return F.when(special, F.regexp_replace(text, r'(["\\])', r"\\$1")).otherwise(text)


def _touching(ticks: DataFrame, ruleset: Ruleset) -> DataFrame:
    """Adds, per field group, whether the tick may touch it."""
    trade = F.col("kind") == "trade"
    if not ruleset.rules:
        return ticks.withColumns({_touch(name): trade for name in _TOUCHES} | {_touch("any"): trade})
    masked = ticks.withColumn("mask", condition_mask())
    if ruleset.session is not None:
        masked = masked.withColumn("regular", _in_session(ruleset.session))
    allowed = {name: trade & ~_excluded(ruleset, name) for name in _TOUCHES}
    anything = allowed["open_close"] | allowed["high_low"] | allowed["volume"]
    return masked.withColumns({_touch(name): column for name, column in (allowed | {"any": anything}).items()})


def _excluded(ruleset: Ruleset, field: str) -> Column:
    verdict = F.lit(False)
    for rule in ruleset.rules:
        if field in rule.fields:
            verdict = verdict | _applies(rule)
    return verdict


def _applies(rule: Exclusion) -> Column:
    mask = F.col("mask")
    condition = F.lit(True)
    if rule.any:
        condition &= mask.bitwiseAND(F.lit(rule.any)) != 0
    if rule.all:
        condition &= mask.bitwiseAND(F.lit(rule.all)) == F.lit(rule.all)
    if rule.none:
        condition &= mask.bitwiseAND(F.lit(rule.none)) == 0
    if rule.session is not None:
        condition &= F.col("regular") if rule.session == "regular" else ~F.col("regular")
    return condition


def _in_session(session: Session) -> Column:
    local = F.from_utc_timestamp("event_time", session.time_zone)
    minute = F.hour(local) * 60 + F.minute(local)
    inside = (minute >= session.open_minute) & (minute < session.close_minute)
    if not session.early_days:
        return inside
    return inside & ((minute < session.early_minute) | ~F.to_date(local).isin(sorted(session.early_days)))


def _words() -> dict[str, list[Column]]:
    """Quantity -> the long columns that carry it through the aggregate."""
    return {
        "price": [F.col("price")],
        "size": exact.size_words(),
        "notional": exact.notional_words(),
        "trade_id": exact.trade_id_words(),
        "event_us": [F.col("event_us")],
        "received_us": [F.col("received_us")],
        "kafka_partition": [F.col("kafka_partition")],
        "kafka_offset": [F.col("kafka_offset")],
    }


def _inputs(words: dict[str, list[Column]]) -> dict[str, Column]:
    """What the aggregates read, by name: each quantity's words, null where the tick may not touch the field."""
    by_key = dict.fromkeys(rule.of for rule in BAR_RULES.values() if rule.how in ("first", "last"))
    plain = {_word(of, n): word for of in by_key for n, word in enumerate(words[of])}
    guarded = {
        _input(of, touching, n): F.when(F.col(_touch(touching)), word)
        for of, touching in dict.fromkeys((rule.of, rule.touching) for rule in BAR_RULES.values())
        if touching != "open_close" or of == "event_us"
        for n, word in enumerate(words[of])
    }
    return plain | guarded


def _spread(ticks: DataFrame, intervals: tuple[Interval, ...]) -> DataFrame:
    """One row per tick and interval."""
    choices = F.array(*(F.struct(F.lit(i.name).alias("interval"), F.lit(i.us).alias("us")) for i in intervals))
    return ticks.withColumn("choice", F.explode(choices))


def _order_key() -> Column:
    """`core.records.order_key`, null for a tick that may not touch open and close."""
    key = F.expr(f"(event_us % choice.us - {ORDER_CENTRE_US}) * {ORDER_SPAN} + seq")
    return F.when(F.col(_touch("open_close")), key)


def _bar_end(lateness_seconds: float) -> Column:
    # The computed end takes over the watermark of event_time: without this Spark would never close a bar,
    # and watermarking the end itself would drop every short bar as late.
    metadata = {"spark.watermarkDelayMs": int(lateness_seconds * 1000)}
    end = F.expr("event_us - event_us % choice.us + choice.us")
    return F.timestamp_micros(end).alias("bar_end", metadata=metadata)


def _aggregates(words: dict[str, list[Column]]) -> list[Column]:
    return [
        _aggregate(rule, n).alias(_word(column, n))
        for column, rule in BAR_RULES.items()
        for n in range(1 if rule.how == "count" else len(words[rule.of]))
    ]


def _aggregate(rule: Rule, n: int) -> Column:
    if rule.how in ("first", "last"):
        by = F.min_by if rule.how == "first" else F.max_by
        return by(_word(rule.of, n), "order_key")
    function = {"min": F.min, "max": F.max, "sum": F.sum, "count": F.count}[rule.how]
    return function(_input(rule.of, rule.touching, n))


def _assemble(
    grouped: DataFrame, intervals: tuple[Interval, ...], ruleset: Ruleset, words: dict[str, list[Column]]
) -> DataFrame:
    """The columns of a bar, put together from their words; a forming bar of revision 0."""
    zero = F.lit(0)
    volume = [F.coalesce(_word("volume", n), zero) for n in range(len(words["size"]))]
    notional = [F.coalesce(_word("notional", n), zero) for n in range(len(words["notional"]))]
    length = F.coalesce(*(F.when(F.col("interval") == i.name, F.lit(i.us)) for i in intervals))
    columns = {
        "start": F.timestamp_micros(F.unix_micros("bar_end") - length),
        "end": F.timestamp_micros(F.unix_micros("bar_end")),
        "volume": exact.volume_text(volume),
        "notional": exact.notional_text(notional),
        "vwap": exact.amount_text(exact.vwap_units(notional, volume)),
        "rev": F.lit(0),
        "state": F.lit("forming"),
        "reason": F.lit(None).cast("string"),
        "ruleset": F.lit(ruleset.id),
        "processed_us": F.lit(None).cast("long"),
    }
    columns |= {name: exact.amount_text(F.col(_word(name, 0))) for name in _AMOUNTS}
    columns |= {
        name: exact.trade_id_text([F.col(_word(name, n)) for n in range(3)])
        for name in ("first_trade_id", "last_trade_id")
    }
    columns |= {name: F.col(_word(name, 0)) for name in BAR_RULES if name not in columns}
    return grouped.select(*(columns[name].alias(name) if name in columns else F.col(name) for name in BAR_COLUMNS))


def _typed(name: str) -> Column:
    return F.col(name).cast(_TYPES[name]).alias(name) if name in _TYPES else F.col(name)


def _touch(name: str) -> str:
    return f"touch_{name}"


def _word(name: str, n: int) -> str:
    return f"{name}__{n}"


def _input(of: str, touching: str, n: int) -> str:
    return f"{of}__{n}__{touching}"
