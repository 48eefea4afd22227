"""Find equal images of one name: each is to get a file of its own, and the same one whenever a job is repeated."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from daemon.archiving.manifest import read_newest


def later_equals(manifest: Path) -> set[str]:
    """Return the addresses of images that equal one of the same name which was looked at earlier.

    Memory grows with the images that are there several times.
    """
    hashes = [table["sha256"].combine_chunks() for table in read_newest(manifest, ["sha256"])]
    counts = pc.value_counts(pa.concat_arrays(hashes)) if hashes else None
    if counts is None or not len(counts):
        return set()
    several = counts.field("values").filter(pc.greater(counts.field("counts"), 1)).drop_null()
    first: dict[tuple[str, str], tuple[object, str]] = {}
    later = set()
    for table in read_newest(manifest, ["uri", "sha256", "looked_at"]):
        for row in table.filter(pc.is_in(table["sha256"], value_set=several)).to_pylist():
            key, rank = (row["sha256"], row["uri"].rpartition("/")[2]), (row["looked_at"], row["uri"])
            before = first.setdefault(key, rank)
            if rank < before:
                first[key], rank = rank, before
            if rank != first[key]:
                later.add(rank[1])
    return later
