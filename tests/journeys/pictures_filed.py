"""Put drawn pictures into the inbox of a running daemon."""

from __future__ import annotations

from pathlib import Path

from tests.pictures import save
from tests.processes import wait_for


def file_pictures(place: Path, kind: str, seeds: range) -> list[Path]:
    """Where pictures of a kind are filed."""
    names = [f"{kind}{seed}.png" for seed in seeds]
    for seed, name in zip(seeds, names, strict=True):
        save(kind, seed, place / "spare" / name).rename(place / "inbox" / name)
    found: list[Path] = []

    def filed() -> bool:
        found[:] = [path for name in names for path in (place / "sorted").glob(f"*/{name}")]
        return len(found) == len(names)

    wait_for(filed, "the pictures are filed")
    return found
