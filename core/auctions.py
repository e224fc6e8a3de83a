"""Auction prints: an event-time override, applied before bars are made.

The primary venue's opening print belongs first in the bar of the opening minute, its closing print, often
reported after the bell, last in the bar of the last minute. `AuctionSelector` walks candidate prints in
reported order and answers where each selected one belongs; replay and backfill both drive it.
"""

import functools
from dataclasses import dataclass

from core.intervals import MINUTE_US, SECOND_US
from core.records import SEQ_LIMIT
from core.rulesets import Auction, Ruleset


@dataclass(frozen=True, slots=True)
class Override:
    """A selected print's effective time and sequence, and the mark to add to its condition mask."""

    event_us: int
    seq: int
    mark: int


class AuctionSelector:
    """Selects at most one opening and one closing print per symbol and local day.

    Feed it the prints for which `is_candidate` holds, per symbol in (event_us, seq) order.
    """

    def __init__(self, ruleset: Ruleset) -> None:
        self._ruleset = ruleset
        self._done: set[tuple[str, object, int]] = set()

    @property
    def candidate_bits(self) -> int:
        """A print with none of these bits is no auction; cheap, for filtering a whole file. 0: the ruleset has none."""
        return functools.reduce(lambda bits, auction: bits | auction.print_bit, self._auctions(), 0)

    def is_candidate(self, mask: int) -> bool:
        """Whether a print with this mask can be an auction at all."""
        return bool(mask & self.candidate_bits)

    def select(self, symbol: str, venue: str | None, mask: int, event_us: int, seq: int) -> Override | None:
        """The override of this print, or None when it is not the auction."""
        opening, closing = self._ruleset.opening, self._ruleset.closing
        if opening is not None and self._is_first(opening, symbol, venue, mask, event_us):
            start = self._minute_start(opening, event_us)
            if start <= event_us < start + MINUTE_US:
                return Override(start, seq - (SEQ_LIMIT - 1), opening.mark)
        if closing is not None and self._is_first(closing, symbol, venue, mask, event_us):
            return Override(self._minute_start(closing, event_us) + MINUTE_US - 1, seq, closing.mark)
        return None

    def _auctions(self) -> list[Auction]:
        return [auction for auction in (self._ruleset.opening, self._ruleset.closing) if auction is not None]

    def _is_first(self, auction: Auction, symbol: str, venue: str | None, mask: int, event_us: int) -> bool:
        if not mask & auction.print_bit or mask & auction.without or venue != self._ruleset.primary(symbol):
            return False
        assert self._ruleset.session is not None
        key = (symbol, self._ruleset.session.local(event_us).date(), auction.mark)
        if key in self._done:
            return False
        self._done.add(key)
        return True

    def _minute_start(self, auction: Auction, event_us: int) -> int:
        session = self._ruleset.session
        assert session is not None
        local = session.local(event_us)
        seconds = local.hour * 3600 + local.minute * 60 + local.second
        minute = auction.minute - (session.shortened(local) if auction is self._ruleset.closing else 0)
        return event_us - event_us % SECOND_US - seconds * SECOND_US + minute * MINUTE_US
