"""Types of command-line options, each naming what is wrong with a value."""

import argparse
from collections.abc import Callable, Sequence


def counts(text: str) -> list[int]:
    """`"1000,10000"` as whole numbers of at least 1."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 1000,10000") from None
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: each must be at least 1")
    return found


def count(text: str) -> int:
    """A whole number of at least 1."""
    found = counts(text)
    if len(found) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not one number")
    return found[0]


def positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def names_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """A type for a comma-separated list of some of `known`."""

    def names(text: str) -> list[str]:
        found = list(dict.fromkeys(part.strip() for part in text.split(",")))
        unknown = [name for name in found if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; known: {', '.join(known)}")
        return found

    return names
