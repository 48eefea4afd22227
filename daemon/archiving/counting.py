"""Count the rows of a manifest: by class, outcome and month, and by what other thresholds would make of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daemon.archiving.manifest import read_newest
from daemon.archiving.rows import QUARANTINE, UNREAD, is_of_class
from models.deciding.rule import AT_CLASS, DecisionRule, are_unknown

#: Thresholds that are compared.
THRESHOLDS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_COLUMNS = ("label", "outcome", "reason", "taken", "confidence", "strangeness")


@dataclass
class Counts:
    """What a manifest has. ``classes``: images filed by class; ``months``: pictures by month ("2026-11")."""

    images: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    months: Counter[str] = field(default_factory=Counter)
    in_class: Counter[float] = field(default_factory=Counter)

    @property
    def pictures(self) -> int:
        """Images that were classified."""
        return self.images - self.outcomes[QUARANTINE] - self.outcomes[UNREAD]

    def as_json(self) -> Mapping[str, object]:
        """Return all of it, as JSON has it."""
        return {
            "images": self.images,
            "outcomes": self.outcomes,
            "classes": self.classes,
            "reasons": self.reasons,
            "months": dict(sorted(self.months.items())),
            "thresholds": [{"threshold": value, "in_class": self.in_class[value]} for value in THRESHOLDS],
        }


def count(manifest: Path) -> Counts:
    """Count the newest row of each image, a block at a time. Raises `UserError`."""
    counts = Counts()
    for table in read_newest(manifest, _COLUMNS):
        counts.images += len(table)
        for row in _groups(table, ["outcome", "label", "reason"]):
            number, outcome = row["count_all"], row["outcome"]
            counts.outcomes[outcome] += number
            if is_of_class(outcome):
                counts.classes[row["label"]] += number
            elif row["reason"] is not None:
                counts.reasons[row["reason"]] += number
        _count_months(table["taken"].drop_null(), counts.months)
        _count_thresholds(table, counts.in_class)
    return counts


def _groups(table: pa.Table, keys: list[str]) -> list[dict[str, Any]]:
    grouped: list[dict[str, Any]] = table.group_by(keys).aggregate([([], "count_all")]).to_pylist()
    return grouped


def _count_months(taken: pa.ChunkedArray, months: Counter[str]) -> None:
    together = pc.add(pc.multiply(pc.year(taken), 12), pc.subtract(pc.month(taken), 1))
    for value in pc.value_counts(together).to_pylist():
        year, month = divmod(value["values"], 12)
        months[f"{year:04}-{month + 1:02}"] += value["counts"]


def _count_thresholds(table: pa.Table, in_class: Counter[float]) -> None:
    """Count the images that each threshold would file into their class."""
    classified = table.filter(pc.is_valid(table["confidence"]))
    confidence = classified["confidence"].to_numpy()
    unknown = are_unknown(classified["strangeness"].to_numpy())
    for value in THRESHOLDS:
        places = DecisionRule(value, refuses_unknown=value != 0).places(confidence, unknown)
        in_class[value] += int(np.count_nonzero(places == AT_CLASS))
