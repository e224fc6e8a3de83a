"""Whether every amended bar says so: revision, reason, since when it is known, and the revisions before it."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from chaos.truth import Database, Key, Verdict, named

REASONS = {"late", "correction", "cancel"}
_STARTS = '(extract(epoch FROM "start") * 1000000)::bigint AS "start"'
_COLUMNS = f'symbol, "interval", {_STARTS}, rev, state, reason, known_at'
NOW = f"SELECT {_COLUMNS} FROM bars"
BEFORE = f"SELECT {_COLUMNS} FROM bar_revisions"
Row = Mapping[str, Any]


def explained(database: Database, said: Mapping[str, Collection[Key]]) -> Verdict:
    """`Feed.amended` against the bars of the database and their older revisions."""
    return held(database.rows(NOW), database.rows(BEFORE), said)


def held(bars: Iterable[Row], before: Iterable[Row], said: Mapping[str, Collection[Key]]) -> Verdict:
    """Compares every bar; `missing` is an amendment that should be there, `different` a bar that tells it wrongly."""
    older: defaultdict[Key, list[Row]] = defaultdict(list)
    for row in before:
        older[_key(row)].append(row)
    missing, wrong = [], []
    compared = 0
    for bar in bars:
        compared += 1
        key = _key(bar)
        problem = _problem(bar, older[key], key, said)
        if problem:
            wrong.append(f"{named(key)}: {problem}")
        elif bar["state"] != "amended" and key in said["must"]:
            missing.append(f"{named(key)} has a corrected trade and was not amended")
    first = next(iter([*wrong, *missing]), "")
    return Verdict("revisions and reasons", compared, len(missing), 0, len(wrong), first)


def by_reason(database: Database) -> dict[str, int]:
    """How many bars of each reason there are, `final` without one, and how many older revisions."""
    counts = Counter(row["reason"] or "final" for row in database.rows(NOW))
    return dict(sorted(counts.items())) | {"older revisions": database.count("SELECT count(*) FROM bar_revisions")}


def _problem(bar: Row, older: list[Row], key: Key, said: Mapping[str, Collection[Key]]) -> str:
    revisions = sorted([*older, bar], key=lambda row: row["rev"])
    if [row["rev"] for row in revisions] != list(range(1, len(revisions) + 1)):
        return f"revisions {[row['rev'] for row in revisions]}"
    if any(row["known_at"] is None for row in revisions):
        return "a revision without known_at"
    known = [row["known_at"] for row in revisions]
    if known != sorted(known):
        return "a revision that is known before the one it replaces"
    for row in revisions:
        if row["state"] == "final" and (row["rev"], row["reason"]) == (1, None):
            continue
        if row["state"] != "amended" or row["reason"] not in REASONS:
            return f"revision {row['rev']} is {row['state']}, reason {row['reason']}"
        if row["reason"] in said and key not in said[row["reason"]]:
            return f"revision {row['rev']} is for a {row['reason']}, and there was none"
    return ""


def _key(row: Row) -> Key:
    return row["symbol"], row["interval"], row["start"]
