"""What a feed is: one provider's wire formats as pure parsing, and how to ask it for live trades and for history.

A feed holds no connection. `producers.live` owns sockets, `producers.http` owns requests; both drive what is here, and
`python -m producers parse` drives the same `parse` over recorded messages. One file per provider, registered in
`producers.feeds.FEEDS`.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import msgspec

from conf.settings import Settings, variable
from core.errors import InputError, TickstreamError
from core.intervals import DAY_US, MINUTE_US
from core.records import Tick
from producers.symbol_file import aliases_of

if TYPE_CHECKING:
    from producers.http import Http

LENGTHS = {"1m": MINUTE_US, "5m": 5 * MINUTE_US, "15m": 15 * MINUTE_US, "1h": 60 * MINUTE_US, "1d": DAY_US}
"""Interval of a provider's bars -> microseconds."""


class SchemaChanged(TickstreamError):
    """A message of a known type does not have the fields it is known by; the message names provider and field."""

    def __init__(self, provider: str, kind: str, detail: str) -> None:
        super().__init__(f"{provider}: a message of type {kind!r} is not as documented: {detail}")
        self.provider = provider
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Can:
    """What a provider offers: one row of the capability table."""

    trades: bool = False
    """Every trade, not a sampled price."""
    aggregated: bool = False
    """What one order traded at one price comes as one trade: a bar has its volume, and a lower count of trades."""
    live: bool = False
    """Over a socket."""
    history: tuple[str, ...] = ()
    """Of "trades" and "bars", over REST."""
    conditions: bool = False
    """Sale conditions with each trade."""
    corrections: bool = False
    """Corrections and cancels of trades."""
    keyless: bool = False
    counted_ids: bool = False
    """A symbol's trade ids are whole numbers that go up by one, so that a missing one shows."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How many requests a provider allows: `requests` in any `seconds`, and `daily` in a UTC day, None for no limit."""

    requests: int
    seconds: float
    daily: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """What a provider says is wrong in the body of an answer that looks good."""

    text: str
    again: bool
    """Asking again may help."""
    wait: float | None = None
    """Seconds to wait before that, None for the usual pause; more than a minute ends it with QuotaExhausted."""


@dataclass(slots=True)
class Parsed:
    """What one message says."""

    ticks: list[Tick] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    """The provider's own type name -> how many messages, or parts of one, that are no trades."""
    complaint: str = ""
    """The provider's own words where it refuses something."""
    replies: list[str] = field(default_factory=list)
    """What to send now: the subscription, where a provider takes it after the login alone."""
    problems: list[SchemaChanged] = field(default_factory=list)
    """Parts of a message of many that are not as documented: the others are good all the same."""

    def ignore(self, kind: str) -> "Parsed":
        self.ignored[kind] = self.ignored.get(kind, 0) + 1
        return self

    def refused(self, kind: str, words: str) -> "Parsed":
        """Ignored, and with words a complaint."""
        self.complaint = words or self.complaint
        return self.ignore(kind)


class HistoryBar(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's own bar of `[start, end)`, epoch microseconds UTC, amounts as decimal text."""

    symbol: str
    interval: str
    start: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    vwap: str | None = None
    trade_count: int | None = None
    source: str


class Feed(ABC):
    """One provider. To write: `parse`, `symbol_by_rule`, `native_by_rule`, and what `can` promises.

    An instance belongs to one connection or one file: `parse` may remember earlier messages (a cumulative volume, the
    trades of the present millisecond), and a new connection starts with a new instance.
    """

    name: ClassVar[str]
    """Also the `source` of its ticks."""
    also: ClassVar[tuple[str, ...]] = ()
    """Other names it answers to: former names, names of one wire format."""
    can: ClassVar[Can]
    keys: ClassVar[tuple[str, ...]] = ()
    """The fields of `Settings` that hold its credentials."""
    socket_url: ClassVar[str] = ""
    rest_url: ClassVar[str] = ""
    quota: ClassVar[Quota | None] = None
    tape: ClassVar[str] = ""
    """Providers of one tape report the same trades of the same market; "" for a market of its own, and where its
    documentation does not tell."""
    calendar: ClassVar[str] = "24/7"
    """When its markets trade: a calendar of exchange_calendars, or 24/7."""
    silence_seconds: ClassVar[float] = 30.0
    """How long a stream that is open, in a session, may bring nothing at all before it counts as mute."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._natives = aliases_of(self.name, settings.symbol_file)
        self._symbols = {native: symbol for symbol, native in self._natives.items()}

    # Wire format

    @abstractmethod
    def parse(self, message: bytes, received_us: int) -> Parsed:
        """The ticks of one socket message. Unknown types are counted in `ignored`.

        Raises SchemaChanged for a known type without its fields; in a message of many events, when none is good.
        """

    def parse_rest(self, channel: str, message: bytes, received_us: int) -> Parsed:
        """The trades of one recorded answer of the REST interface; `channel` says what was asked for."""
        return Parsed().ignore(channel)

    @abstractmethod
    def symbol_by_rule(self, native: str) -> str:
        """The canonical symbol of the provider's own, by how it writes symbols in general."""

    @abstractmethod
    def native_by_rule(self, symbol: str) -> str:
        """The provider's own symbol of a canonical one, by how it writes symbols in general."""

    def symbol(self, native: str) -> str:
        """The canonical symbol of the provider's own: the symbol master's alias, or the rule."""
        return self._symbols.get(native) or self.symbol_by_rule(native)

    def native(self, symbol: str) -> str:
        """The provider's own symbol of a canonical one: the symbol master's alias, or the rule."""
        return self._natives.get(symbol) or self.native_by_rule(symbol)

    # Live

    def tape_of(self, symbol: str) -> str:
        """The tape of a symbol's trades."""
        return self.tape

    def socket(self, symbols: Sequence[str]) -> str:
        """The address to connect to for these canonical symbols."""
        return self.socket_url

    def headers(self) -> Mapping[str, str]:
        """Request headers of REST, credentials included."""
        return {}

    def socket_headers(self) -> Mapping[str, str]:
        """Request headers of the socket's handshake: no credentials where address or login have them."""
        return {}

    def hello(self, symbols: Sequence[str]) -> list[str]:
        """What to send when the socket is open: the subscription of these canonical symbols, or the login.

        A provider that takes subscriptions only after it has accepted the login gets its own as `Parsed.replies`.
        """
        return []

    def keep_alive(self) -> str | None:
        """What to send every half `silence_seconds` so that the provider keeps the connection, None for nothing."""
        return None

    # History, oldest first, in pages

    def trades(self, http: "Http", symbol: str, start_us: int, end_us: int) -> AsyncIterator[list[Tick]]:
        """Trades of `[start_us, end_us)`."""
        raise InputError(f"{self.name} has no history of trades")

    def trades_by_id(self, http: "Http", symbol: str, first: int, last: int) -> AsyncIterator[list[Tick]]:
        """Trades by id, both ends included; only where ids are counted."""
        raise InputError(f"{self.name} cannot be asked for trades by id")

    def bars(
        self, http: "Http", symbol: str, interval: str, start_us: int, end_us: int
    ) -> AsyncIterator[list[HistoryBar]]:
        """The provider's bars that start in `[start_us, end_us)`; interval is one of LENGTHS."""
        raise InputError(f"{self.name} has no history of bars")

    async def latest(self, http: "Http", symbols: Sequence[str]) -> list[Tick]:
        """The last known trade or price of each symbol that has one."""
        raise InputError(f"{self.name} cannot be asked for its latest prices")

    def problem(self, body: bytes) -> Problem | None:
        """What is wrong according to the body of an answer with a good HTTP status; None for nothing."""
        return None

    # Credentials

    def masked(self, text: str) -> str:
        """A provider's words without our credentials, which some repeat."""
        for name in self.keys:
            if secret := getattr(self.settings, name).get_secret_value():
                text = text.replace(secret, "***")
        return text

    def key(self, place: int = 0) -> str:
        """The credential in `keys[place]`. Raises InputError naming the variable to set."""
        value = getattr(self.settings, self.keys[place]).get_secret_value()
        if not value:
            raise InputError(f"{self.name} needs a key: set {variable(self.keys[place])}")
        return str(value)

    def check_keys(self) -> None:
        """Raise InputError naming the variable of the first credential that is not set."""
        for place in range(len(self.keys)):
            self.key(place)
