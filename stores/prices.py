"""The polled prices in Redis: hash `price:{provider}:{symbol}` of `price event_us seq trade_id polled_us`.

Never goes back: a price of an earlier (event_us, seq) than the one held is not written. Lives for as long as its
writer says, which is longer than the time to the next poll.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.records import Tick
from stores.redis import RedisReader, translated

_FIELDS = ("price", "event_us", "seq", "trade_id", "polled_us")
_KEEP = """
local held = redis.call('HMGET', KEYS[1], 'event_us', 'seq')
local event, seq = tonumber(ARGV[2]), tonumber(ARGV[3])
if held[1] and (event < tonumber(held[1]) or (event == tonumber(held[1]) and seq < tonumber(held[2]))) then
  return 0
end
redis.call('HSET', KEYS[1], 'price', ARGV[1], 'event_us', ARGV[2], 'seq', ARGV[3], 'trade_id', ARGV[4],
           'polled_us', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 1
"""


@dataclass(frozen=True, slots=True)
class Price:
    """A provider's last known price of a symbol, decimal text; `polled_us` is when it said so last."""

    provider: str
    symbol: str
    price: str
    event_us: int
    seq: int
    trade_id: str | None
    polled_us: int


def price_of(tick: Tick) -> Price:
    """A trade as a polled price."""
    return Price(tick.source, tick.symbol, tick.price or "", tick.event_us, tick.seq, tick.trade_id, tick.received_us)


class Prices(RedisReader):
    """The polled prices, for those who write and those who read them.

    Every call raises StoreUnavailable when Redis has not answered within about `timeout` seconds.
    """

    async def prices(self, asked: Iterable[tuple[str, str]]) -> list[Price]:
        """Those that are held of (provider, symbol), in the order asked for."""
        keys = list(asked)
        with translated():
            async with self._client.pipeline(transaction=False) as pipeline:
                for provider, symbol in keys:
                    pipeline.hmget(_key(provider, symbol), _FIELDS)
                held = await pipeline.execute()
        return [_price(*key, values) for key, values in zip(keys, held, strict=True) if values[0] is not None]

    async def keep(self, prices: Sequence[Price], ttl_seconds: float) -> None:
        """Write prices that are not older than those held."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipeline:
                for price in prices:
                    values = (price.price, price.event_us, price.seq, price.trade_id or "", price.polled_us)
                    key = _key(price.provider, price.symbol)
                    pipeline.eval(_KEEP, 1, key, *values, int(ttl_seconds * 1000))
                await pipeline.execute()


def _key(provider: str, symbol: str) -> str:
    return f"price:{provider}:{symbol}"


def _price(provider: str, symbol: str, values: Sequence[bytes]) -> Price:
    price, event_us, seq, trade_id, polled_us = (value.decode() for value in values)
    return Price(provider, symbol, price, int(event_us), int(seq), trade_id or None, int(polled_us))
