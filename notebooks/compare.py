"""Bars held against bars."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from core.bars import Rule

FIELDS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Comparison:
    """`rows`: every bar that either side has, by symbol and start, its fields as `open_mine`, `open_theirs`, …"""

    rows: pd.DataFrame

    @property
    def differing(self) -> pd.DataFrame:
        """The bars that differ in any field, or that one side alone has."""
        wide = [f"{field}_{side}" for field in FIELDS for side in ("mine", "theirs")]
        return self.rows.loc[~self.rows["equal"], ["symbol", "start", *wide]].reset_index(drop=True)

    def counts(self) -> dict[str, int]:
        """How many bars there are, on which side, and how many are equal."""
        side = self.rows["_merge"]
        return {
            "bars": len(self.rows),
            "equal in all five": int(self.rows["equal"].sum()),
            "only mine": int((side == "left_only").sum()),
            "only theirs": int((side == "right_only").sum()),
        }

    def wrong_by_field(self) -> dict[str, int]:
        """In how many bars each field differs; a bar that one side alone has counts in every field."""
        return {field: int((~self.rows[f"{field}_equal"]).sum()) for field in FIELDS}

    def largest_error(self) -> dict[str, float]:
        """The largest absolute difference of each field, over bars that both sides have."""
        return {field: (self.rows[f"{field}_mine"] - self.rows[f"{field}_theirs"]).abs().max() for field in FIELDS}


def bars(mine: pd.DataFrame, theirs: pd.DataFrame) -> Comparison:
    """Two frames with symbol, start and the five fields; equal means the same double, or no price on both sides."""
    keys = ["symbol", "start"]
    columns = [*keys, *FIELDS]
    rows = mine[columns].merge(theirs[columns], "outer", keys, suffixes=("_mine", "_theirs"), indicator=True)
    there = rows["_merge"] == "both"
    for field in FIELDS:
        left, right = rows[f"{field}_mine"], rows[f"{field}_theirs"]
        rows[f"{field}_equal"] = there & ((left == right) | (left.isna() & right.isna()))
    rows["equal"] = np.logical_and.reduce([rows[f"{field}_equal"] for field in FIELDS])
    return Comparison(rows)


def rules(table: Mapping[str, Rule]) -> pd.DataFrame:
    """The table of bar rules as people read it."""
    return pd.DataFrame.from_dict({column: asdict(rule) for column, rule in table.items()}, orient="index")
