"""Indicators as text: `rsi:14`, `macd:12,26,9`, `15m=sma:200`; and the names of their columns."""

import re
from dataclasses import fields

from core.errors import InputError
from core.indicators.base import Indicator, Limits
from core.indicators.registry import INDICATORS
from core.intervals import DAILY, INTERVALS

_INTERVALS = (*INTERVALS, DAILY)
_WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)


def parse(text: str) -> Indicator:
    """The indicator of a spec `name` or `name:parameter,...`; parameters left out at the end take their defaults.

    Raises InputError that names the known indicators or the allowed range.
    """
    if "=" in text:
        raise InputError(f"{text.strip()}: a spec for one interval only has its place in TICKSTREAM_INDICATORS alone")
    name, colon, parameters = text.strip().partition(":")
    if name not in INDICATORS:
        raise InputError(f"unknown indicator {name!r}; known: {', '.join(INDICATORS)}")
    kind = INDICATORS[name]
    given = parameters.split(",") if colon else []
    allowed = [item.name for item in fields(kind)]
    if len(given) > len(allowed):
        raise InputError(f"{name} takes {_form(name, allowed)}, not {text.strip()}")
    limits = [item.metadata["limits"] for item in fields(kind)]
    values = [_number(name, *pair) for pair in zip(allowed, limits, given, strict=False)]
    return kind(*values)


def parse_all(text: str) -> tuple[Indicator, ...]:
    """The indicators of specs separated by spaces or `;`, in the order given and without repeats."""
    return tuple(dict.fromkeys(parse(part) for part in _parts(text)))


def parse_configured(text: str) -> dict[str, tuple[Indicator, ...]]:
    """The indicators of every known interval: a plain spec holds for all of them, `15m=sma:200` for that one only.

    In the order given and without repeats. Raises InputError as `parse`, and for an unknown interval.
    """
    chosen: dict[str, dict[Indicator, None]] = {name: {} for name in _INTERVALS}
    for part in _parts(text):
        interval, only_there, spec = part.rpartition("=")
        names = [_known_interval(interval, part)] if only_there else list(_INTERVALS)
        indicator = parse(spec)
        for name in names:
            chosen[name][indicator] = None
    return {name: tuple(indicators) for name, indicators in chosen.items()}


def for_interval(text: str, interval: str) -> tuple[Indicator, ...]:
    """The indicators that `parse_configured` finds for one interval."""
    return parse_configured(text)[_known_interval(interval)]


def column(spec: str | Indicator, output: str) -> str:
    """The name of an output's column: `rsi_14`, `macd_12_26_9`, `macd_12_26_9_signal`, `bbands_20_2_upper`."""
    indicator = parse(spec) if isinstance(spec, str) else spec
    if output not in indicator.outputs:
        raise InputError(f"{indicator.name} has no output {output!r}; it has: {', '.join(indicator.outputs)}")
    stem = indicator.spec.replace(":", "_").replace(",", "_")
    return stem if output == indicator.name else f"{stem}_{output}"


def columns_of(indicator: Indicator) -> tuple[str, ...]:
    """The names of all its columns, in the order of its outputs."""
    return tuple(column(indicator, output) for output in indicator.outputs)


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"[\s;]+", text) if part]


def _known_interval(name: str, part: str = "") -> str:
    if name not in _INTERVALS:
        where = f" in {part}" if part else ""
        raise InputError(f"unknown interval {name!r}{where}; known: {', '.join(_INTERVALS)}")
    return name


def _number(name: str, parameter: str, limits: Limits, text: str) -> float:
    whole = limits.kind is int
    if not (_WHOLE if whole else _DECIMAL).fullmatch(text.strip()):
        what = "a whole number" if whole else "a number"
        raise InputError(
            f"{name}: {parameter} must be {what} between {limits.low:g} and {limits.high:g}, not {text.strip()!r}"
        )
    return limits.kind(text)


def _form(name: str, parameters: list[str]) -> str:
    return f"{name}:{','.join(parameters)}" if parameters else "no parameters"
