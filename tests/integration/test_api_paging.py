"""Cursors on real stores: every row once and in order, in any page size, while rows are being added."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import httpx
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from conf.settings import Settings
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.integration.api_data import BASE, MINUTE, make_bar, ticks_table

MINUTES = 40
MAX_PAGES = 200
ADDED = 12  # rows that a writer adds while one example is being paged
FORMING = MINUTES + 1 + ADDED  # after them: a page before a final bar is closed, and nothing in it can be forming
NOW = BASE + 300 * MINUTE

Row = dict[str, Any]
names = (f"S{number}" for number in itertools.count())


@pytest.fixture
def store_settings(store_settings: Settings) -> Settings:
    return store_settings.model_copy(update={"indicators": "sma:2"})


def wait_for_redis(client: httpx.Client) -> None:
    """An API that has just started answers from the database alone until Redis has answered it."""
    deadline = time.monotonic() + 30
    while client.get("/health").json()["stores"]["redis"]["state"] != "ok":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def asked(client: httpx.Client, path: str, params: Row) -> Row:
    """A page, asked for again while the API says that a store did not answer in time, as it tells its clients to.

    On a machine that is busy enough that happens; it is another thing than a row too many or too few.
    """
    deadline = time.monotonic() + 30
    while True:
        answer = client.get(path, params=params)
        if answer.status_code == 200 and answer.json().get("tail") != "unavailable":
            body: Row = answer.json()
            return body
        assert answer.status_code in (200, 503), f"{answer.status_code}: {answer.text}"
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)


@contextmanager
def adding(write: Callable[[int], None]) -> Iterator[None]:
    """Another thread that writes row after row meanwhile, `ADDED` at most."""
    stop = threading.Event()

    def run() -> None:
        for number in range(ADDED):
            if stop.is_set():
                return
            write(number)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def pages(
    client: httpx.Client, path: str, name: str, params: Row, sizes: Sequence[int], towards: str = "next"
) -> Iterator[tuple[list[Row], Row]]:
    """Page after page, of sizes in turn: the rows, and the whole answer."""
    cursor: dict[str, str] = {}
    for size in itertools.islice(itertools.cycle(sizes), MAX_PAGES):
        body = asked(client, path, params | cursor | {"limit": size})
        assert len(body[name]) <= size
        yield body[name], body
        if body[towards] is None:
            return
        assert len(body[name]) == size or cursor, "a first page with more behind it is full"
        cursor = {"cursor": body[towards]}
    raise AssertionError("the pages do not end")


def forward(client: httpx.Client, path: str, name: str, params: Row, sizes: Sequence[int]) -> list[Row]:
    return [row for rows, _ in pages(client, path, name, params, sizes) for row in rows]


def there_and_back(client: httpx.Client, path: str, name: str, params: Row, sizes: Sequence[int]) -> list[Row]:
    """To the last page by `next`, then all the way back by `previous`; what the way back gave."""
    rows, body = list(pages(client, path, name, params, sizes))[-1]
    while body["previous"] is not None:
        assert len(rows) < MAX_PAGES, "the pages do not end"
        body = asked(client, path, params | {"cursor": body["previous"], "limit": sizes[0]})
        rows = body[name] + rows
    return rows


def edges(start: int | None, end: int | None) -> Row:
    given_edges = {"start": start, "end": end}
    return {name: (BASE + at * MINUTE) // 1000 for name, at in given_edges.items() if at is not None}


minutes = st.lists(st.integers(0, MINUTES - 1), unique=True, max_size=MINUTES).map(sorted)
sizes = st.lists(st.integers(1, 9), min_size=1, max_size=4)
edge = st.one_of(st.none(), st.integers(0, MINUTES + 2))
orders = st.sampled_from(["asc", "desc"])
walks = st.sampled_from([forward, there_and_back])


def check_walk(got: list[Any], expected: list[Any], added: set[Any]) -> None:
    """All that was there at first, once and in order; what was added may have been met."""
    assert [row for row in got if row not in added] == expected
    assert len(got) == len(set(got))


@pytest.mark.parametrize("resource", ["bars", "indicators"])
def test_bars_and_indicators_any_range_any_page_size_each_row_once_while_bars_are_added(
    client: httpx.Client, database: TimescaleStore, live: RedisStore, resource: str
) -> None:
    @examples(max_examples=20, deadline=None)
    @given(minutes, edge, edge, sizes, orders, walks, st.booleans())
    def check(
        there: list[int], low: int | None, high: int | None, limits: list[int], order: str, walk: Any, forming: bool
    ) -> None:
        if low is not None and high is not None and low > high:
            low, high = high, low
        symbol = next(names)
        anchor = make_bar(-1, symbol=symbol)  # the symbol is known, whatever the range holds
        database.write_bars(bars_table([anchor, *(make_bar(minute, symbol=symbol) for minute in there)]))
        if forming:
            live.write_bars(bars_table([make_bar(FORMING, symbol=symbol, rev=0, state="forming")]))
        held = [-1, *there, *([FORMING] if forming else [])]
        inside = [m for m in held if (low is None or m >= low) and (high is None or m < high)]
        params: Row = {"order": order, **edges(low, high)}
        if low is None and order == "asc":
            params["start"] = edges(-1, None)["start"]  # without it the walk is another one, tested below
        if resource == "indicators":
            params["type"] = "sma:2"
        name = {"bars": "bars", "indicators": "rows"}[resource]

        def write(number: int) -> None:
            database.write_bars(bars_table([make_bar(MINUTES + 1 + number, symbol=symbol)]))

        with adding(write):
            rows = walk(client, f"/api/v1/{resource}/{symbol}", name, params, limits)
        starts = [row["start"] for row in rows]
        assert starts == sorted(starts, reverse=order == "desc")
        got = [minute_of(row["start"]) for row in rows]
        expected = inside[::-1] if order == "desc" else inside
        check_walk(got, expected, set(range(MINUTES + 1, MINUTES + 1 + ADDED)) - set(held))

    wait_for_redis(client)
    check()


def minute_of(text: str) -> int:
    hours, minutes = int(text[11:13]), int(text[14:16])
    return (hours - 13) * 60 + minutes - 30


def test_ticks_any_range_any_page_size_each_row_once_while_equal_ones_are_added(
    client: httpx.Client, database: TimescaleStore
) -> None:
    moments = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), max_size=30)

    @examples(max_examples=30, deadline=None)
    @given(moments, edge.map(lambda at: None if at is None else at % 8), sizes, orders, walks)
    def check(there: list[tuple[int, int]], low: int | None, limits: list[int], order: str, walk: Any) -> None:
        symbol = next(names)
        ticks = sorted((moment, seq, number) for number, (moment, seq) in enumerate([(7, 0), *there]))
        database.write_ticks(equal_ticks(symbol, ticks))
        start = BASE if low is None else BASE + low * 1000  # whole milliseconds apart
        inside = [number for moment, _, number in ticks if BASE + moment * 1000 >= start]
        params: Row = {"order": order, "start": start // 1000}

        def write(number: int) -> None:
            # Equal event times and seqs, between and behind the identities that are there.
            database.write_ticks(equal_ticks(symbol, [(number % 8, number % 3, 100 + number)], late=number % 2 == 0))

        with adding(write):
            rows = walk(client, f"/api/v1/ticks/{symbol}", "ticks", params, limits)
        got = [int(row["price"]) - 1 for row in rows]
        expected = inside[::-1] if order == "desc" else inside
        check_walk(got, expected, set(range(100, 100 + ADDED)))

    check()


def equal_ticks(symbol: str, ticks: list[tuple[int, int, int]], late: bool = False) -> pa.Table:
    """Ticks of (milliseconds after BASE, seq, number), told apart by identity and price alone."""
    table = ticks_table(symbol, [(BASE + moment * 1000, seq, str(number + 1), "1") for moment, seq, number in ticks])
    identities = [f"{'m' if late else 'i'}{number:05}" for _, _, number in ticks]
    return table.set_column(table.schema.get_field_index("identity"), table.schema.field("identity"), [identities])


def test_newest_page_without_start_leads_back_by_previous_and_forth_again(
    client: httpx.Client, database: TimescaleStore
) -> None:
    database.write_bars(bars_table([make_bar(minute) for minute in range(10)]))
    walked, answers = [], []
    for rows, body in pages(client, "/api/v1/bars/A", "bars", {}, [4], "previous"):
        walked.append([minute_of(row["start"]) for row in rows])
        answers.append(body)
    assert walked == [[6, 7, 8, 9], [2, 3, 4, 5], [0, 1]]
    assert answers[0]["next"] is None and answers[2]["previous"] is None
    assert [body["truncated"] for body in answers] == [True, True, False]
    back = client.get("/api/v1/bars/A", params={"cursor": answers[2]["next"], "limit": 4}).json()
    assert [minute_of(row["start"]) for row in back["bars"]] == [2, 3, 4, 5]


def test_filled_pages_together_are_the_filled_range(client: httpx.Client, database: TimescaleStore) -> None:
    bars = [make_bar(minute, close=Decimal(minute + 1)) for minute in (0, 1, 7, 8, 20)]
    database.write_bars(bars_table(bars))
    for params in ({"start": BASE // 1000}, edges(3, 30), edges(-5, 12), {"end": edges(30, None)["start"]}, {}):
        for order, mode in itertools.product(("asc", "desc"), ("prev", "null")):
            asked = {**params, "order": order, "fill": mode}
            whole = client.get("/api/v1/bars/A", params=asked | {"limit": 1000}).json()["bars"]
            newest = order == "asc" and "start" not in params
            got = []
            for rows, _ in pages(client, "/api/v1/bars/A", "bars", asked, [3, 4], "previous" if newest else "next"):
                got = rows + got if newest else got + rows
            assert got == whole, asked
            assert any(row["synthetic"] for row in whole)


def test_link_header_goes_where_the_cursors_go(client: httpx.Client, database: TimescaleStore) -> None:
    database.write_bars(bars_table([make_bar(minute, symbol="X/Y") for minute in range(6)]))
    params = {**edges(0, 6), "limit": 2, "numeric": "float"}
    first = client.get("/api/v1/bars/X%2FY", params=params)
    second = client.get(first.links["next"]["url"])
    assert [minute_of(row["start"]) for row in second.json()["bars"]] == [2, 3]
    assert second.json()["bars"][0]["open"] == 10.0
    again = client.get(second.links["prev"]["url"])
    assert again.json()["bars"] == first.json()["bars"] and "prev" not in again.links
    third = client.get(second.links["next"]["url"])
    assert "next" not in third.links and third.json()["next"] is None


@pytest.mark.parametrize("resource", ["bars", "ticks", "indicators"])
def test_cursor_that_does_not_fit_is_422_naming_it(
    client: httpx.Client, database: TimescaleStore, resource: str
) -> None:
    for symbol in ("A", "B"):
        database.write_bars(bars_table([make_bar(minute, symbol=symbol) for minute in range(4)]))
        database.write_ticks(ticks_table(symbol, [(BASE + n, n, "1", "1") for n in range(4)]))
    params = {"start": BASE // 1000, "limit": 2}
    path = f"/api/v1/{resource}/A"
    cursor = client.get(path, params=params).json()["next"]
    assert client.get(path, params=params | {"cursor": cursor, "limit": 3, "format": "csv"}).status_code == 200
    others: list[tuple[str, Row]] = [
        (path, params | {"order": "desc"}),
        (path, params | {"start": BASE // 1000 + 1}),
        (path, params | {"end": BASE // 1000 + 999_999_999}),
        (path.replace("/A", "/B"), params),
        (path, {"limit": 2}),
    ]
    if resource != "ticks":
        others.append((path, params | {"interval": "5m"}))
    for other, changed in others:
        refused(client.get(other, params=changed | {"cursor": cursor}))
    flipped = [cursor[:at] + ("B" if cursor[at] != "B" else "C") + cursor[at + 1 :] for at in range(len(cursor))]
    for wrong in ("", "x", "====", "ä", "\x00", "A" * 1024, "A" * 1025, cursor[:-1], cursor + "A", *flipped):
        refused(client.get(path, params=params | {"cursor": wrong}))


def test_newest_indicators_are_no_page(client: httpx.Client, database: TimescaleStore) -> None:
    database.write_bars(bars_table([make_bar(minute) for minute in range(4)]))
    answer = client.get("/api/v1/indicators/A/latest")
    assert (answer.json()["next"], answer.json()["previous"], answer.json()["truncated"]) == (None, None, True)
    assert not answer.links


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["parameter"] for error in answer.json()["errors"]] == ["cursor"]
