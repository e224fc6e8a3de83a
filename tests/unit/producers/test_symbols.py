"""The symbol master: the shipped file, a user's file over it, other spellings, near matches, and the command."""

import argparse
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import exchange_calendars
import pytest

from conf.settings import Settings, load_settings
from core.errors import InputError
from producers import symbols_command
from producers.feeds import FEEDS, feed_named
from producers.feeds.tape import is_pair
from producers.market import TICKERS
from producers.symbols import SymbolInfo, SymbolMaster


@pytest.fixture(scope="module")
def master() -> SymbolMaster:
    return SymbolMaster(Settings())


def user_file(folder: Path, *entries: dict[str, Any], version: int = 1) -> Settings:
    path = folder / "symbols.json"
    path.write_text(json.dumps({"version": version, "symbols": entries}))
    return Settings(symbol_file=path)


def entry(symbol: str, **changes: Any) -> dict[str, Any]:
    return {"symbol": symbol, "asset_class": "stock", "calendar": "XNYS"} | changes


# The shipped file


def test_shipped_symbols_have_calendars_tick_sizes_and_providers_that_exist(master: SymbolMaster) -> None:
    calendars = set(exchange_calendars.get_calendar_names())
    for info in master.all():
        assert info.calendar in calendars, info
        assert info.tick_size is None or Decimal(info.tick_size) > 0, info
        assert set(info.aliases) <= set(FEEDS), info
        assert info.symbol == info.symbol.upper() and info.asset_class != "unknown"
        assert is_pair(info.symbol) == (info.asset_class in ("crypto", "fx")), info


def test_shipped_symbols_are_each_there_once_and_include_the_simulator_s(master: SymbolMaster) -> None:
    lines = json.loads((Path(symbols_command.__file__).parent / "symbols.json").read_text())["symbols"]
    names = [line["symbol"] for line in lines]
    assert len(names) == len(set(names)) == len(master.all())
    assert set(TICKERS) <= set(names)


def test_future_is_known_with_its_calendar_and_what_a_provider_calls_it(master: SymbolMaster) -> None:
    assert master.resolve("GC") == SymbolInfo(
        symbol="GC",
        asset_class="future",
        calendar="CMES",
        tick_size="0.1",
        aliases={"yahoo": "GC=F", "fmp": "GCUSD"},
    )


# Spellings


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        *(
            ("AAPL", "AAPL"),
            (" aapl ", "AAPL"),
            ("btc/usd", "BTC-USD"),
            ("BTC_USDT", "BTC-USDT"),
            ("ethbtc", "ETH-BTC"),
        ),
        *(("GC=F", "GC"), ("BRK-B", "BRK.B"), ("brk.b", "BRK.B"), ("EURUSD", "EUR-USD")),
    ],
)
def test_usual_spellings_lead_to_the_canonical_symbol(master: SymbolMaster, text: str, symbol: str) -> None:
    assert master.resolve(text).symbol == symbol


@pytest.mark.parametrize(("text", "near"), [("APPL", "AAPL"), ("BTC-UDS", "BTC-USD"), ("GOOGLE", "GOOGL")])
def test_unknown_symbol_is_told_with_what_is_near(master: SymbolMaster, text: str, near: str) -> None:
    with pytest.raises(InputError, match=rf"unknown symbol '{text}'; did you mean .*{near}.*TICKSTREAM_SYMBOL_FILE"):
        master.resolve(text)


def test_unknown_symbol_that_is_near_nothing_suggests_nothing(master: SymbolMaster) -> None:
    with pytest.raises(InputError, match=r"^unknown symbol 'QQZZXX' \(more"):
        master.resolve("QQZZXX")


@pytest.mark.parametrize(
    ("text", "symbol", "asset_class", "calendar"),
    [
        ("PEPE-USDT", "PEPE-USDT", "crypto", "24/7"),
        ("chf/jpy", "CHF-JPY", "fx", "24/5"),
        ("EUR-USDT", "EUR-USDT", "crypto", "24/7"),
        ("NEW-COIN", "NEW-COIN", "crypto", "24/7"),
        ("ZZZ", "ZZZ", "stock", "XNYS"),
        ("bf-b", "BF-B", "stock", "XNYS"),
        ("RDS.A", "RDS.A", "stock", "XNYS"),
        ("^GSPC", "^GSPC", "unknown", "24/7"),
        ("-USD", "-USD", "unknown", "24/7"),
    ],
)
def test_not_strict_guesses_from_how_it_is_written(
    master: SymbolMaster, text: str, symbol: str, asset_class: str, calendar: str
) -> None:
    info = master.resolve(text, strict=False)
    assert (info.symbol, info.asset_class, info.calendar, info.tick_size) == (symbol, asset_class, calendar, None)


def test_not_strict_prefers_what_is_known(master: SymbolMaster) -> None:
    assert master.resolve("gc", strict=False).asset_class == "future"


# Providers


@pytest.mark.parametrize(
    ("provider", "symbol", "native"),
    [
        ("yahoo", "GC", "GC=F"),  # an alias
        ("yfinance", "GC", "GC=F"),  # by another name of the provider
        ("yahoo", "EUR-USD", "EURUSD=X"),  # the adapter's rule
        ("twelvedata", "BTC-USD", "BTC/USD"),
        ("finage", "BRK.B", "BRK.B"),
        ("yahoo", "BRK.B", "BRK-B"),
        ("coinbase", "NEW-COIN", "NEW-COIN"),  # not in the master
    ],
)
def test_native_and_back(master: SymbolMaster, provider: str, symbol: str, native: str) -> None:
    assert master.native(provider, symbol) == native
    assert master.canonical(provider, native) == symbol


def test_unknown_provider_is_told(master: SymbolMaster) -> None:
    for ask in (master.native, master.canonical):
        with pytest.raises(InputError, match=r"known: .*yahoo"):
            ask("yaho", "AAPL")


# The user's file


def test_user_s_file_adds_and_replaces(tmp_path: Path) -> None:
    settings = user_file(
        tmp_path,
        entry("SAP", calendar="XETR", tick_size="0.02", aliases={"yahoo": "SAP.DE"}),
        entry("GC", asset_class="future", calendar="us_futures"),
    )
    master = SymbolMaster(settings)
    assert (master.resolve("sap.de").calendar, master.native("yahoo", "SAP")) == ("XETR", "SAP.DE")
    assert master.resolve("GC").calendar == "us_futures" and master.native("yahoo", "GC") == "GC"
    assert master.resolve("AAPL").symbol == "AAPL"


def test_user_s_file_is_a_setting(tmp_path: Path) -> None:
    path = user_file(tmp_path, entry("SAP")).symbol_file
    settings = load_settings({"TICKSTREAM_SYMBOL_FILE": str(path)}, None)
    assert SymbolMaster(settings).resolve("SAP").asset_class == "stock"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"version": 1, "symbols": [{"symbol": "X"}]}', "missing required field `asset_class`"),
        ('{"version": 1, "symbols": [{"symbol": "X", "asset_clas": "stock"}]}', "unknown field `asset_clas`"),
        ('{"version": 1, "symbols": [{"symbol": "X", "asset_class": "bond", "calendar": "24/7"}]}', "bond"),
        ('{"version": 2, "symbols": []}', "version 2"),
        ('{"version": 1', "truncated"),
    ],
)
def test_file_laid_out_otherwise_is_told(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(InputError, match=rf"mine\.json.*{told}"):
        SymbolMaster(Settings(symbol_file=path))


def test_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.json cannot be read: No such file"):
        SymbolMaster(Settings(symbol_file=tmp_path / "gone.json"))


def test_one_alias_for_two_symbols_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="yahoo writes 'GC=F' for both GC and GOLD"):
        SymbolMaster(user_file(tmp_path, entry("GOLD", aliases={"yahoo": "GC=F"})))


# The command


def table(*texts: str, provider: str | None = None) -> list[list[str]]:
    text = symbols_command.run(argparse.Namespace(symbols=list(texts), provider=provider), Settings())
    return [line.split() for line in text.splitlines()]


def test_command_shows_a_row_for_each_text() -> None:
    assert table("btc/usd", "GC", "SOL-USDT") == [
        ["symbol", "class", "calendar", "tick"],
        ["BTC-USD", "crypto", "24/7", "0.01"],
        ["GC", "future", "CMES", "0.1"],
        ["SOL-USDT", "crypto", "24/7", "-"],
    ]


def test_command_shows_what_a_provider_calls_them_and_understands_it() -> None:
    assert [row[-1] for row in table("GC=F", "EUR-USD", "EURUSD=X", "AAPL", provider="yahoo")] == [
        *("yahoo", "GC=F", "EURUSD=X", "EURUSD=X", "AAPL"),
    ]


def test_command_without_texts_shows_all(master: SymbolMaster) -> None:
    assert [row[0] for row in table()[1:]] == [info.symbol for info in master.all()]


def test_command_refuses_an_unknown_symbol_and_an_unknown_provider() -> None:
    with pytest.raises(InputError, match="did you mean AAPL"):
        table("AAPL", "APPL")
    with pytest.raises(InputError, match="unknown provider 'yaho'"):
        table(provider="yaho")


def test_alias_of_the_user_is_what_a_feed_asks_for_and_what_its_ticks_are_called(tmp_path: Path) -> None:
    settings = user_file(tmp_path, entry("BTC-USD", aliases={"coinbase": "BTC-USD-PRO"}))
    feed = feed_named("coinbase")(settings)
    assert '"BTC-USD-PRO"' in feed.hello(["BTC-USD"])[0]
    message = (
        b'{"type":"match","trade_id":1,"product_id":"BTC-USD-PRO","price":"1","size":"1","time":"2024-01-01T00:00:00Z"}'
    )
    assert [tick.symbol for tick in feed.parse(message, 0).ticks] == ["BTC-USD"]
