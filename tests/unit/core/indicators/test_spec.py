import pytest

from core.errors import InputError
from core.indicators import INDICATORS, column, columns_of, parse, parse_all
from core.indicators.averages import Sma


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("rsi", "rsi:14"),
        ("rsi:14", "rsi:14"),
        (" rsi:7 ", "rsi:7"),
        ("rsi:007", "rsi:7"),
        ("macd", "macd:12,26,9"),
        ("macd:5", "macd:5,26,9"),
        ("macd:5, 8", "macd:5,8,9"),
        ("bbands:20,2.0", "bbands:20,2"),
        ("bbands:20,2.5", "bbands:20,2.5"),
        ("bbands:20,0.05", "bbands:20,0.05"),
        ("stoch", "stoch:14,3,3"),
        ("vwap", "vwap"),
    ],
)
def test_parse_gives_canonical_spec(text: str, spec: str) -> None:
    assert parse(text).spec == str(parse(text)) == spec
    assert parse(spec) == parse(text)


@pytest.mark.parametrize("name", INDICATORS)
def test_spec_of_every_indicator_parses_to_itself(name: str) -> None:
    indicator = INDICATORS[name]()
    assert parse(indicator.spec) == indicator == parse(name)
    assert hash(parse(name)) == hash(indicator)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown indicator ''; known: sma, ema, "),
        ("RSI", "unknown indicator 'RSI'"),
        ("foo:3", "unknown indicator 'foo'; known: .*obv"),
        ("rsi:", "rsi: length must be a whole number between 1 and 5000, not ''"),
        ("rsi:0", "rsi: length must be a whole number between 1 and 5000, not 0"),
        ("rsi:5001", "between 1 and 5000, not 5001"),
        ("rsi:-3", "not '-3'"),
        ("rsi:14.5", "a whole number between 1 and 5000, not '14.5'"),
        ("rsi:1_4", "not '1_4'"),
        ("rsi:١٤", "whole number"),
        ("rsi:99999999999999999999", "whole number"),
        ("rsi:14,3", "rsi takes rsi:length, not rsi:14,3"),
        ("vwap:3", "vwap takes no parameters, not vwap:3"),
        ("vwap:", "vwap takes no parameters"),
        ("bbands:1", "bbands: length must be a whole number between 2 and 5000, not 1"),
        ("bbands:20,nan", "bbands: k must be a number between 0.01 and 100, not 'nan'"),
        ("bbands:20,1e3", "not '1e3'"),
        ("bbands:20,0", "between 0.01 and 100, not 0"),
        ("zscore:1", "between 2 and 5000"),
        ("rvol:1", "between 2 and 5000"),
        ("macd:26,12,9", "macd: fast must be below slow, not 26 and 12"),
        ("macd:12,12,9", "fast must be below slow"),
    ],
)
def test_parse_wrong_spec_says_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [0, 2.5, "5", True, None, float("nan")])
def test_direct_construction_checks_too(length: object) -> None:
    with pytest.raises(InputError, match="sma: length must be a whole number"):
        Sma(length)  # type: ignore[arg-type]


def test_parse_all_splits_at_spaces_and_semicolons() -> None:
    found = parse_all(" sma:5 sma:20;rsi ; rsi:14\n")
    assert [indicator.spec for indicator in found] == ["sma:5", "sma:20", "rsi:14"]
    assert parse_all("") == ()


@pytest.mark.parametrize(
    ("spec", "columns"),
    [
        ("rsi:14", ("rsi_14",)),
        ("macd", ("macd_12_26_9", "macd_12_26_9_signal", "macd_12_26_9_hist")),
        ("bbands:20,2", ("bbands_20_2_upper", "bbands_20_2_middle", "bbands_20_2_lower")),
        ("bbands:20,2.5", ("bbands_20_2.5_upper", "bbands_20_2.5_middle", "bbands_20_2.5_lower")),
        ("stoch", ("stoch_14_3_3_k", "stoch_14_3_3_d")),
        ("vwap", ("vwap",)),
        ("obv", ("obv",)),
    ],
)
def test_columns_carry_name_parameters_and_output(spec: str, columns: tuple[str, ...]) -> None:
    assert columns_of(parse(spec)) == columns == tuple(column(spec, output) for output in parse(spec).outputs)


def test_column_of_unknown_output_names_the_known() -> None:
    with pytest.raises(InputError, match="bbands has no output 'top'; it has: upper, middle, lower"):
        column("bbands", "top")
