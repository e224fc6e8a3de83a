"""What becomes of polled prices: the new ones go to the topic `ticks`, all of them to Redis for readers."""

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from msgspec.structs import replace

from core.clock import Clock, SystemClock
from core.errors import PublishError, StoreUnavailable
from core.records import Tick
from producers.heartbeat import Heartbeat
from producers.publish import Publisher
from stores.prices import Price, Prices, price_of

SOURCE = "poll"  # of the heartbeats; a tick's source is its provider
TTL_INTERVALS = 3  # a price outlives a poll or two that fail
_log = structlog.get_logger("producers.polled")

Key = tuple[str, str]  # provider, symbol


@dataclass(frozen=True, slots=True)
class Taken:
    """How many ticks of a poll were news, and what else there is to say, empty for nothing."""

    published: int
    note: str


def news(tick: Tick, held: Price | None) -> Tick | None:
    """The tick if it says more than the price held, else None: polls repeat themselves until somebody trades.

    An earlier price than the one held comes from a cache that lags, and is no news. Where trades have no id, the price
    may change within the provider's resolution of time: such a tick gets the next `seq`, and so does its repeat when a
    worker that forgot it asks again.
    """
    if held is None or tick.event_us > held.event_us:
        return tick
    if tick.event_us < held.event_us:
        return None
    if tick.trade_id is not None and held.trade_id is not None:
        return tick if tick.trade_id != held.trade_id and tick.seq >= held.seq else None
    return None if tick.price == held.price else replace(tick, seq=max(tick.seq, held.seq + 1))


class PolledPrices:
    """The way of polled ticks to topic and Redis. `ttl_seconds` is the least lifetime of a price in Redis.

    A worker that is killed between the two publishes the tick again, under the same identity.
    """

    def __init__(self, publisher: Publisher, prices: Prices, ttl_seconds: float, clock: Clock | None = None) -> None:
        self._publisher = publisher
        self._prices = prices
        self._ttl = ttl_seconds
        self._clock = clock or SystemClock()
        self._heartbeat = Heartbeat(publisher, SOURCE)
        self._held: dict[Key, Price] = {}
        self._refused: dict[Key, tuple[int, str | None]] = {}
        # One at a time: the publisher reports a failure to whoever flushes next, who must be the one it belongs to.
        self._publishing = asyncio.Lock()

    async def take(self, ticks: Sequence[Tick], interval_seconds: float) -> Taken:
        """Publish what is new, acknowledged by the broker, then keep the prices.

        Raises PublishError, after which the same ticks are news again.
        """
        async with self._publishing:
            await self._recall(ticks)
            fresh = [found for tick in ticks if (found := self._news(tick))]
            sent = [tick for tick in fresh if self._publisher.send(tick)]
            if fresh:
                await asyncio.to_thread(self._publisher.flush)
            self._refused |= {_key(tick): (tick.event_us, tick.price) for tick in fresh if tick not in sent}
            self._held |= {_key(tick): price_of(tick) for tick in sent}
        refused = sorted(tick.symbol for tick in ticks if self._is_refused(tick))
        notes = [f"refused as no tick, see ticks.dead: {', '.join(refused)}"] if refused else []
        polled = {_key(tick): tick.received_us for tick in ticks if not self._is_refused(tick)}
        shown = [dataclasses.replace(self._held[key], polled_us=at) for key, at in polled.items() if key in self._held]
        notes += await self._keep(shown, max(self._ttl, TTL_INTERVALS * interval_seconds))
        return Taken(len(sent), "; ".join(notes))

    async def beat(self, event_us: int) -> None:
        """Say, once a second, that event time has reached `event_us`."""
        async with self._publishing:
            try:
                self._heartbeat.beat_if_due(event_us, self._clock.now_us())
                self._publisher.poll()
            except PublishError as error:
                _log.warning("heartbeats lost", error=str(error))

    def _news(self, tick: Tick) -> Tick | None:
        return None if self._is_refused(tick) else news(tick, self._held.get(_key(tick)))

    def _is_refused(self, tick: Tick) -> bool:
        return self._refused.get(_key(tick)) == (tick.event_us, tick.price)

    async def _recall(self, ticks: Sequence[Tick]) -> None:
        """What Redis holds that is newer than what this worker remembers: another one may have polled since."""
        try:
            found = await self._prices.prices([_key(tick) for tick in ticks])
        except StoreUnavailable as error:
            _log.warning("going by memory", error=str(error))
            return
        for price in found:
            held = self._held.get((price.provider, price.symbol))
            if held is None or (price.event_us, price.seq) > (held.event_us, held.seq):
                self._held[price.provider, price.symbol] = price

    async def _keep(self, prices: Sequence[Price], ttl_seconds: float) -> list[str]:
        try:
            await self._prices.keep(prices, ttl_seconds)
        except StoreUnavailable as error:
            return [f"published, but not shown: {error}"]
        return []


def _key(tick: Tick) -> Key:
    return tick.source, tick.symbol
