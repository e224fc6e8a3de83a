"""Alpaca: what its recorded messages say, field by field."""

import json
from typing import Any

import pytest

from conf.settings import Settings
from core.bars import identity
from core.errors import InputError
from core.records import Tick
from core.validate import check
from producers.feeds import Parsed, SchemaChanged
from producers.feeds.alpaca import Alpaca
from tests.feeds import RECEIVED_US, encoded, files_of, needs_messages, parse_file, records, said_to, settings_with_keys

KEY, SECRET = "alpaca_api_key-in-tests", "alpaca_secret_key-in-tests"
TRADE = {"T": "t", "S": "AAPL", "i": 6142, "x": "V", "p": 177.79, "s": 90, "c": ["@", "I"], "z": "C"}
STAMP = "2021-02-22T15:51:44.208123999Z"
STAMP_US = 1614009104_208_123


def alpaca() -> Alpaca:
    return Alpaca(settings_with_keys())


def tick(**fields: Any) -> Tick:
    return Tick(**{"source": "alpaca", "received_us": RECEIVED_US} | fields)


def parsed(*events: object) -> Parsed:
    return alpaca().parse(encoded(list(events)), RECEIVED_US)


def one(event: dict[str, Any]) -> Tick:
    (made,) = parsed(event).ticks
    return made


# The socket


@needs_messages
def test_recorded_trade_and_cancel() -> None:
    """Their time is the MessagePack placeholder of the recording: ten seconds into 1970, an evening in New York."""
    ((trade,), (cancel,)) = [parse_file(alpaca(), f"alpaca/ws_{name}.jsonl")[0].ticks for name in TRADES_AND_CANCELS]
    assert trade == tick(
        symbol="AAPL",
        event_us=10_000_000,
        price="177.79",
        size="90",
        trade_id="19691231-6142",
        seq=6142,
        venue="V",
        conditions="c:@,I",
    )
    assert cancel == tick(
        symbol="DJT", event_us=10_000_000, trade_id="19691231-4868", seq=4868, venue="D", kind="cancel"
    )


TRADES_AND_CANCELS = ("trades", "cancel_errors")


@needs_messages
def test_other_recorded_messages_are_counted_by_type() -> None:
    others = {
        path.stem: parse_file(alpaca(), f"alpaca/{path.name}")[0]
        for path in files_of(Alpaca, "ws")
        if path.stem.removeprefix("ws_") not in TRADES_AND_CANCELS
    }
    assert {name: made.ignored for name, made in others.items()} == {
        "ws_bars": {"b": 1},
        "ws_orderbooks": {"o": 1},
        "ws_quotes": {"q": 1},
        "ws_statuses": {"s": 1},
    }
    assert not any(made.ticks for made in others.values())


@pytest.mark.parametrize("time", [STAMP, {"seconds": 1614009104, "nanoseconds": 208_123_999}])
def test_nanoseconds_are_cut_in_both_forms_of_time(time: object) -> None:
    made = one(TRADE | {"t": time})
    assert made.event_us == STAMP_US
    assert made.trade_id == "20210222-6142"
    check(made)


@pytest.mark.parametrize("time", ["yesterday", ""])
def test_time_that_is_none_is_told(time: str) -> None:
    with pytest.raises(SchemaChanged, match=r"alpaca: .*`t`"):
        parsed(TRADE | {"t": time})


def test_correction_names_the_original_trade() -> None:
    original = {"T": "t", "S": "DIA", "i": 79372157998682, "x": "D", "p": 349.15, "s": 25000, "c": [" ", "7", "V"]}
    correction = {
        **{"T": "c", "S": "DIA", "x": "D", "oi": 79372157998682, "op": 349.15, "os": 25000, "oc": [" ", "7", "V"]},
        **{"ci": 79372444317008, "cp": 349.1, "cs": 2500, "cc": [" ", "7", "Z", "V"], "z": "B"},
    }
    trade = one(original | {"t": "2021-12-01T19:39:00.1Z", "z": "B"})
    corrected = one(correction | {"t": "2021-12-01T19:42:46.000854652Z"})
    assert corrected == tick(
        symbol="DIA",
        event_us=1638387766_000_854,
        price="349.1",
        size="2500",
        trade_id="20211201-79372157998682",
        seq=79372157998682 % 2**33,
        venue="D",
        conditions="c: ,7,Z,V",
        kind="correct",
    )
    assert identity(corrected) == identity(trade)
    check(corrected)


def test_cancel_names_its_trade_and_no_amount() -> None:
    trade = one(TRADE | {"t": "2024-06-27T13:30:00Z"})
    cancel = one(
        {"T": "x", "S": "AAPL", "i": 6142, "x": "V", "p": 1.5, "s": 2, "a": "C", "z": "C", "t": "2024-06-27T23:59:59Z"}
    )
    assert identity(cancel) == identity(trade)
    assert (cancel.kind, cancel.price, cancel.size, cancel.conditions) == ("cancel", None, None, None)
    check(cancel)


def test_identity_takes_exchange_and_day() -> None:
    events = [TRADE | {"t": STAMP} | change for change in ({}, {"x": "D"}, {"t": "2021-02-23T15:51:44Z"}, {"i": 1})]
    assert len({identity(one(event)) for event in events}) == 4


def test_message_of_many_kinds() -> None:
    made = parsed({"T": "q"}, TRADE | {"t": STAMP}, {"T": "subscription", "trades": ["AAPL"]}, {"T": "q"}, {"T": 3})
    assert [each.price for each in made.ticks] == ["177.79"]
    assert made.ignored == {"q": 2, "subscription": 1, "unnamed": 1}
    assert made.complaint == ""


def test_refusal_is_a_complaint_without_the_keys() -> None:
    made = parsed({"T": "success", "msg": "connected"}, {"T": "error", "code": 402, "msg": f"no to {KEY} or {SECRET}"})
    assert made.complaint == "402 no to *** or ***"
    assert made.ignored == {"success": 1, "error": 1}
    assert parsed({"T": "success", "msg": "authenticated"}).complaint == ""


@pytest.mark.parametrize("gone", ["S", "i", "p", "s", "t"])
def test_missing_field_is_named(gone: str) -> None:
    event = {name: value for name, value in (TRADE | {"t": STAMP}).items() if name != gone}
    with pytest.raises(SchemaChanged, match=f"alpaca: .*`{gone}`"):
        parsed(event)


def test_numbers_never_pass_through_a_float() -> None:
    message = encoded([TRADE | {"t": STAMP}]).replace(b"177.79", b"177.7900000000000001")
    assert alpaca().parse(message, RECEIVED_US).ticks[0].price == "177.7900000000000001"


def test_subscribes_once_the_login_was_accepted_and_not_before() -> None:
    feed = alpaca()
    hello = [json.loads(text) for text in feed.hello(["AAPL", "BRK.B"])]
    assert hello == [{"action": "auth", "key": KEY, "secret": SECRET}]
    for event in ({"T": "success", "msg": "connected"}, {"T": "error", "code": 402, "msg": "auth failed"}):
        assert feed.parse(encoded([event]), RECEIVED_US).replies == []
    accepted = encoded([{"T": "success", "msg": "authenticated"}])
    assert [json.loads(text) for text in feed.parse(accepted, RECEIVED_US).replies] == [
        {"action": "subscribe", "trades": ["AAPL", "BRK.B"]},
    ]
    assert feed.parse(accepted, RECEIVED_US).replies == [], "once a connection"
    assert json.loads(said_to(alpaca(), ["BTC-USD"])[1])["trades"] == ["BTC/USD"]
    assert alpaca().socket_headers() == {}, "with keys in the handshake too, the login would be the second one: refused"
    with pytest.raises(InputError, match="ALPACA_API_KEY"):
        Alpaca(Settings()).hello(["AAPL"])


def test_one_socket_for_stocks_and_one_for_crypto() -> None:
    feed = alpaca()
    assert feed.socket(["AAPL", "MSFT"]) == "wss://stream.data.alpaca.markets/v2/iex"
    assert feed.socket(["BTC-USD"]) == "wss://stream.data.alpaca.markets/v1beta3/crypto/us"
    with pytest.raises(InputError, match="apart"):
        feed.socket(["AAPL", "BTC-USD"])


# Answers


@needs_messages
def test_recorded_trades_of_stocks() -> None:
    found = [rest_ticks("stock_trades", message) for message in rest_messages("stock_trades")]
    apple = {"symbol": "AAPL", "venue": "D", "conditions": "c:@,T,I"}
    tesla = apple | {"symbol": "TSLA"}
    first = tick(**apple, event_us=1646802002_183_000, price="159.07", size="1", trade_id="20220309-151", seq=151)
    latest = tick(
        **apple | {"conditions": "c:@"},
        **{"event_us": 1647612129_722_539, "price": "161.2958", "size": "100"},
        **{"trade_id": "20220318-22730", "seq": 22730},
    )
    assert found[:6] == [
        [
            first,
            tick(**apple, event_us=1646802016_910_000, price="159.07", size="2", trade_id="20220309-168", seq=168),
        ],
        [
            first,
            tick(**tesla, event_us=1646802483_035_000, price="833", size="1", trade_id="20220309-145", seq=145),
        ],
        [],
        [latest],
        [
            latest,
            tick(
                **{"symbol": "TSLA", "venue": "V", "conditions": "c:@", "event_us": 1657915199_405_545},
                **{"price": "720.19", "size": "100", "trade_id": "20220715-11017", "seq": 11017},
            ),
        ],
        [],
    ]
    captured = [(each.event_us, each.price, each.size, each.trade_id, each.conditions) for each in found[6]]
    assert captured == [
        (1634112000_089_607, "140.2", "595", "20211013-1", "c:@,T"),
        (1634112001_024_327, "140.1", "6", "20211013-2", "c:@,T,I"),
        (1634112001_447_670, "140.1", "92", "20211013-3", "c:@,F,T,I"),
        (1634112001_447_670, "140", "2", "20211013-4", "c:@,F,T,I"),
        (1634112001_447_670, "140", "29", "20211013-5", "c:@,F,T,I"),
    ]
    assert {each.venue for each in found[6]} == {"P"}


@needs_messages
def test_recorded_trades_of_crypto() -> None:
    found = [made for message in rest_messages("crypto_trades") for made in rest_ticks("crypto_trades", message)]
    bitcoin, ether = {"symbol": "BTC-USD", "venue": "alpaca"}, {"symbol": "ETH-USD", "venue": "alpaca"}
    assert found == [
        tick(
            **bitcoin,
            **{"event_us": 1646805600_080_264, "price": "41516.08", "size": "0.00315427"},
            **{"trade_id": "293648598", "seq": 293648598},
        ),
        tick(**ether, event_us=1646805600_228_546, price="2715.06", size="0.001", trade_id="236866246", seq=236866246),
        tick(**bitcoin, event_us=1647612211_960_672, price="40650", size="0.1517", trade_id="26932440", seq=26932440),
    ]


@needs_messages
def test_recorded_snapshots_have_their_latest_trades() -> None:
    (crypto,), (stock, empty) = rest_messages("crypto_snapshots"), rest_messages("stock_snapshot")
    assert [(made.symbol, made.price, made.trade_id) for made in rest_ticks("crypto_snapshots", crypto)] == [
        ("ETH-USD", "3373.04", "247644006"),
        ("BTC-USD", "47537.64", "304775291"),
    ]
    assert rest_ticks("stock_snapshot", stock) == [
        tick(
            symbol="AAPL",
            event_us=1647614038_448_432,
            price="161.1998",
            size="200",
            trade_id="20220318-39884",
            seq=39884,
            venue="D",
            conditions="c:@",
        )
    ]
    assert alpaca().parse_rest("stock_snapshot", empty, RECEIVED_US).ignored == {"stock_snapshot": 1}


def rest_messages(channel: str) -> list[bytes]:
    (path,) = files_of(Alpaca, f"rest_{channel}")
    return [record["message"] for record in records(path)]


def rest_ticks(channel: str, message: bytes) -> list[Tick]:
    return alpaca().parse_rest(channel, message, RECEIVED_US).ticks
