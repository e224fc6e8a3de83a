"""Rate limits: the sum over workers, the price in round trips, and what happens without Redis."""

import asyncio

from api.security.install import rates_of
from api.security.limits import Limiter, Rate
from conf.settings import Settings
from core.errors import StoreUnavailable
from stores.buckets import Taken


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bucket:
    """The bucket of `stores.buckets` in memory, on the test's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, tuple[float, float]] = {}
        self.asked = 0
        self.down = False

    async def take(self, name: str, rate: float, burst: float, want: int) -> Taken:
        self.asked += 1
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable("redis", "gone")
        tokens, at = self._held.get(name, (burst, self._clock.now))
        tokens = min(burst, tokens + (self._clock.now - at) * rate)
        granted = min(want, int(tokens))
        self._held[name] = (tokens - granted, self._clock.now)
        return Taken(granted, tokens - granted)


async def passed(limiter: Limiter, count: int, kind: str = "read", bucket: str = "k") -> int:
    verdicts = await asyncio.gather(*(limiter.spend(kind, bucket) for _ in range(count)))
    return sum(verdict is None or verdict.allowed for verdict in verdicts)


def test_burst_then_rate_over_three_workers_within_a_lease() -> None:
    async def scenario() -> None:
        clock = Clock()
        shared = Bucket(clock)
        workers = [Limiter(shared, {"read": Rate(100, 200)}, clock) for _ in range(3)]
        total = sum([await passed(worker, 150) for worker in workers])
        assert 190 <= total <= 200  # a lease is 10 at most
        for _ in range(100):  # ten seconds, far more asked than given
            clock.now += 0.1
            total += sum([await passed(worker, 20) for worker in workers])
        assert 0.97 * 1200 <= total <= 1200

    asyncio.run(scenario())


def test_busy_caller_costs_a_round_trip_for_many_requests_and_an_idle_one_wastes_nothing() -> None:
    async def scenario() -> None:
        clock = Clock()
        shared = Bucket(clock)
        limiter = Limiter(shared, {"read": Rate(1000, 2000)}, clock)
        for _ in range(1000):
            clock.now += 0.002
            assert await passed(limiter, 1) == 1
        assert shared.asked <= 30
        asked, clock.now = shared.asked, clock.now + 10
        for _ in range(5):
            clock.now += 5
            assert await passed(limiter, 1) == 1
        assert shared.asked == asked + 5
        assert (await shared.take("read:k", 1000, 2000, 0)).left == 1999  # one token each, no lease lost

    asyncio.run(scenario())


def test_refusal_is_remembered_so_a_flood_costs_no_round_trips() -> None:
    async def scenario() -> None:
        clock = Clock()
        shared = Bucket(clock)
        limiter = Limiter(shared, {"write": Rate(1, 2)}, clock)
        assert await passed(limiter, 1000, "write") == 2
        assert shared.asked == 3
        refused = await limiter.spend("write", "k")
        assert refused is not None and not refused.allowed
        assert (refused.limit, refused.remaining, refused.reset) == (2, 0, 2) and 0 < refused.retry_after <= 1
        clock.now += refused.retry_after
        assert await passed(limiter, 5, "write") == 1

    asyncio.run(scenario())


def test_callers_and_kinds_have_buckets_of_their_own_and_memory_is_bounded() -> None:
    async def scenario() -> None:
        clock = Clock()
        limiter = Limiter(Bucket(clock), {"read": Rate(1, 3), "write": Rate(1, 1), "socket": None}, clock)
        assert await passed(limiter, 9, "read", "a") == 3
        assert await passed(limiter, 9, "read", "b") == 3
        assert await passed(limiter, 9, "write", "a") == 1
        assert await passed(limiter, 9, "socket", "a") == 9
        for number in range(11_000):
            await limiter.spend("write", str(number))
        assert len(limiter._leases) <= 10_000

    asyncio.run(scenario())


def test_defaults_hold_once_keys_are_needed_and_what_was_set_holds_always() -> None:
    async def scenario() -> None:
        clock, closed = Clock(), False
        rates = rates_of(Settings(api_write_rate=0.1, api_write_burst=2, api_socket_rate=0))
        limiter = Limiter(Bucket(clock), rates, clock, lambda: closed)
        assert await passed(limiter, 1000, "read") == 1000 and await passed(limiter, 9, "write") == 2
        closed = True
        assert await passed(limiter, 1000, "read") == 400
        assert await passed(limiter, 1000, "socket") == 1000

    asyncio.run(scenario())


def test_redis_down_the_worker_counts_for_itself_and_goes_back() -> None:
    async def scenario() -> None:
        clock = Clock()
        shared = Bucket(clock)
        limiter = Limiter(shared, {"read": Rate(10, 20)}, clock)
        shared.down = True
        assert await passed(limiter, 100) == 20  # neither without limit nor closed
        assert shared.asked == 1  # and nobody waits for Redis again at once
        clock.now += 0.5
        assert await passed(limiter, 100) == 5
        assert shared.asked == 1
        shared.down = False
        clock.now += 1
        assert await passed(limiter, 100) == 20
        assert shared.asked > 1

    asyncio.run(scenario())


def test_remaining_counts_down_and_reset_is_when_the_bucket_is_full() -> None:
    async def scenario() -> None:
        clock = Clock()
        limiter = Limiter(Bucket(clock), {"read": Rate(10, 50)}, clock)
        verdicts = [await limiter.spend("read", "k") for _ in range(50)]
        seen = [verdict.remaining for verdict in verdicts if verdict is not None and verdict.allowed]
        assert seen == list(range(49, -1, -1))
        assert verdicts[-1] is not None and verdicts[-1].reset == 5

    asyncio.run(scenario())
