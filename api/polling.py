"""What a polling job may be: the request, and whether its provider's key and quota allow it."""

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator

from api.params import NumericQuery
from conf.providers import PROVIDERS, Provider, provider_named, with_latest
from conf.settings import Settings
from core.errors import InputError
from core.validate import SYMBOL_PATTERN
from stores.requests import MARGIN_SECONDS

MAX_SYMBOLS = 100
MIN_SECONDS = 1.0
MAX_SECONDS = 7 * 86_400.0
_INTERVAL = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def interval_seconds(value: object) -> float:
    """Seconds of a number, or of text such as `60s`, `5m`, `1h`, `1d`; ValueError says what is wrong with it.

    >>> interval_seconds("5m"), interval_seconds(60)
    (300.0, 60.0)
    """
    match = _INTERVAL.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None:
        seconds = float(match[1]) * _UNITS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value) if abs(value) <= MAX_SECONDS else math.inf
    else:
        raise ValueError("not a number of seconds, nor text such as 60s, 5m or 1h")
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise ValueError("an interval is at least 1s and at most 7d")
    return seconds


def _known_provider(name: str) -> str:
    try:
        return provider_named(name).name
    except InputError as error:
        raise ValueError(str(error)) from None


ProviderName = Annotated[
    str, AfterValidator(_known_provider), WithJsonSchema({"type": "string", "enum": sorted(PROVIDERS)})
]
SymbolText = Annotated[str, Field(pattern=rf"^{SYMBOL_PATTERN}$", examples=["BTC-USD"])]
Seconds = Annotated[
    float,
    BeforeValidator(interval_seconds),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": MIN_SECONDS, "maximum": MAX_SECONDS},
                {"type": "string", "pattern": r"^\d{1,9}(\.\d{1,3})?\s*[smhd]$"},
            ],
            "description": "seconds, or text such as `60s`, `5m`, `1h`; at least 1s, and as much as the provider's"
            " quota needs for so many symbols",
        }
    ),
]


class PollRequest(BaseModel):
    """What to poll."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [{"symbols": ["BTC-USD", "ETH-USD"], "interval": "60s", "provider": "coinbase"}]
        },
    )

    symbols: list[SymbolText] = Field(
        min_length=1, max_length=MAX_SYMBOLS, description="canonical symbols; one named twice counts once"
    )
    interval: Seconds
    provider: ProviderName

    @field_validator("symbols")
    @classmethod
    def _once(cls, symbols: list[str]) -> list[str]:
        return list(dict.fromkeys(symbols))


class PriceQuery(NumericQuery):
    """Whose latest price."""

    symbol: SymbolText
    provider: ProviderName | None = Field(
        None, description="as polled from this provider; missing: the pipeline's own price"
    )


def check_possible(request: PollRequest, settings: Settings) -> Provider:
    """The provider. Raises RequestValidationError where it, or a symbol, cannot be polled with these settings."""
    provider = PROVIDERS[request.provider]
    if not provider.latest:
        can = ", ".join(with_latest())
        raise refused("provider", f"{provider.name} cannot be asked for latest prices; those that can: {can}", provider)
    if missing := provider.missing(settings):
        raise refused("provider", f"{provider.name} needs a key: set {' and '.join(missing)}", provider)
    known = settings.known_symbols
    if known is not None and (unknown := [symbol for symbol in request.symbols if symbol not in known]):
        raise refused("symbols", f"not in TICKSTREAM_SYMBOLS: {', '.join(unknown)}", provider)
    return provider


def check_quota(request: PollRequest, provider: Provider, load: Iterable[tuple[int, float]]) -> None:
    """Raise RequestValidationError where the interval is below what the quota leaves.

    `load` is of the provider's active jobs: how many symbols, every how many seconds.
    """
    count = len(request.symbols)
    least = least_interval(provider, count, load)
    if request.interval >= least:
        return
    what = f"{count} symbol{'s' if count > 1 else ''} of {provider.name} every {request.interval:g}s"
    why = f"{what} is more than its quota leaves ({_quota(provider)}, less what other jobs use)"
    if least <= MAX_SECONDS:
        raise refused("interval", f"{why}; the least that works is {least:g}s", provider, least=least)
    raise refused("interval", f"{why}; no interval works: poll fewer symbols, or delete other jobs", provider)


def least_interval(provider: Provider, symbols: int, load: Iterable[tuple[int, float]]) -> float:
    """Whole seconds, the least that works beside other jobs; infinity for none."""
    used = sum(provider.requests_for(count) / seconds for count, seconds in load)
    left = provider.requests_a_second(MARGIN_SECONDS) - used
    return max(MIN_SECONDS, math.ceil(provider.requests_for(symbols) / left - 1e-9)) if left > 1e-12 else math.inf


def refused(field: str, message: str, provider: Provider, **limits: Any) -> RequestValidationError:
    """The error of a field of the body."""
    limits |= {"provider": provider.name}
    return RequestValidationError([{"type": "value_error", "loc": ("body", field), "msg": message, "ctx": limits}])


def _quota(provider: Provider) -> str:
    quota = f"{provider.requests} request{'s' if provider.requests > 1 else ''} in {provider.seconds:g}s"
    return quota if provider.daily is None else f"{quota}, {provider.daily} a day"
