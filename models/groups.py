"""Read the groups of the starter model: some thirty everyday folders for the 1,000 ImageNet classes."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

CLASSES = 1000
GROUPS_FILE = Path(__file__).with_name("starter_groups.toml")


def starter_groups(language: Literal["en", "ko"], file: Path = GROUPS_FILE) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names of the groups in file order, and an array (1000,) of the group of each ImageNet class.

    Raises ``ValueError`` naming the classes that are in no group, in two, or out of range.
    """
    with file.open("rb") as opened:
        tables: dict[str, dict[str, Any]] = tomllib.load(opened)
    groups = np.full(CLASSES, -1, dtype=np.int64)
    for position, (key, table) in enumerate(tables.items()):
        for index in _indices(key, table["classes"]):
            if not 0 <= index < CLASSES:
                raise ValueError(f"{file.name}: [{key}] has class {index}; there are only 0 to {CLASSES - 1}")
            if groups[index] >= 0:
                other = list(tables)[groups[index]]
                raise ValueError(f"{file.name}: class {index} is in [{other}] and in [{key}]")
            groups[index] = position
    missing = np.flatnonzero(groups < 0)
    if missing.size:
        raise ValueError(f"{file.name}: in no group: {', '.join(map(str, missing.tolist()))}")
    return [str(table[language]) for table in tables.values()], groups


def _indices(key: str, entries: list[int | str]) -> Iterator[int]:
    """Yield the class indices of one group: 7 stands for itself, "7-24" for a range with both ends."""
    for entry in entries:
        first, dash, last = str(entry).partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"[{key}]: {entry!r} is neither a class index nor a range like '7-24'")
        yield from range(int(first), int(last if dash else first) + 1)
