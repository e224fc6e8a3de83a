"""Numbers of the pipeline page for people."""


def millis(value: float | None) -> str:
    """Milliseconds, or seconds from one second on.

    >>> millis(0.04), millis(7.673), millis(45.3), millis(44915.4), millis(-3.21), millis(None)
    ('0.0 ms', '7.7 ms', '45 ms', '44.9 s', '-3.2 ms', '–')
    """
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{value / 1000:.1f} s"
    return f"{value:.1f} ms" if abs(value) < 10 else f"{value:.0f} ms"


def duration(seconds: float) -> str:
    """Seconds in the two largest units.

    >>> duration(0.31), duration(12.4), duration(75), duration(7320), duration(200000)
    ('0.3 s', '12 s', '1 min 15 s', '2 h 2 min', '2 d 7 h')
    """
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    for size, unit, part, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {smaller}"
    return f"{whole} s"


def ago(seconds: float) -> str:
    """
    >>> ago(0.2), ago(95)
    ('now', '1 min 35 s ago')
    """
    return "now" if seconds < 1 else f"{duration(seconds)} ago"


def count(value: float | None) -> str:
    """A whole number with thousands apart.

    >>> count(1234567), count(None)
    ('1,234,567', '–')
    """
    return "–" if value is None else f"{value:,.0f}"


def rate(value: float) -> str:
    """Something a second.

    >>> rate(200.02), rate(12.345), rate(0.3333), rate(15000), rate(0)
    ('200/s', '12.3/s', '0.33/s', '15,000/s', '0/s')
    """
    if value == 0:
        return "0/s"
    return f"{value:,.0f}/s" if value >= 100 else f"{value:.1f}/s" if value >= 1 else f"{value:.2f}/s"


def plural(value: int, noun: str) -> str:
    """
    >>> plural(1, "tick"), plural(1200, "tick")
    ('1 tick', '1,200 ticks')
    """
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"
