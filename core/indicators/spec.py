"""Indicators as text: `rsi:14`, `macd:12,26,9`; and the names of their columns."""

import re
from dataclasses import fields

from core.errors import InputError
from core.indicators.base import Indicator, Limits
from core.indicators.registry import INDICATORS

_WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)


def parse(text: str) -> Indicator:
    """The indicator of a spec `name` or `name:parameter,...`; parameters left out at the end take their defaults.

    Raises InputError that names the known indicators or the allowed range.
    """
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
    return tuple(dict.fromkeys(parse(part) for part in re.split(r"[\s;]+", text) if part))


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
