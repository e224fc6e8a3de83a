"""One provider's live stream of some symbols: connected for ever, nothing delivered twice, no gap unnoticed."""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum

import structlog

from conf.settings import Settings
from core.clock import Clock, SystemClock
from core.records import Tick
from metrics.stages import STAGES
from producers.feeds.base import Feed, Parsed, SchemaChanged
from producers.history.sessions import calendar_of
from producers.http import Turns
from producers.live.backoff import Patience, pause_before
from producers.live.connection import Connection, Ended, Refused
from producers.live.filler import Filler
from producers.live.gaps import Gap, GapLog
from producers.live.route import NoRoute
from producers.live.sequence import Line, Range, is_ahead
from producers.live.staleness import Hours, Liveness
from producers.live.troubles import Troubles, without_secrets
from producers.symbols import SymbolMaster

_log = structlog.get_logger("producers.live")
_ABOUT_CREDENTIALS = re.compile(r"auth|api.?key|credential|forbidden|permission|not entitled|invalid (key|token)", re.I)


class State(Enum):
    """CONNECTING, until the first frame; LIVE; MUTE: connected, but no data in a session, until data comes again;
    WAITING to connect again; REFUSED: waiting, because the credentials are not accepted."""

    CONNECTING = "connecting"
    LIVE = "live"
    MUTE = "mute"
    WAITING = "waiting"
    REFUSED = "refused"


class Stream:
    """One provider, one set of canonical symbols.

    `deliver` gets the feed's name and new ticks in the order of their arrival, those that fill a gap included unless
    `deliver_filled` is there to get them; `on_state` the name and each new state. They are called inside the event
    loop; what they raise ends `run`.
    `socket_url` and `rest_url` replace the provider's addresses.
    """

    def __init__(
        self,
        kind: type[Feed],
        symbols: Sequence[str],
        settings: Settings,
        *,
        deliver: Callable[[str, list[Tick]], None],
        gaps: GapLog,
        turns: Turns | None = None,
        deliver_filled: Callable[[str, list[Tick]], None] | None = None,
        on_state: Callable[[str, State], None] = lambda _name, _state: None,
        clock: Clock | None = None,
        patience: Patience | None = None,
        socket_url: str | None = None,
        rest_url: str | None = None,
    ) -> None:
        self.name = kind.name
        self.symbols = tuple(dict.fromkeys(symbols))
        self.state = State.CONNECTING
        self.ticks = 0
        self.repeats = 0
        self.connections = 0
        self.troubles = Troubles(kind.name)
        self._kind = kind
        self._settings = settings
        self._deliver = deliver
        self._deliver_filled = deliver_filled or deliver
        self._gaps = gaps
        self._on_state = on_state
        self._clock = clock or SystemClock()
        self._patience = patience or Patience()
        self._socket_url = socket_url
        master = SymbolMaster(settings)
        self._hours = Hours(*(calendar_of(kind, symbol, master) for symbol in self.symbols))
        self._lines: dict[str, Line] = {}
        self._feed = kind(settings)
        self._life = self._new_life()
        self._live_at: float | None = None
        self._needs_trade = False
        self._quiet: asyncio.TimerHandle | None = None
        self._unheard: asyncio.TimerHandle | None = None
        self._delay = STAGES.of("event_to_received")
        self.filler = Filler(
            kind(settings),
            gaps,
            self._fill_in,
            self._lacking,
            patience=self._patience,
            clock=self._clock,
            turns=turns,
            rest_url=rest_url,
        )

    @property
    def in_session(self) -> bool:
        """Whether a market of its symbols is open now."""
        return self._hours.open_for(self._clock.now_us()) is not None

    async def run(self) -> None:
        """Stream until cancelled.

        Raises NoRoute when the very first connection finds nobody, InputError for a missing key, and what `deliver`
        and `on_state` raise.
        """
        tasks = [asyncio.create_task(self._connect_for_ever()), asyncio.create_task(self.filler.run())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._unheard is not None:
                self._unheard.cancel()
            self._note_interrupted()

    def resume(self, left_open: Iterable[tuple[int, Gap]]) -> None:
        """Fill gaps that an earlier process left open, known to the log by these numbers. Only while `run` runs."""
        for number, gap in left_open:
            if gap.first_id is not None and gap.last_id is not None:
                self._line(gap.symbol).ids.expect(gap.first_id, gap.last_id)
            self.filler.add(number, gap)

    def continue_after(self, symbol: str, event_us: int, trade_id: str | None) -> None:
        """An earlier process came as far as this trade: what came since is missing. Only before `run`."""
        line = self._line(symbol)
        line.last_us, line.interrupted = event_us, "disconnect"
        if self._kind.can.counted_ids and trade_id is not None and trade_id.isdecimal():
            line.ids.take(int(trade_id))

    # Connections

    async def _connect_for_ever(self) -> None:
        failures, reached = 0, False
        while True:
            ended = await self._connect()
            reached = reached or ended.reached
            if not reached:
                raise NoRoute(self.name, ended.detail)
            failures = 0 if self._has_lived() else failures + 1
            await self._wait(ended, failures)

    async def _connect(self) -> Ended:
        """One connection, to its end."""
        self._set(State.MUTE if self._needs_trade else State.CONNECTING)
        self._feed, self._life, self._live_at = self._kind(self._settings), self._new_life(), None
        url = self._socket_url or self._feed.socket(self.symbols)
        self.connections += 1
        connection = Connection(self._feed, self.symbols, url, self._on_frame, self._patience)
        try:
            return await connection.run(self._life)
        finally:
            if self._quiet is not None:
                self._quiet.cancel()

    async def _wait(self, ended: Ended, failures: int) -> None:
        patience = self._patience
        if self._live_at is not None:
            for line in self._lines.values():
                line.interrupted = line.interrupted or ended.cause
        self._needs_trade = ended.of_trades or self._needs_trade
        if ended.refused:
            self._set(State.REFUSED)
            pause = patience.refused_wait_seconds
        else:
            self._set(State.MUTE if ended.cause == "silence" or self._needs_trade else State.WAITING)
            pause = pause_before(failures, patience.first_wait_seconds, patience.longest_wait_seconds)
        if ended.retry_after is not None:
            pause = max(pause, min(ended.retry_after, patience.longest_asked_seconds))
        _log.warning(
            "credentials not accepted" if ended.refused else "connecting again",
            provider=self.name,
            reason=without_secrets(ended.detail, self._settings),
            wait=round(pause, 2),
        )
        await asyncio.sleep(pause)

    def _new_life(self) -> Liveness:
        silence = self._patience.silence_seconds or self._kind.silence_seconds
        return Liveness(self._hours, self._clock, silence, self._patience.trade_silence_seconds)

    def _has_lived(self) -> bool:
        return self._live_at is not None and self._life.frame_at - self._live_at >= self._patience.steady_seconds

    def _set(self, state: State) -> None:
        if state is not self.state or not self.connections:
            self.state = state
            self._on_state(self.name, state)

    # Messages

    def _on_frame(self, message: bytes) -> Sequence[str]:
        """Take a message; what to send because of it."""
        parsed = self._parsed(message)
        for problem in parsed.problems:
            self.troubles.note(problem.kind, str(problem))
        if parsed.complaint:
            self._complain(without_secrets(parsed.complaint, self._settings))
        fresh = self._new_of(parsed.ticks, live=True)
        if fresh:  # a trade that came before is no sign that there are any
            self._life.trade()
            self._needs_trade = False
            self._delay.record((fresh[-1].received_us - fresh[-1].event_us) / 1e6)
        self._note_frame()
        self._pass_on(fresh, self._deliver)
        return parsed.replies

    def _note_frame(self) -> None:
        if self._live_at is None:
            self._live_at = self._life.frame_at
            loop = asyncio.get_running_loop()
            self._quiet = loop.call_later(self._patience.quiet_seconds, self._note_interrupted)
            if self._unheard is None:
                self._unheard = loop.call_later(self._patience.trade_silence_seconds, self._note_unheard)
        if self.state is not State.LIVE and not self._needs_trade:
            self._set(State.LIVE)

    def _note_unheard(self) -> None:
        """Many providers take a subscription to a symbol that they do not have, and say nothing."""
        unheard = [symbol for symbol in self.symbols if symbol not in self._lines]
        if unheard and self.in_session:
            _log.warning("no trade yet: does the provider have the symbol?", provider=self.name, symbols=unheard)

    def _parsed(self, message: bytes) -> Parsed:
        try:
            return self._feed.parse(message, self._clock.now_us())
        except SchemaChanged as error:
            self.troubles.note(error.kind, str(error))
        except Exception as error:  # one message that a parser trips over must not end the stream
            self.troubles.note(type(error).__name__, without_secrets(repr(error), self._settings))
        return Parsed()

    def _complain(self, complaint: str) -> None:
        if _ABOUT_CREDENTIALS.search(complaint):
            raise Refused(complaint)
        self.troubles.note(complaint, complaint)

    # Ticks

    def _fill_in(self, ticks: list[Tick]) -> int:
        """Deliver those of REST that are new; how many they were."""
        fresh = self._new_of(ticks, live=False)
        self._pass_on(fresh, self._deliver_filled)
        return len(fresh)

    def _new_of(self, ticks: list[Tick], *, live: bool) -> list[Tick]:
        """Those that did not come before; what they show to be missing is noted."""
        fresh = [tick for tick in ticks if self._is_new(tick, live)]
        self.repeats += len(ticks) - len(fresh)
        return fresh

    def _pass_on(self, fresh: list[Tick], deliver: Callable[[str, list[Tick]], None]) -> None:
        if fresh:
            self.ticks += len(fresh)
            deliver(self.name, fresh)

    def _is_new(self, tick: Tick, live: bool) -> bool:
        line = self._line(tick.symbol)
        counted = self._kind.can.counted_ids and tick.kind == "trade"
        if counted and tick.trade_id is not None and tick.trade_id.isdecimal():
            return self._is_new_id(tick, int(tick.trade_id), line)
        if not line.recent.take(tick):
            return False
        if is_ahead(tick, self._settings.future_tolerance_us):
            return True
        if line.interrupted and live and line.last_us is not None and tick.event_us >= line.last_us:
            self._open_by_time(tick.symbol, line, tick.event_us)
        line.reached(tick.event_us)
        return True

    def _is_new_id(self, tick: Tick, number: int, line: Line) -> bool:
        if number >= line.ids.last:
            line.interrupted = ""  # from here on, ids tell
        missing = line.ids.jump(number)
        if missing is not None and line.last_us is not None:
            self._open(Gap(self.name, tick.symbol, "ids", line.last_us, tick.event_us, *missing))
        newest = number > line.ids.last
        if newest and not is_ahead(tick, self._settings.future_tolerance_us):
            line.last_us = tick.event_us
        return line.ids.take(number)

    def _line(self, symbol: str) -> Line:
        line = self._lines.get(symbol)
        if line is None:
            line = self._lines[symbol] = Line()
        return line

    # Gaps

    def _open(self, gap: Gap) -> None:
        _log.warning(
            "gap noticed", provider=gap.source, symbol=gap.symbol, cause=gap.cause, ids=(gap.first_id, gap.last_id)
        )
        self.filler.add(self._gaps.open(gap), gap)

    def _open_by_time(self, symbol: str, line: Line, end_us: int) -> None:
        cause, line.interrupted = line.interrupted, ""
        if line.last_us is not None:
            self._open(Gap(self.name, symbol, cause, line.last_us, max(end_us, line.last_us)))

    def _note_interrupted(self) -> None:
        """Symbols without a tick since the interruption: what they missed is asked for all the same."""
        if self._hours.open_for(self._clock.now_us()) is None:
            return
        for symbol, line in self._lines.items():
            if line.interrupted:
                self._open_by_time(symbol, line, self._clock.now_us())

    def _lacking(self, gap: Gap) -> list[Range]:
        if gap.first_id is None or gap.last_id is None:
            return []
        return self._line(gap.symbol).ids.lacking(gap.first_id, gap.last_id)
