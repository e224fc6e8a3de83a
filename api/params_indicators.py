"""What requests may say of indicators: which ones, with which parameters."""

from dataclasses import fields
from inspect import getdoc
from typing import Annotated

from fastapi import Query
from pydantic import Field, ValidationInfo, field_validator

from api.params import BarRange, FormatQuery, IntervalQuery
from core.errors import InputError
from core.indicators import INDICATORS, Indicator, for_interval, parse_all
from core.indicators.base import number_text


def _registered() -> str:
    """Every registered indicator, as a list in Markdown."""
    return "\n".join(f"- {_described(kind)}" for kind in INDICATORS.values())


def _described(kind: type[Indicator]) -> str:
    """Spec, the names of the parameters with their defaults, and the first paragraph on it."""
    usual = kind()
    parameters = ", ".join(f"{item.name}={number_text(getattr(usual, item.name))}" for item in fields(kind))
    about = " ".join((getdoc(kind) or "").partition("\n\n")[0].split())
    return f"`{usual.spec}`{f' ({parameters})' if parameters else ''}: {about}"


class IndicatorChoice(IntervalQuery):
    """Which indicators of which bars."""

    type: str | None = Field(
        None,
        description="an indicator with its parameters, `macd:12,26,9`, or its name alone; several are separated by `;`;"
        f" missing: the configured set. With their defaults there are\n\n{_registered()}",
        examples=["rsi", "rsi:14", "sma:20;sma:50"],
    )
    period: int | None = Field(None, description="the first parameter of a `type` without parameters")

    @field_validator("type")
    @classmethod
    def _known_type(cls, text: str | None) -> str | None:
        if text is not None and not _indicators(text):
            raise ValueError("names no indicator")
        return text

    @field_validator("period")
    @classmethod
    def _fits_type(cls, period: int | None, info: ValidationInfo) -> int | None:
        text = info.data.get("type")
        if period is None or "type" not in info.data:
            return period
        if text is None or ":" in text or ";" in text:
            raise ValueError("period goes with one type that has no parameters of its own, such as type=rsi")
        _indicators(f"{text}:{period}")
        return period

    def indicators(self, configured: str) -> tuple[Indicator, ...]:
        """Those asked for, else the configured ones of the interval. Raises InputError if there are none."""
        if self.type is None:
            chosen = for_interval(configured, self.interval)
            if not chosen:
                raise InputError(f"no indicator is configured for {self.interval} bars; name one, such as type=rsi")
            return chosen
        return parse_all(self.type if self.period is None else f"{self.type}:{self.period}")


class IndicatorsQuery(BarRange, IndicatorChoice, FormatQuery):
    """A range of bars, and indicators."""


class NewestIndicatorsQuery(IndicatorChoice, FormatQuery):
    """Indicators of the newest bar."""


def _indicators(text: str) -> tuple[Indicator, ...]:
    try:
        return parse_all(text)
    except InputError as error:
        raise ValueError(str(error)) from None


IndicatorParams = Annotated[NewestIndicatorsQuery, Query()]
IndicatorsParams = Annotated[IndicatorsQuery, Query()]
