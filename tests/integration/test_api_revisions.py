"""Bars as they were known at a moment, all revisions of one, and how right the first ones were."""

from collections.abc import Iterator
from decimal import Decimal

import httpx
import psycopg
import pytest

from conf.settings import Settings
from core.clock import ManualClock
from core.records import Bar
from stores.redis import make_redis
from stores.schema import bars_table
from stores.timescale import TimescaleStore, make_timescale
from tests.integration.api_data import BASE, MINUTE, make_bar
from tests.serving import serving

PATH = "/api/v1/bars/A"


@pytest.fixture
def store(settings: Settings) -> Iterator[TimescaleStore]:
    store = make_timescale(settings)
    store.setup()
    yield store
    store.close()


def now_ms(settings: Settings) -> int:
    """The database's clock, rounded up: it is what stamps revisions."""
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        row = connection.execute("SELECT ceil(extract(epoch FROM clock_timestamp()) * 1000)::bigint").fetchone()
    assert row is not None
    return int(row[0])


def amended(bar: Bar, rev: int, close: str) -> Bar:
    return make_bar(
        (bar.start - BASE) // MINUTE, rev=rev, state="amended", reason="late", close=Decimal(close), trade_count=2 + rev
    )


def closes(api: httpx.Client, **query: object) -> list[tuple[int, str]]:
    answer = api.get(PATH, params={"limit": 10, **query})
    assert answer.status_code == 200, answer.text
    return [(bar["rev"], bar["close"]) for bar in answer.json()["bars"]]


def test_as_of_gives_what_was_known_then(settings: Settings, store: TimescaleStore) -> None:
    before = now_ms(settings)
    bars = [make_bar(0), make_bar(1)]
    store.write_bars(bars_table(bars))
    first = now_ms(settings)
    store.write_bars(bars_table([amended(bars[0], 2, "10.7")]))
    second = now_ms(settings)
    store.write_bars(bars_table([amended(bars[0], 3, "10.9"), make_bar(2)]))
    redis = make_redis(settings)
    redis.write_bars(bars_table([make_bar(3, state="forming", rev=0)]))
    redis.close()
    with serving(settings) as api:
        assert closes(api, as_of=before) == []
        assert closes(api, as_of=first) == [(1, "10.5"), (1, "10.5")]
        assert closes(api, as_of=second) == [(2, "10.7"), (1, "10.5")]
        assert closes(api, as_of=second, order="desc", limit=1) == [(1, "10.5")]
        assert closes(api, as_of=now_ms(settings)) == [(3, "10.9"), (1, "10.5"), (1, "10.5")]
        assert closes(api) == [(3, "10.9"), (1, "10.5"), (1, "10.5"), (0, "10.5")]
        page = api.get(PATH, params={"as_of": first, "limit": 1, "start": BASE // 1000}).json()
        assert [bar["rev"] for bar in page["bars"]] == [1]
        other = api.get(PATH, params={"as_of": second, "limit": 1, "start": BASE // 1000, "cursor": page["next"]})
        assert other.status_code == 422 and "cursor" in other.text
        following = api.get(PATH, params={"as_of": first, "limit": 1, "start": BASE // 1000, "cursor": page["next"]})
        assert [bar["start"] for bar in following.json()["bars"]] == ["2013-06-03T13:31:00.000000Z"]


def test_nothing_is_made_up_after_the_moment_of_which_it_is_asked(settings: Settings, store: TimescaleStore) -> None:
    store.write_bars(bars_table([make_bar(0)]))
    minute_ms = MINUTE // 1000
    known = -(-now_ms(settings) // minute_ms) * minute_ms
    asked = {"fill": "prev", "start": known - 2 * minute_ms, "end": known + 5 * minute_ms}
    with serving(settings, ManualClock((known + 3 * minute_ms) * 1000)) as api:
        for as_of, rows in ((known, 2), (known + minute_ms, 3), (known + 4 * minute_ms, 5), (None, 5)):
            query = asked if as_of is None else asked | {"as_of": as_of}
            assert closes(api, **query) == [(0, "10.5")] * rows, as_of


def test_revisions_of_a_bar_oldest_first(settings: Settings, store: TimescaleStore) -> None:
    store.write_bars(bars_table([make_bar(0), make_bar(1)]))
    store.write_bars(bars_table([amended(make_bar(0), 2, "10.7")]))
    with serving(settings) as api:
        answer = api.get(f"{PATH}/1m/{BASE // 1000}/revisions").json()
        found = answer["revisions"]
        assert [(bar["rev"], bar["state"], bar["reason"], bar["close"], bar["trade_count"]) for bar in found] == [
            (1, "final", None, "10.5", 2),
            (2, "amended", "late", "10.7", 4),
        ]
        assert found[0]["known_at"] < found[1]["known_at"]
        assert api.get(f"{PATH}/1m/2013-06-03T13:31:00Z/revisions").json()["revisions"][0]["rev"] == 1
        assert api.get(f"{PATH}/5m/{BASE // 1000}/revisions").json()["revisions"] == []
        assert api.get(f"/api/v1/bars/NOPE/1m/{BASE // 1000}/revisions").status_code == 404
        assert api.get(f"{PATH}/7m/{BASE // 1000}/revisions").status_code == 422
        assert api.get(f"{PATH}/1m/yesterday/revisions").status_code == 422


def test_quality_by_day_and_late_ticks(settings: Settings, store: TimescaleStore) -> None:
    store.write_bars(bars_table([make_bar(0)]))
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO reconciled (symbol, day, checked, matched, amended)"
            " VALUES ('A', '2013-06-03', 400, 399, 1), ('A', '2013-06-04', 0, 0, 0), ('B', '2013-06-03', 1, 0, 1)"
        )
        connection.execute("INSERT INTO late_ticks_seen (ticks, p50_us, p90_us, p99_us, max_us) VALUES (3, 1, 2, 3, 4)")
    with serving(settings) as api:
        days = api.get("/api/v1/quality/A").json()["days"]
        assert [(day["day"], day["checked"], day["amended"], day["match_ratio"]) for day in days] == [
            ("2013-06-03", 400, 1, 0.9975),
            ("2013-06-04", 0, 0, None),
        ]
        of_one = api.get("/api/v1/quality/A", params={"start": "2013-06-04T00:00:00Z", "end": "2013-06-05T00:00:00Z"})
        assert [day["day"] for day in of_one.json()["days"]] == ["2013-06-04"]
        assert api.get("/api/v1/quality/NOPE").status_code == 404
        runs = api.get("/api/v1/metrics/late-ticks").json()["runs"]
        assert [(run["ticks"], run["max_us"]) for run in runs] == [(3, 4)]
