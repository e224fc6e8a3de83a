"""Roll-ups and sessions as JSON, by `api.models_market`."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from api.analytics import Session
from api.overview import Standing
from api.render import FINAL_STATES, Numeric, decimal_text, time_text
from api.rollup import EXACT, Rollup, change, percent
from api.trading_days import TradingDay

Number = Callable[[Decimal | None], str | float | None]


def number(numeric: Numeric) -> Number:
    """How amounts are written; None stays None."""
    write: Callable[[Decimal], str | float] = decimal_text if numeric == "text" else float
    return lambda value: None if value is None else write(value)


def standing_json(standing: Standing, numeric: Numeric, stale_after: int, now_us: int) -> dict[str, Any]:
    """A row of the overview."""
    show = number(numeric)
    bar, age = standing.bar, standing.age_seconds(now_us)
    moved, moved_percent = standing.change
    return {
        "symbol": standing.symbol,
        "source": standing.source,
        "session": None if standing.day is None else standing.day.date.isoformat(),
        "session_start": None if standing.day is None else time_text(standing.day.start),
        "session_end": None if standing.day is None else time_text(standing.day.end),
        "until": time_text(standing.until_us),
        "price": show(bar.close),
        "price_at": time_text(bar.close_us),
        "age_seconds": age,
        "stale": age is None or age > stale_after,
        "prior_close": show(standing.prior_close),
        "change": show(moved),
        "change_percent": show(moved_percent),
        **_bar(bar, show, close=False),
        "closes": [show(close) for close in standing.closes],
    }


def session_json(
    day: TradingDay,
    bar: Rollup,
    prior_close: Decimal | None,
    numeric: Numeric,
    *,
    bars: int,
    revisions: int,
    volatility: float | None,
    now_us: int,
) -> dict[str, Any]:
    """The figures that one session and a table of sessions share."""
    show = number(numeric)
    moved, moved_percent = change(bar.close, prior_close)
    return {
        "day": day.date.isoformat(),
        "start": time_text(day.start),
        "end": time_text(day.end),
        "is_final": now_us >= day.end,
        "rev": bar.rev,
        "bars": bars,
        **_bar(bar, show),
        "range": show(spread(bar)),
        "prior_close": show(prior_close),
        "change": show(moved),
        "change_percent": show(moved_percent),
        "realised_volatility": volatility,
        "revisions": revisions,
    }


def profile_json(session: Session, numeric: Numeric) -> dict[str, Any]:
    """What only the page of one session shows."""
    show = number(numeric)
    bar, moved = session.bar, spread(session.bar)
    return {
        "forming": session.forming,
        "range_percent": None if moved is None or bar.low is None else show(percent(moved, bar.low)),
        "volume_profile": [
            {
                "low": show(each.low),
                "high": show(each.high),
                "volume": show(each.volume),
                "trade_count": each.trade_count,
            }
            for each in session.by_price
        ],
        "volume_by_time": [
            {
                "start": time_text(each.low),
                "end": time_text(each.high),
                "volume": show(each.volume),
                "trade_count": each.trade_count,
            }
            for each in session.by_time
        ],
        "largest_bars": [
            {
                "start": time_text(row["start"]),
                "end": time_text(row["end"]),
                **{name: show(row[name]) for name in ("close", "vwap", "volume")},
                "trade_count": row["trade_count"],
                "rev": row["rev"],
                "is_final": row["state"] in FINAL_STATES,
            }
            for row in session.largest
        ],
    }


def spread(bar: Rollup) -> Decimal | None:
    """High less low."""
    return None if bar.high is None or bar.low is None else EXACT.subtract(bar.high, bar.low)


def _bar(bar: Rollup, show: Number, *, close: bool = True) -> dict[str, Any]:
    names = ("open", "high", "low", *(("close",) if close else ()), "volume", "notional", "vwap")
    return {name: show(getattr(bar, name)) for name in names} | {"trade_count": bar.trade_count}
