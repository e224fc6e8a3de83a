"""Live streams: one provider's socket kept alive by its data, repeats dropped, gaps put on record and filled.

`stream` ties the parts together; `connection` is one socket from handshake to end; `staleness` says when silence is
not normal; `sequence` knows what came before; `filler` asks REST for what did not come; `feeder` publishes.
"""

from producers.live.backoff import Patience
from producers.live.gaps import Gap, GapLog, MemoryGaps
from producers.live.route import NoRoute
from producers.live.stream import State, Stream

__all__ = ["Gap", "GapLog", "MemoryGaps", "NoRoute", "Patience", "State", "Stream"]
