"""Exact numbers out of 64-bit words, so that aggregates stay in Spark's fastest, mutable form.

A quantity becomes one or more long columns whose sums (or first and last values) are exact; `*_text` puts them
together again. Split sums are as fast as doubles and a decimal is not; a text column in an aggregate makes Spark
sort (docs/decisions/0001 has the figures).
"""

from pyspark.sql import Column
from pyspark.sql import functions as F

from core.records import DECIMALS, SCALE, TRADE_ID_LENGTH, UUID_PATTERN
from jobs.prefix import prefix

_UUID_TAG = -1
_UUID_LENGTH = 36
_LENGTH_SHIFT = 56
# With a volume below 2**58 units of 1e-8 and an estimate below 2**45, the remainder stays below 2**60.
_FAST_UNITS = 1_400_000_000
_FAST_VWAP = 1 << 45


def scaled(column: str) -> Column:
    """Valid decimal text (`core.validate.DECIMAL_PATTERN`) as a count of 1e-8."""
    text = F.col(column)
    point = F.instr(text, ".")
    whole = F.when(point == 0, text).otherwise(F.left(text, point - 1)).cast("long") * F.lit(SCALE)
    small = F.rpad(F.substr(text, point + 1), DECIMALS, "0").cast("long")
    return F.when(point == 0, whole).otherwise(whole + small)


def size_words() -> list[Column]:
    """`size` as [whole units, 1e-8 units]: a bar's sums stay far inside 64 bits."""
    return [F.expr(f"size div {SCALE}"), F.expr(f"size % {SCALE}")]


def notional_words() -> list[Column]:
    """price x size, exactly, as [whole units, 1e-8 units, 1e-16 units]: schoolbook multiplication with carry."""
    p_high, p_low = f"(price div {SCALE})", f"(price % {SCALE})"
    s_high, s_low = f"(size div {SCALE})", f"(size % {SCALE})"
    middle = f"({p_high} * {s_low} + {p_low} * {s_high} + ({p_low} * {s_low}) div {SCALE})"
    return [
        F.expr(f"{p_high} * {s_high} + {middle} div {SCALE}"),
        F.expr(f"{middle} % {SCALE}"),
        F.expr(f"({p_low} * {s_low}) % {SCALE}"),
    ]


def amount_text(units: Column) -> Column:
    """A non-negative count of 1e-8 as decimal text with 8 places."""
    return F.concat(_div(units, SCALE).cast("string"), F.lit("."), _padded(units % F.lit(SCALE)))


def volume_text(words: list[Column]) -> Column:
    """Summed `size_words` as decimal text with 8 places."""
    whole, small = words
    return F.concat((whole + _div(small, SCALE)).cast("string"), F.lit("."), _padded(small % F.lit(SCALE)))


def notional_text(words: list[Column], point: str = ".") -> Column:
    """Summed `notional_words` as decimal text with 16 places."""
    whole, small, smallest = words
    carried = small + _div(smallest, SCALE)
    return F.concat(
        (whole + _div(carried, SCALE)).cast("string"),
        F.lit(point),
        _padded(carried % F.lit(SCALE)),
        _padded(smallest % F.lit(SCALE)),
    )


def vwap_units(notional: list[Column], volume: list[Column]) -> Column:
    """`core.records.vwap_scaled` of summed words: a count of 1e-8, rounded half up; null without volume.

    A double finds the quotient to within one unit, and the remainder, exact in 64 bits although both products
    wrap, says which unit it is. Numbers too large for that (3 billion units, a price of 350,000) take the slow
    decimal road.
    """
    units = volume[0] * F.lit(SCALE) + volume[1]
    approximate = notional[0] * F.lit(1e16) + notional[1] * F.lit(1e8) + notional[2]
    estimate = F.rint(approximate / units).cast("long")
    wrapped = notional[0] * F.lit(SCALE * SCALE) + notional[1] * F.lit(SCALE) + notional[2]
    twice = F.lit(2) * (wrapped - estimate * units) + units
    near = F.when(twice < 0, estimate - 1).when(twice >= F.lit(2) * units, estimate + 1).otherwise(estimate)
    fits = (volume[0] < _FAST_UNITS) & (volume[1] < _FAST_UNITS * SCALE) & (estimate < _FAST_VWAP)
    traded = (volume[0] > 0) | (volume[1] > 0)
    return F.when(traded & fits, near).when(traded, _vwap_by_decimals(notional, volume))


def _vwap_by_decimals(notional: list[Column], volume: list[Column]) -> Column:
    numerator = notional_text(notional, point="").cast("decimal(38,0)")
    denominator = F.concat((volume[0] + _div(volume[1], SCALE)).cast("string"), _padded(volume[1] % F.lit(SCALE)))
    units = denominator.cast("decimal(38,0)")
    two = F.lit(2).cast("decimal(1,0)")
    doubled = (two * numerator + units).cast("decimal(38,0)")
    return F.call_function("div", doubled, (two * units).cast("decimal(38,0)"))


def trade_id_words() -> list[Column]:
    """`core.records.bar_trade_id` as three longs.

    A decimal number is itself in the first word (>= 0), a UUID is tagged there and fills the other two, any
    other text of up to 23 bytes is cut into 7 + 8 + 8 of them; the first word, which counts down from -2, holds the
    length too.
    """
    name = F.col("trade_id")
    # A cast that may fail is null here; `try_cast` would make and drop an exception for each.
    head = name.cast("long")
    number = (head >= 0) & (head.cast("string") == name)
    uuid = (F.length(name) == _UUID_LENGTH) & name.rlike(rf"^(?:{UUID_PATTERN})\z")
    fits = F.length(name) <= TRADE_ID_LENGTH
    digits = F.unhex(F.translate(name, "-", ""))
    text = name.cast("binary")
    text_head = -2 - (F.shiftleft(F.length(name).cast("long"), _LENGTH_SHIFT) + F.shiftright(prefix(text), 8))
    nothing = F.lit(None).cast("long")
    return [
        F.when(number, head).when(uuid, F.lit(_UUID_TAG)).when(fits, text_head).cast("long"),
        F.when(number, nothing).when(uuid, prefix(digits)).when(fits, prefix(F.substring(text, 8, 8))),
        F.when(number, nothing)
        .when(uuid, prefix(F.substring(digits, 9, 8)))
        .when(fits, prefix(F.substring(text, 16, 8))),
    ]


def trade_id_text(words: list[Column]) -> Column:
    """The id that `trade_id_words` took apart."""
    head, second, third = words
    uuid = F.regexp_replace(
        F.lower(F.concat(_hex(second, 16), _hex(third, 16))), "(.{8})(.{4})(.{4})(.{4})(.{12})", "$1-$2-$3-$4-$5"
    )
    tagged = -2 - head
    packed = F.concat(tagged.cast("binary"), second.cast("binary"), third.cast("binary"))
    length = F.shiftright(tagged, _LENGTH_SHIFT).cast("int")
    text = F.substring(packed, F.lit(2), length).cast("string")
    return F.when(head >= 0, head.cast("string")).when(head == _UUID_TAG, uuid).otherwise(text)


def _hex(word: Column, digits: int) -> Column:
    return F.lpad(F.hex(word), digits, "0")


def _div(value: Column, by: int) -> Column:
    return F.call_function("div", value, F.lit(by))


def _padded(units: Column) -> Column:
    """Eight digits of a number below 1e8: cheaper than lpad, and in bytes cheaper than in characters."""
    return F.substring((units + F.lit(SCALE)).cast("string").cast("binary"), 2, DECIMALS).cast("string")
