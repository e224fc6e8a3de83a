"""Several providers for the same symbols: all connected, one of them counted, symbol by symbol, by what they bring.

The others stand by with what they bring kept for a while, so that a change costs nothing: `producers.live.lanes`
decides, this runs the streams.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import structlog

from conf.settings import Settings
from core.clock import Clock, SystemClock
from core.errors import InputError
from core.records import Tick
from producers.feeds import Feed
from producers.http import Turns
from producers.live.backoff import Patience
from producers.live.gaps import Gap, GapLog
from producers.live.lanes import Change, Lane, Seams
from producers.live.route import NoRoute
from producers.live.stream import State, Stream
from stores.gaps import LastTrade, Switch

CHECK_SECONDS = 0.25
_DOWN = {State.WAITING, State.REFUSED, State.MUTE}
_log = structlog.get_logger("producers.live")


class Failover:
    """Ordered providers, the preferred one first. The same interface as one `Stream`.

    A provider that cannot trade a symbol's market at all is no use as a backup: which symbols each has is the caller's
    knowledge. `socket_urls` and `rest_urls` replace addresses, by provider.
    """

    def __init__(
        self,
        kinds: Sequence[type[Feed]],
        symbols: Sequence[str],
        settings: Settings,
        *,
        deliver: Callable[[str, list[Tick]], None],
        gaps: GapLog,
        turns: Turns | None = None,
        on_state: Callable[[str, State], None] = lambda _name, _state: None,
        clock: Clock | None = None,
        patience: Patience | None = None,
        seams: Seams | None = None,
        socket_urls: Mapping[str, str] | None = None,
        rest_urls: Mapping[str, str] | None = None,
    ) -> None:
        names = [kind.name for kind in kinds]
        if len(set(names)) < len(names):
            raise InputError(f"a provider cannot be its own backup: {', '.join(names)}")
        self.changes: list[Change] = []
        feeds = [kind(settings) for kind in kinds]
        self.lanes = {
            symbol: Lane(
                symbol,
                [(feed.name, feed.tape_of(symbol)) for feed in feeds],
                seams or Seams(),
                tolerance_us=settings.future_tolerance_us,
            )
            for symbol in symbols
        }
        self._deliver = deliver
        self._gaps = gaps
        self._on_state = on_state
        self._clock = clock or SystemClock()
        self._patience = patience or Patience()
        self.streams = [
            Stream(
                kind,
                symbols,
                settings,
                deliver=self._take,
                deliver_filled=self._take_filled,
                gaps=gaps,
                turns=turns,
                on_state=self._note_state,
                clock=clock,
                patience=patience,
                socket_url=(socket_urls or {}).get(kind.name),
                rest_url=(rest_urls or {}).get(kind.name),
            )
            for kind in kinds
        ]

    @property
    def state(self) -> State:
        """That of the best off: LIVE while any provider is."""
        states = [stream.state for stream in self.streams]
        return State.LIVE if State.LIVE in states else states[0]

    @property
    def active(self) -> dict[str, str]:
        """By symbol, the provider that counts now."""
        return {symbol: lane.active for symbol, lane in self.lanes.items()}

    def begin_after(self, switches: Sequence[Switch], last: Sequence[LastTrade]) -> None:
        """Whose trades counted until an earlier process ended: its changes of provider, by time, and its last trades.

        What is filled in of that time then counts only where its provider did. Only before `run`.
        """
        for trade in last:
            own = [(each.at_us, each.before, each.after) for each in switches if each.symbol == trade.symbol]
            self.lanes[trade.symbol].begin_after(own, trade.event_us, trade.source)

    async def run(self) -> None:
        """Stream until cancelled.

        Raises NoRoute when no provider can be reached at first. One that cannot is tried again from time to time.
        """
        running = {asyncio.create_task(stream.run()): stream for stream in self.streams}
        never_reached = set[str]()
        checking = asyncio.create_task(self._check_for_ever())
        try:
            while True:
                done, _ = await asyncio.wait([*running, checking], return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    self._ended(task, running, never_reached)
        finally:
            for task in (*running, checking):
                task.cancel()
            await asyncio.gather(*running, checking, return_exceptions=True)

    def _ended(
        self, task: "asyncio.Task[None]", running: "dict[asyncio.Task[None], Stream]", never_reached: set[str]
    ) -> None:
        """Go on without a provider that cannot be reached, as long as there is another one, and try it again later."""
        try:
            task.result()
        except NoRoute as error:
            stream = running.pop(task)
            never_reached.add(stream.name)
            if len(never_reached) == len(self.streams):
                raise
            _log.error("provider left out for now", provider=stream.name, reason=str(error))
            self._mark_down(stream.name, True)
            running[asyncio.create_task(self._run_later(stream))] = stream

    async def _run_later(self, stream: Stream) -> None:
        await asyncio.sleep(self._patience.longest_wait_seconds)
        await stream.run()

    async def _check_for_ever(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            for lane in self.lanes.values():
                self._publish(lane, lane.check(self._clock.now_us()))

    def _take(self, provider: str, ticks: list[Tick], live: bool = True) -> None:
        for symbol, own in groupby(ticks, key=lambda tick: tick.symbol):
            lane = self.lanes.get(symbol)
            if lane is not None:
                self._publish(lane, lane.take(provider, list(own), self._clock.now_us(), live=live))

    def _take_filled(self, provider: str, ticks: list[Tick]) -> None:
        """What REST has, which it has as well while the socket is gone: then it is no sign of life."""
        well = any(stream.name == provider and stream.state is State.LIVE for stream in self.streams)
        self._take(provider, ticks, live=well)

    def _note_state(self, provider: str, state: State) -> None:
        if state in _DOWN:
            self._mark_down(provider, True)
        self._on_state(provider, state)

    def _mark_down(self, provider: str, down: bool) -> None:
        for lane in self.lanes.values():
            self._publish(lane, lane.mark_down(provider, down, self._clock.now_us()))

    def _publish(self, lane: Lane, ticks: list[Tick]) -> None:
        for change in lane.changes:
            self._note_change(change)
        lane.changes.clear()
        for source, own in groupby(ticks, key=lambda tick: tick.source):
            self._deliver(source, list(own))

    def _note_change(self, change: Change) -> None:
        self.changes.append(change)
        _log.warning(
            "provider changed", symbol=change.symbol, before=change.before, after=change.after, cause=change.cause
        )
        now_us = self._clock.now_us()
        begin_us = change.at_us if change.at_us >= 0 else now_us
        number = self._gaps.open(Gap(change.before, change.symbol, "switch", begin_us, max(begin_us, now_us)))
        self._gaps.settle(number, "filled", 0, f"to {change.after}: {change.cause}")
