"""`/api/v1/symbols`: what there is to ask for."""

from fastapi import APIRouter

from api.models import REFUSED, SymbolsAnswer
from api.params import History, Live, NoParams
from api.reading import live_symbols
from api.render import Json, time_text

router = APIRouter(prefix="/api/v1", tags=["symbols"])


@router.get("/symbols", response_model=SymbolsAnswer, responses=REFUSED)
async def symbols(_: NoParams, history: History, live: Live) -> Json:
    """Every symbol that was ever stored, by name, and those that so far are only seen live."""
    stored = {row["symbol"]: row for row in await history.symbols()}
    fresh = await live_symbols(live)
    rows = [_row(name, stored.get(name, {})) for name in sorted(stored.keys() | (fresh or set()))]
    return Json({"live": "unavailable" if fresh is None else "ok", "symbols": rows})


def _row(symbol: str, seen: dict[str, int]) -> dict[str, str | None]:
    times = {name: time_text(seen.get(name)) for name in ("first_seen", "last_seen")}
    return {"symbol": symbol, **times}
