"""Pages of a range: which part of it a request reads, and the cursors of the parts on both sides.

Rows are handled ascending; only the answer turns them round.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

from fastapi import Request

from api.cursor import BadCursor, Place, read_cursor, write_cursor
from api.errors import InvalidParameter
from api.merge import Row
from api.params import TimeRange
from stores.range_sql import TickKey

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """The part `[start, end)` of a range in epoch microseconds, from which up to `limit` rows are wanted.

    `newest`: the limit keeps the newest ones. `place` is where the page begins if it is not the first.
    """

    query: TimeRange
    identity: tuple[object, ...]
    start: int
    end: int
    newest: bool
    place: Place | None = None

    @property
    def limit(self) -> int:
        return self.query.limit

    @property
    def bounded(self) -> bool:
        """Whether the page begins at a moment rather than with the first row there is."""
        return self.query.start is not None or (self.place is not None and self.place.side == "newer")

    @property
    def beyond(self) -> TickKey | None:
        """The key of the tick next to the page."""
        return None if self.place is None else (self.place.us, self.place.seq, self.place.identity)

    def cut(self, rows: Sequence[T]) -> tuple[list[T], bool]:
        """Ascending rows within the limit, from the side that is kept, and whether there were more."""
        kept = rows[-self.limit :] if self.newest else rows[: self.limit]
        return list(kept), len(rows) > len(kept)

    def cursors(self, rows: Sequence[Row], truncated: bool, place_of: Callable[[Row], Place]) -> "Cursors":
        """The cursors around the ascending rows of the page.

        There is more where the limit has cut, and where the page came from.
        """
        if not rows:
            return Cursors(None, None)
        came_from = None if self.place is None else ("newer" if self.place.side == "older" else "older")
        cut = None if not truncated else ("older" if self.newest else "newer")
        older = self._cursor("older", place_of(rows[0])) if "older" in (came_from, cut) else None
        newer = self._cursor("newer", place_of(rows[-1])) if "newer" in (came_from, cut) else None
        return Cursors(older, newer) if self.query.order == "desc" else Cursors(newer, older)

    def _cursor(self, side: str, place: Place) -> str:
        return write_cursor(
            Place("older" if side == "older" else "newer", place.us, place.seq, place.identity), self.identity
        )


@dataclass(frozen=True, slots=True)
class Cursors:
    """Of the page after this one in the order asked for, and of the one before it."""

    next: str | None
    previous: str | None

    def fields(self) -> dict[str, str | None]:
        return {"next": self.next, "previous": self.previous}

    def link(self, request: Request) -> str | None:
        """The header `Link` (RFC 8288): the same request with the cursor put in."""
        given = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
        pages = {"next": self.next, "prev": self.previous}
        path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
        links = [
            f'<{path}?{urlencode([*given, ("cursor", cursor)])}>; rel="{name}"'
            for name, cursor in pages.items()
            if cursor is not None
        ]
        return ", ".join(links) or None


def bar_place(row: Row) -> Place:
    return Place("older", row["start"])


def tick_place(row: Row) -> Place:
    return Place("older", row["event_us"], row["seq"], row["identity"])


def place_at(cursor: str, identity: object) -> Place:
    """The place of a cursor of this query. Raises InvalidParameter for one that does not fit."""
    try:
        return read_cursor(cursor, identity)
    except BadCursor as error:
        raise InvalidParameter("cursor", str(error), cursor) from None


def page_of(resource: str, symbol: str, query: TimeRange) -> Page:
    """The page that is asked for. Raises InvalidParameter for a cursor that does not fit."""
    identity = (resource, symbol, *query.identity())
    if query.cursor is None:
        return Page(query, identity, query.start_us, query.end_us, query.newest)
    place = place_at(query.cursor, identity)
    # Ticks of the very moment of the place may lie on either side of it: their keys decide.
    own_moment = 1 if resource == "ticks" else 0
    if place.side == "newer":
        return Page(query, identity, max(query.start_us, place.us + 1 - own_moment), query.end_us, False, place)
    return Page(query, identity, query.start_us, min(query.end_us, place.us + own_moment), True, place)
