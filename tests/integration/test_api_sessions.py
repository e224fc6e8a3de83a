"""Parts of the trading day of bars and ticks on a real PostgreSQL: daylight saving, early closes, pages, filling."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from conf.settings import Settings
from core.clock import ManualClock
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.integration.api_data import BASE, MINUTE, make_bar, ticks_table
from tests.serving import serving

NEW_YORK = ZoneInfo("America/New_York")
# The Friday before and the Monday after the clocks changed, and the week of a short day and a holiday.
DAYS = [date(2013, 3, day) for day in (8, 9, 10, 11)] + [date(2013, 7, day) for day in (2, 3, 4, 5, 6)]
CLOSED = {date(2013, 3, 9), date(2013, 3, 10), date(2013, 7, 4), date(2013, 7, 6)}
SHORT = {date(2013, 7, 3)}
STEP = 30  # minutes from bar to bar; each session opens and closes on one


def part_of(moment: datetime) -> str | None:
    """By the local clock and nothing else."""
    local = moment.astimezone(NEW_YORK)
    if local.date() in CLOSED:
        return None
    if local.time() < time(9, 30):
        return "pre"
    return "rth" if local.time() < (time(13) if local.date() in SHORT else time(16)) else "post"


MOMENTS = [
    datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=at)
    for day in DAYS
    for at in range(0, 24 * 60, STEP)
]
LAST = int(MOMENTS[-1].timestamp()) * 1_000_000


def minute_of(moment: datetime) -> int:
    return (int(moment.timestamp()) * 1_000_000 - BASE) // MINUTE


def expected(part: str, moments: list[datetime] = MOMENTS) -> list[str]:
    kept = [moment for moment in moments if part == "all" or part_of(moment) == part]
    return [moment.strftime("%Y-%m-%dT%H:%M:%S.000000Z") for moment in kept]


@pytest.fixture
def client(store_settings: Settings, database: TimescaleStore, live: RedisStore) -> Iterator[httpx.Client]:
    settings = store_settings.model_copy(update={"calendar": "XNYS"})
    bars = [make_bar(minute_of(moment)) for moment in MOMENTS]
    database.write_bars(bars_table(bars[:-20]))
    live.write_bars(bars_table([*bars[-25:-1], make_bar(minute_of(MOMENTS[-1]), rev=0, state="forming")]))
    database.write_ticks(ticks_table("A", [(BASE + minute_of(moment) * MINUTE, 0, "1", "1") for moment in MOMENTS]))
    with serving(settings, ManualClock(LAST + MINUTE)) as client:
        yield client


def walk(client: httpx.Client, resource: str, **params: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while True:
        answer = client.get(f"/api/v1/{resource}/A", params=params)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        rows += body[resource]
        if body["next"] is None:
            return rows
        params["cursor"] = body["next"]


def test_every_part_in_every_order_and_page_size(client: httpx.Client) -> None:
    for resource, key in (("bars", "start"), ("ticks", "event_at")):
        for part in ("all", "pre", "rth", "post"):
            for limit in (7, 500):
                rows = walk(client, resource, session=part, limit=limit, start=0)
                assert [row[key] for row in rows] == expected(part), (resource, part, limit)
                down = walk(client, resource, session=part, limit=limit, order="desc")
                assert down == rows[::-1]


def test_range_cuts_through_a_session(client: httpx.Client) -> None:
    low, high = datetime(2013, 7, 3, 16, 15, tzinfo=UTC), datetime(2013, 7, 5, 14, 30, tzinfo=UTC)
    inside = [moment for moment in MOMENTS if low <= moment < high]
    for part in ("pre", "rth", "post"):
        rows = walk(client, "bars", session=part, start=low.isoformat()[:-6] + "Z", end=high.isoformat()[:-6] + "Z")
        assert [row["start"] for row in rows] == expected(part, inside)
        assert rows


def test_fill_makes_nothing_up_where_the_exchange_is_closed(client: httpx.Client) -> None:
    asked = {"start": "2013-07-03T16:30:00Z", "end": "2013-07-06T00:00:00Z", "fill": "prev"}
    rows = walk(client, "bars", session="rth", limit=97, **asked)
    starts = [datetime.fromisoformat(row["start"]) for row in rows]
    assert len(starts) == 30 + 390 and {part_of(start) for start in starts} == {"rth"}  # half an hour, and a day
    everything = walk(client, "bars", limit=97, **asked)
    for row in everything:
        assert row["synthetic"] is False or part_of(datetime.fromisoformat(row["start"])) == "rth"
    real = [row["start"] for row in everything if not row["synthetic"]]
    assert len(real) == len([m for m in MOMENTS if "2013-07-03 16:30" <= str(m) < "2013-07-06"])
    outside = walk(client, "bars", session="post", **asked)
    assert outside and not any(row["synthetic"] for row in outside)


def test_unknown_part_is_422_naming_the_known_ones(client: httpx.Client) -> None:
    answer = client.get("/api/v1/bars/A", params={"session": "lunch"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "session" and "rth" in answer.json()["detail"]
