"""What exactness costs in Spark's aggregate: the figures of docs/decisions/0001.

    .venv/bin/python -m benchmarks.aggregate ../shared/data/us_equity_2013

Recorded ticks × 3 intervals, cached, each form of the numbers three times in one session; the best run counts.
"""

import sys
import time
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.report import table
from producers.reading import find_files

RUNS = 3
SCALE = 100_000_000


def main(data: str) -> None:
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", "6g")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.ansi.enabled", "false")
        .getOrCreate()
    )
    ticks = _ticks(spark, data)
    count = ticks.count() // 3
    seconds: dict[str, float] = {}
    for _ in range(RUNS):
        for name, columns in _forms().items():
            started = time.monotonic()
            _aggregate(ticks, columns).write.format("noop").mode("overwrite").save()
            seconds[name] = min(time.monotonic() - started, seconds.get(name, float("inf")))
    base = seconds["doubles"]
    rows = [{"form": n, "ticks_per_s": round(count / s), "of_doubles": round(base / s, 2)} for n, s in seconds.items()]
    print(f"{count} ticks x 3 intervals, best of {RUNS}\n{table(rows)}")


def _ticks(spark: SparkSession, data: str) -> DataFrame:
    files = [str(file.path) for file in find_files([Path(data)])]
    recorded = spark.read.parquet(*files).select(
        "symbol",
        F.unix_micros("event_time").alias("event_us"),
        "seq",
        F.expr(f"cast(rint(price * {SCALE}) as bigint)").alias("p"),
        F.expr(f"cast(rint(size * {SCALE}) as bigint)").alias("s"),
        F.col("seq").cast("string").alias("trade_id"),
    )
    spread = recorded.withColumn("length", F.explode(F.array(F.lit(60), F.lit(300), F.lit(900))))
    started = spread.withColumn("start_us", F.expr("event_us - event_us % (length * 1000000L)"))
    keyed = started.withColumn("key", F.expr("(event_us - start_us - 450000000L) * 17179869184L + seq"))
    return keyed.repartition(4).cache()


def _forms() -> dict[str, list[Column]]:
    doubles = [F.sum(F.expr("s / 1e8")), F.sum(F.expr("p / 1e8 * (s / 1e8)"))]
    decimals = [F.sum("s"), F.sum(F.expr("cast(p as decimal(18,0)) * cast(s as decimal(18,0))"))]
    p1, p0, s1, s0 = (f"({x} {op} {SCALE}L)" for x in "ps" for op in ("div", "%"))
    middle = f"({p1} * {s0} + {p0} * {s1} + ({p0} * {s0}) div {SCALE}L)"
    parts = [s1, s0, f"{p1} * {s1} + {middle} div {SCALE}L", f"{middle} % {SCALE}L", f"({p0} * {s0}) % {SCALE}L"]
    words = [F.sum(F.expr(part)) for part in parts]
    number = F.expr("cast(trade_id as bigint)")
    return {
        "doubles": doubles,
        "64-bit words": words,
        "decimals": decimals,
        "64-bit words, ids as words": [*words, F.min_by(number, "key"), F.max_by(number, "key")],
        "64-bit words, ids as text": [*words, F.min_by("trade_id", "key"), F.max_by("trade_id", "key")],
    }


def _aggregate(ticks: DataFrame, columns: list[Column]) -> DataFrame:
    prices = [F.min_by("p", "key"), F.max_by("p", "key"), F.max("p"), F.min("p"), F.count("*")]
    return ticks.groupBy("symbol", "length", "start_us").agg(*columns, *prices)


if __name__ == "__main__":
    main(sys.argv[1])
