"""Messages of alerts on their way to a target, and their receipts.

A message is marked before it is sent: after a crash in between nobody knows whether it arrived, so it is sent again,
but not before its `hold_seconds` are over. Of one alert, later messages wait for the earlier ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row

from stores.postgres import EPOCH_US, connect_args, translated

MOST = 500
"""Messages that are taken at once."""
MAX_DETAIL = 300

_DUE = """
    (d.state = 'pending' AND d.next_at <= clock_timestamp()
     OR d.state = 'sending' AND d.started_at + make_interval(secs => d.hold_seconds) <= clock_timestamp())
"""
_CLAIM = f"""
    WITH due AS MATERIALIZED (
        SELECT d.seq FROM alert_deliveries AS d
        WHERE d.target = %(target)s AND d.state IN ('pending', 'sending') AND {_DUE} AND NOT EXISTS (
            SELECT FROM alert_deliveries AS earlier
            WHERE earlier.target = d.target AND earlier.alert_id = d.alert_id AND earlier.seq < d.seq
              AND earlier.state IN ('pending', 'sending') AND NOT {_DUE.replace("d.", "earlier.")})
        ORDER BY d.seq LIMIT %(most)s FOR UPDATE SKIP LOCKED
    )
    UPDATE alert_deliveries AS taken
    SET state = 'sending', attempts = attempts + 1, started_at = clock_timestamp(), digest_id = %(digest)s
    FROM due WHERE taken.seq = due.seq
    RETURNING taken.seq, message_id, alert_id, kind, severity, crossings, title, body, attempts, hold_seconds,
              {EPOCH_US.format("decided_at")} AS decided_us
"""
_SENT = """
    UPDATE alert_deliveries SET state = %(state)s, detail = %(detail)s, sent_at = clock_timestamp()
    WHERE seq = ANY(%(seqs)s)
"""
# One that has been tried for too long has failed. Nobody may hold up others of its target by its hold.
_FAILED = """
    UPDATE alert_deliveries
    SET detail = %(detail)s, next_at = clock_timestamp() + make_interval(secs => greatest(%(pause)s, CASE
            WHEN %(doubtful)s THEN hold_seconds ELSE 0 END)),
        state = CASE WHEN decided_at < clock_timestamp() - make_interval(secs => %(patience)s) THEN 'failed'
                     ELSE 'pending' END
    WHERE seq = ANY(%(seqs)s)
"""
_FORGET = """
    UPDATE alert_deliveries SET state = 'failed', detail = 'there is no such target any more'
    WHERE state IN ('pending', 'sending') AND target <> ALL(%(targets)s)
"""
_WAITING = """
    SELECT target, count(*) AS messages, extract(epoch FROM clock_timestamp() - min(decided_at))::float8 AS seconds
    FROM alert_deliveries WHERE state IN ('pending', 'sending') GROUP BY target
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A message that is to be sent now; `decided_us` in epoch us. `digest_id` is shared by what is sent together."""

    seq: int
    message_id: UUID
    alert_id: UUID
    kind: str
    severity: str
    crossings: int
    title: str
    body: str
    attempts: int
    hold_seconds: float
    decided_us: int


class Outbox:
    """One sender's own connection. Every call raises StoreUnavailable when the database does not answer."""

    def __init__(self, dsn: str) -> None:
        self._args = connect_args(dsn)
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._args.get('host', '')}:{self._args.get('port', '')})"

    def claim(self, target: str) -> list[Due]:
        """All that is due for a target, oldest first; each counts as attempted from now on."""
        rows = self._execute(_CLAIM, {"target": target, "most": MOST, "digest": uuid4()})
        return sorted((Due(**row) for row in rows), key=lambda due: due.seq)

    def sent(self, seqs: Sequence[int], state: str = "sent", note: str = "") -> None:
        """Store the receipt."""
        self._execute(_SENT, {"seqs": list(seqs), "state": state, "detail": note[:MAX_DETAIL]})

    def failed(
        self, seqs: Sequence[int], error: str, pause_seconds: float, patience_seconds: float, doubtful: bool
    ) -> None:
        """Store that it did not work, and when to try again. `doubtful`: it may have arrived all the same."""
        values = {"seqs": list(seqs), "detail": error[:MAX_DETAIL], "pause": pause_seconds}
        self._execute(_FAILED, values | {"patience": patience_seconds, "doubtful": doubtful})

    def forget(self, targets: Sequence[str]) -> None:
        """Give up what is for other targets than these."""
        self._execute(_FORGET, {"targets": list(targets)})

    def waiting(self) -> dict[str, tuple[int, float]]:
        """By target, how many messages are not delivered yet, and since when the oldest was decided, in seconds."""
        return {row["target"]: (row["messages"], row["seconds"]) for row in self._execute(_WAITING, {})}

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _execute(self, statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        with translated():
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(**self._args, autocommit=True, row_factory=dict_row)
            cursor = self._connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []
