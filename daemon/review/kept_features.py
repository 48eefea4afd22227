"""Keep the features of images of the pile in a file of bounded size, so that each image is looked at once.

They are kept in half precision, by the sha256 of the image; the file is of one model, whose digest it begins with.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.files.atomic import atomic_file

#: Bytes of the file, at most.
MOST_BYTES = 128 << 20
_SHA256_BYTES = 32


class Seen(NamedTuple):
    """What a model sees in an image: its features, and its class by index."""

    features: npt.NDArray[np.float16]
    label: int


class KeptFeatures:
    """The features of one model. Used by one process."""

    def __init__(self, path: Path, digest: str, width: int) -> None:
        self._path = path
        self._header = f"{digest} {width}\n".encode()
        self._row = np.dtype([("sha256", f"S{_SHA256_BYTES}"), ("label", "<i4"), ("features", "<f2", (width,))])
        self._seen: dict[bytes, Seen] = {}
        self._read()

    def get(self, sha256: str) -> Seen | None:
        """Return what was seen in an image."""
        return self._seen.get(_key(sha256))

    def put(self, sha256: str, features: npt.NDArray[np.float32], label: int) -> None:
        """Remember what was seen in an image, until `write`."""
        self._seen[_key(sha256)] = Seen(features.astype(np.float16), label)

    def write(self, wanted: Collection[str]) -> None:
        """Write the file: the images that are wanted first, and others as far as there is room. Raises OSError."""
        keys = dict.fromkeys([_key(sha256) for sha256 in wanted])
        room = max(0, (MOST_BYTES - len(self._header)) // self._row.itemsize)
        kept = [key for key in keys if key in self._seen]
        kept = [*kept, *(key for key in self._seen if key not in keys)][:room]
        rows = np.zeros(len(kept), self._row)
        for row, key in zip(rows, kept, strict=True):
            row["sha256"], row["label"], row["features"] = key, self._seen[key].label, self._seen[key].features
        with atomic_file(self._path, durable=False, mode=0o600) as file:
            file.write(self._header)
            file.write(rows.tobytes())

    def _read(self) -> None:
        """Read the file; one of another model, or a damaged one, is written anew."""
        try:
            with self._path.open("rb") as file:
                if file.readline(200) != self._header:
                    return
                data = file.read(MOST_BYTES)
        except OSError:
            return
        rows = np.frombuffer(data[: len(data) // self._row.itemsize * self._row.itemsize], self._row)
        for row in rows:
            # NumPy drops zeros from the end of such bytes.
            self._seen[bytes(row["sha256"]).ljust(_SHA256_BYTES, b"\0")] = Seen(row["features"], int(row["label"]))


def _key(sha256: str) -> bytes:
    return bytes.fromhex(sha256)
