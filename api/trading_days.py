"""The days of a calendar, as `core.trading_days` has them."""

from core.trading_days import EPOCH, TradingDay, day_of_date, trading_day, trading_days

__all__ = ["EPOCH", "TradingDay", "day_of_date", "trading_day", "trading_days"]
