"""What a manifest knows already: by arrays of numbers, which have room for ten million images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from daemon.archiving.manifest import blocks, read_block
from daemon.archiving.rows import HASH_BYTES, UNREAD, Listed

#: Images that are looked up at a time.
_AT_ONCE = 1024
_Numbers = npt.NDArray[Any]

_NOTHING: _Numbers = np.empty(0, np.uint64)
_COLUMNS = ["uri_hash", "size", "mtime_ns", "model", "outcome"]


class KnownImages:
    """The images that a manifest has rows of, for one model."""

    def __init__(self, folder: Path, model: str) -> None:
        """Raises `UserError`."""
        parts: list[tuple[_Numbers, ...]] = [_numbers(read_block(path, _COLUMNS), model) for path in blocks(folder)]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [_NOTHING] * 6
        high, low, size, mtime, is_done, is_model = columns
        order = np.argsort(high, kind="stable")  # of one image the newest row stays last, as blocks are read in order
        self._high, self._low = high[order], low[order]
        self._size, self._mtime = size[order], mtime[order]
        self._is_done, self._is_model = is_done[order], is_model[order]

    def new(self, images: Iterable[Listed]) -> Iterator[Listed | None]:
        """Yield the images that are to be looked at, and None for each known one."""
        coming = iter(images)
        while group := list(islice(coming, _AT_ONCE)):
            halves = np.frombuffer(b"".join(image.uri_hash for image in group), ">u8").reshape(-1, 2).astype(np.uint64)
            first = np.searchsorted(self._high, halves[:, 0], "left").tolist()
            end = np.searchsorted(self._high, halves[:, 0], "right").tolist()
            for image, start, stop in zip(group, first, end, strict=True):
                yield self._listed(image, range(start, stop))

    def _listed(self, image: Listed, rows: range) -> Listed | None:
        low = int.from_bytes(image.uri_hash[8:], "big")
        same = [row for row in rows if self._low[row] == low]
        if not same:
            return image
        newest = same[-1]
        is_same_file = self._size[newest] == image.size and self._mtime[newest] == image.mtime_ns
        is_same = bool(is_same_file and self._is_model[newest])
        if is_same and self._is_done[newest]:
            return None
        return Listed(image.uri, image.uri_hash, image.size, image.mtime_ns, supersedes=True, was_unread=is_same)


def _numbers(table: pa.Table, model: str) -> tuple[_Numbers, ...]:
    """Return halves of hashes, sizes, times, whether the image was read, and whether by the model."""
    hashes = table["uri_hash"].combine_chunks()
    packed = b"".join(hashes.to_pylist()) if hashes.null_count or hashes.offset else hashes.buffers()[1].to_pybytes()
    halves = np.frombuffer(packed[: HASH_BYTES * len(hashes)], ">u8").reshape(-1, 2).astype(np.uint64)
    return (
        halves[:, 0],
        halves[:, 1],
        table["size"].to_numpy(),
        table["mtime_ns"].to_numpy(),
        pc.not_equal(table["outcome"].cast(pa.string()), UNREAD).to_numpy(),
        pc.equal(table["model"].cast(pa.string()), model).to_numpy(),
    )
