"""Polygon: what its recorded messages say, field by field."""

import json
from typing import Any

import pytest

from conf.settings import Settings
from core.bars import identity
from core.errors import InputError
from core.records import Tick
from producers.feeds import Parsed, SchemaChanged
from producers.feeds.polygon import Polygon
from tests.feeds import RECEIVED_US, encoded, files_of, needs_messages, parse_file, records, said_to, settings_with_keys

KEY = "polygon_api_key-in-tests"


def polygon() -> Polygon:
    return Polygon(settings_with_keys())


def tick(**fields: Any) -> Tick:
    return Tick(**{"source": "polygon", "received_us": RECEIVED_US} | fields)


def stock(**changes: Any) -> dict[str, Any]:
    event = {"ev": "T", "sym": "MSFT", "x": 4, "i": "12345", "p": 114.125, "s": 100, "t": 1536036818784, "q": 3681328}
    return event | changes


def parsed(*events: object) -> Parsed:
    return polygon().parse(encoded(list(events)), RECEIVED_US)


def one(event: dict[str, Any]) -> Tick:
    (made,) = parsed(event).ticks
    return made


@needs_messages
def test_recorded_stock_trades() -> None:
    assert [made.ticks for made in parse_file(polygon(), "polygon/ws_stocks_t.jsonl")] == [
        [
            tick(
                symbol="MSFT",
                event_us=1536036818784000,
                price="114.125",
                size="100",
                trade_id="20180904-12345",
                seq=3681328,
                venue="4",
                conditions="c:0,12",
            )
        ],
        [
            tick(
                symbol="AAPL",
                event_us=1651684192462000,
                price="161.87",
                size="300",
                trade_id="20220504-5096",
                seq=4009402,
                venue="10",
                conditions="c:14,41",
            )
        ],
        [
            tick(
                symbol="AMZN",
                event_us=1651684192536000,
                price="161.87",
                size="1",
                trade_id="20220504-72815",
                seq=4009408,
                venue="12",
                conditions="c:14,37,41",
            ),
            tick(
                symbol="AMZN",
                event_us=1651684192717000,
                price="161.87",
                size="100",
                trade_id="20220504-799",
                seq=4009434,
                venue="4",
            ),
        ],
    ]


@needs_messages
def test_recorded_option_and_crypto_trades() -> None:
    ((option,), (crypto,)) = [
        parse_file(polygon(), f"polygon/ws_{name}.jsonl")[0].ticks for name in ("options_t", "crypto_xt")
    ]
    assert option == tick(
        symbol="O:AMC210827C00037000",
        event_us=1629820676333000,
        price="1.54",
        size="1",
        trade_id="20210824-q651921857",
        seq=651921857,
        venue="65",
        conditions="c:233",
    )
    assert crypto == tick(
        symbol="BTC-USD",
        event_us=1610462007425000,
        price="33021.9",
        size="0.01616617",
        trade_id="14272084",
        seq=14272084,
        venue="3",
        conditions="c:2",
    )


@needs_messages
def test_recorded_rest_answers_give_last_trades_only() -> None:
    found = {
        record["channel"]: polygon().parse_rest(record["channel"], record["message"], RECEIVED_US).ticks
        for path in files_of(Polygon, "rest")
        for record in records(path)
    }
    assert {channel: ticks for channel, ticks in found.items() if ticks} == {
        "v2_last": [
            tick(
                symbol="AAPL",
                event_us=1651179319310617,  # and 300 ns
                price="166.25",
                size="2",
                trade_id="20220428-237688",
                seq=7084210,
                venue="4:202",
                conditions="c:12,37",
            )
        ],
        "v2_snapshot": [
            tick(
                symbol="AAPL",
                event_us=1651251948294080,
                price="159.99",
                size="200",
                trade_id="20220429-121351",
                seq=121351,
                venue="12",
            )
        ],
    }


def test_identity_takes_exchange_facility_and_day() -> None:
    events = [
        stock(),
        stock(x=5),
        stock(trfi=201),
        stock(trfi=202),
        stock(t=1536036818784 + 86_400_000),
        stock(sym="AAPL"),
        stock(i="12346"),
    ]
    assert len({identity(one(event)) for event in events}) == len(events)
    assert one(stock(trfi=202, trft=1536036818000)).venue == "4:202"
    again = one(stock(p=1, s=2, q=3, t=1536036818999, c=[1], trfi=0))
    assert identity(again) == identity(one(stock())), "what is no part of the identity"


def test_numbers_never_pass_through_a_float() -> None:
    message = encoded([stock()]).replace(b"114.125", b"0.12345678901234567890").replace(b'"s":100', b'"s":1e-7')
    (made,) = polygon().parse(message, RECEIVED_US).ticks
    assert (made.price, made.size) == ("0.1234567890123456789", "0.0000001")


def test_fraction_of_a_share_is_the_size() -> None:
    assert one(stock(s=1, ds="1.250")).size == "1.25"
    assert one(stock(s=0, ds="0.25")).size == "0.25"
    assert one(stock(s=7)).size == "7"


def test_option_without_any_number_goes_by_its_place() -> None:
    bare = {"ev": "T", "sym": "O:SPY241220P00720000", "x": 65, "p": 1.5, "s": 1, "t": 1629820676333}
    first, second = parsed(bare, bare | {"p": 1.6}).ticks
    assert first.trade_id is None and second.trade_id is None
    assert second.seq == first.seq + 1


def test_text_id_without_a_sequence_still_orders() -> None:
    event = {name: value for name, value in stock(i="aA-1").items() if name != "q"}
    made = parsed(event, event | {"i": "aA-2"}).ticks
    assert [each.trade_id for each in made] == ["20180904-aA-1", "20180904-aA-2"]
    assert made[1].seq == made[0].seq + 1


def test_message_of_many_kinds() -> None:
    made = parsed({"ev": "Q", "sym": "MSFT"}, stock(), {"ev": "AM"}, {"ev": "Q"}, {"ev": 5}, stock(i="2"))
    assert [each.trade_id for each in made.ticks] == ["20180904-12345", "20180904-2"]
    assert made.ignored == {"Q": 2, "AM": 1, "unnamed": 1}
    assert made.complaint == ""


@pytest.mark.parametrize("status", ["auth_failed", "error", "max_connections", "auth_timeout"])
def test_refusal_is_a_complaint_without_the_key(status: str) -> None:
    made = parsed({"ev": "status", "status": status, "message": f"no to {KEY}"})
    assert made.complaint == f"{status}: no to ***"
    assert made.ignored == {"status": 1}


@pytest.mark.parametrize("status", ["connected", "auth_success", "success"])
def test_good_status_is_no_complaint(status: str) -> None:
    assert parsed({"ev": "status", "status": status, "message": "subscribed to: T.MSFT"}).complaint == ""


@pytest.mark.parametrize("gone", ["sym", "p", "s", "t", "x"])
def test_missing_field_is_named(gone: str) -> None:
    event = {name: value for name, value in stock().items() if name != gone}
    with pytest.raises(SchemaChanged, match=f"polygon: .*'T'.*`{gone}`"):
        parsed(event)


def test_pair_of_a_crypto_trade_must_be_there() -> None:
    with pytest.raises(SchemaChanged, match="`pair`"):
        parsed({"ev": "XT", "sym": "BTC-USD", "p": 1, "s": 1, "t": 1610462007425, "x": 1})


def test_symbols_both_ways() -> None:
    feed = polygon()
    assert [feed.native(symbol) for symbol in ("AAPL", "BRK.B", "BTC-USD")] == ["AAPL", "BRK.B", "X:BTC-USD"]
    assert [feed.symbol(native) for native in ("X:BTC-USD", "X:ETHBTC", "AAPL", "O:X")] == [
        "BTC-USD",
        "ETH-BTC",
        "AAPL",
        "O:X",
    ]


def test_subscribes_once_the_login_was_accepted_and_not_before() -> None:
    feed = polygon()
    assert [json.loads(text) for text in feed.hello(["AAPL", "MSFT"])] == [{"action": "auth", "params": KEY}]
    for status in ("connected", "auth_failed", "success"):
        assert feed.parse(encoded([{"ev": "status", "status": status}]), RECEIVED_US).replies == []
    accepted = encoded([{"ev": "status", "status": "auth_success", "message": "authenticated"}])
    assert [json.loads(text) for text in feed.parse(accepted, RECEIVED_US).replies] == [
        {"action": "subscribe", "params": "T.AAPL,T.MSFT"},
    ]
    assert feed.parse(accepted, RECEIVED_US).replies == [], "once a connection"
    assert json.loads(said_to(polygon(), ["BTC-USD"])[1])["params"] == "XT.BTC-USD"
    assert polygon().socket_headers() == {}, "the key goes into the login alone"
    with pytest.raises(InputError, match="POLYGON_API_KEY"):
        Polygon(Settings()).hello(["AAPL"])


def test_one_socket_a_market() -> None:
    feed = polygon()
    assert feed.socket(["AAPL", "MSFT"]) == "wss://socket.polygon.io/stocks"
    assert feed.socket(["BTC-USD"]) == "wss://socket.polygon.io/crypto"
    assert feed.socket(["O:AMC210827C00037000"]) == "wss://socket.polygon.io/options"
    with pytest.raises(InputError, match="crypto, stocks"):
        feed.socket(["AAPL", "BTC-USD"])
