"""Keys: their form, and a ring that asks seldom, forgets soon and lives through an outage."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from api.security import keys
from api.security.keys import KeyRing, new_key, stored
from api.security.principal import Unauthorized, credential, network, offered
from core.clock import ManualClock
from core.errors import ConfigError, StoreUnavailable
from stores.access import StoredKey


class Table:
    """Rows in memory that count how often they are asked for; `down` makes it a database that is."""

    def __init__(self, *rows: StoredKey) -> None:
        self.rows = {row.id: row for row in rows}
        self.asked = 0
        self.touched: list[str] = []
        self.down = False

    async def get(self, key_id: str) -> StoredKey | None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable("timescale", "gone")
        return self.rows.get(key_id)

    async def touch(self, key_id: str) -> None:
        self.touched.append(key_id)


def ring_of(table: Table, now_us: int = 0) -> KeyRing:
    return KeyRing(table, ManualClock(now_us))


async def passed(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "REFRESH_SECONDS", 0.05)
    monkeypatch.setattr(keys, "OLDEST_SECONDS", 0.1)


def test_key_is_long_random_and_only_its_hash_is_stored() -> None:
    text, row = new_key("a", ["read"])
    again, _ = new_key("a", ["read"])
    assert text != again and len(text.split("_", 2)[2]) >= 43
    assert text.split("_", 2)[2] not in repr(row) + str(row.hash)
    assert stored(text, "a", ["read"]) == row


@pytest.mark.parametrize("text", ["", "ts_a_b", "ts_abcdef_short", "xx_abcdef_" + "x" * 43, "ts_ABCDEF_" + "x" * 43])
def test_what_is_no_key_is_refused_unasked_and_unquoted(text: str) -> None:
    table = Table()
    with pytest.raises(Unauthorized) as refused:
        asyncio.run(ring_of(table).principal(text))
    assert table.asked == 0 and (not text or text not in str(refused.value))
    with pytest.raises(ConfigError) as wrong:
        stored(text, "a", ["read"])
    assert len(text) < 8 or text not in str(wrong.value)


def test_good_key_is_asked_for_once_however_many_requests() -> None:
    text, row = new_key("a", ["read"])

    async def scenario() -> None:
        table = Table(row)
        ring = ring_of(table)
        found = await asyncio.gather(*(ring.principal(text) for _ in range(100)))
        assert {principal.id for principal in found} == {row.id} and found[0].scopes == {"read"}
        assert table.asked == 1
        await passed(lambda: table.touched == [row.id])

    asyncio.run(scenario())


def test_right_id_with_another_secret_is_refused_and_leaves_no_trace_of_use() -> None:
    text, row = new_key("a", ["read"])
    forged = text[:-4] + ("AAAA" if text[-4:] != "AAAA" else "BBBB")
    table = Table(row)
    for wrong in (forged, text + "x", text[:-1] + chr(ord(text[-1]) ^ 1).replace("^", "A")):
        with pytest.raises(Unauthorized, match="not a valid key"):
            asyncio.run(ring_of(table).principal(wrong))
    assert table.touched == []


def test_unknown_id_is_remembered_too_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_HELD", 10)
    text, _ = new_key("a", ["read"])

    async def scenario() -> None:
        table = Table()
        ring = ring_of(table)
        for _ in range(5):
            with pytest.raises(Unauthorized):
                await ring.principal(text)
        assert table.asked == 1
        for _ in range(50):
            with pytest.raises(Unauthorized):
                await ring.principal(new_key("b", [])[0])
        assert len(ring._held) <= 10

    asyncio.run(scenario())


def test_expiry_counts_at_once_whatever_is_cached() -> None:
    text, row = new_key("a", ["read"], expires_us=1000)
    clock = ManualClock(999)

    async def scenario() -> None:
        ring = KeyRing(Table(row), clock)
        await ring.principal(text)
        clock.advance(1)
        with pytest.raises(Unauthorized, match="expired"):
            await ring.principal(text)

    asyncio.run(scenario())


def test_revoked_key_dies_with_the_cache_even_if_nobody_used_it_meanwhile(quick: None) -> None:
    text, row = new_key("a", ["read"])

    async def scenario() -> None:
        table = Table(row)
        ring = ring_of(table)
        await ring.principal(text)
        table.rows[row.id] = replace(row, revoked_us=1)
        await asyncio.sleep(0.11)  # older than the oldest: waited for, so not one request slips through
        with pytest.raises(Unauthorized, match="revoked"):
            await ring.principal(text)

    asyncio.run(scenario())


def test_new_key_of_an_id_that_was_unknown_becomes_good(quick: None) -> None:
    text, row = new_key("a", ["read"])

    async def scenario() -> None:
        table = Table()
        ring = ring_of(table)
        with pytest.raises(Unauthorized):
            await ring.principal(text)
        table.rows[row.id] = row
        await asyncio.sleep(0.11)
        assert (await ring.principal(text)).id == row.id

    asyncio.run(scenario())


def test_database_down_held_keys_go_on_and_others_are_unavailable(quick: None) -> None:
    text, row = new_key("a", ["read"])
    stranger, other = new_key("b", ["read"])
    absent, _ = new_key("c", ["read"])

    async def scenario() -> None:
        table = Table(row, other)
        ring = ring_of(table)
        await ring.principal(text)
        with pytest.raises(Unauthorized):
            await ring.principal(absent)
        table.down = True
        for _ in range(5):
            await asyncio.sleep(0.06)
            assert (await ring.principal(text)).id == row.id
        for unknown in (stranger, absent):  # what was absent may have been created since
            with pytest.raises(StoreUnavailable):
                await ring.principal(unknown)
        table.down = False
        table.rows[row.id] = replace(row, revoked_us=1)
        assert (await ring.principal(stranger)).id == other.id
        await asyncio.sleep(0.11)
        with pytest.raises(Unauthorized, match="revoked"):
            await ring.principal(text)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        ([(b"authorization", b"Bearer abc")], "abc"),
        ([(b"authorization", b"bearer  abc ")], "abc"),
        ([(b"x-api-key", b"abc")], "abc"),
        ([(b"x-api-key", b"abc"), (b"authorization", b"Bearer abc")], "abc"),
    ],
)
def test_credential_is_found_in_either_header(headers: list[tuple[bytes, bytes]], expected: str | None) -> None:
    assert credential(headers) == expected


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Basic YTpi")],
        [(b"authorization", b"abc")],
        [(b"authorization", b"Bearer ")],
        [(b"x-api-key", b"")],
        [(b"x-api-key", b"\xff")],
        [(b"x-api-key", b"a" * 9000)],
        [(b"x-api-key", b"abc"), (b"authorization", b"Bearer abd")],
        [(b"authorization", b"Bearer abc"), (b"authorization", b"Bearer abd")],
    ],
)
def test_credential_that_can_be_none_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthorized):
        credential(headers)


def test_browser_s_key_is_the_subprotocol_after_bearer() -> None:
    assert offered(["bearer", "ts_x"]) == "ts_x"
    assert offered(["v1", "bearer", "ts_x"]) == "ts_x"
    assert offered(["bearer"]) is None and offered(["v1", "v2"]) is None


def test_network_of_ipv6_is_what_one_caller_has() -> None:
    assert network("2001:db8:1:2:3::4") == network("2001:db8:1:2:ffff::1") != network("2001:db8:1:3::1")
    assert network("::ffff:10.0.0.1") == network("10.0.0.1") != network("10.0.0.2")
