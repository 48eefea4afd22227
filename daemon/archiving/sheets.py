"""Contact sheets of a manifest: for each folder, the images that the model was least sure of."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from heapq import heappushpop
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from PIL import Image

from daemon.archiving.manifest import read_newest
from daemon.archiving.rows import is_of_class
from daemon.archiving.stores import Store, StoreFailed, local_path
from daemon.config import Settings
from daemon.decoding.decoder import Task
from daemon.decoding.pool import DecoderPool
from daemon.reloading.pipeline_settings import PipelineSettings
from models.decoding.images import Transform
from models.files.atomic import atomic_file
from models.inference.runtime import cores

#: Pixels of an image's square, and images of a row and of a sheet.
_SIDE, _ACROSS, MOST = 160, 8, 64
_GAP = 4
_SQUARE = Transform(resize=_SIDE, crop=_SIDE, interpolation="bilinear", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
_COLUMNS = ("uri", "label", "outcome", "confidence")


class _Candidate(NamedTuple):
    unsureness: float
    uri: str


def least_sure(manifest: Path, others: str) -> Mapping[str, Sequence[str]]:
    """Return the addresses of the images that the model was least sure of, by folder, the least sure first."""
    heaps: dict[str, list[_Candidate]] = {}
    for table in read_newest(manifest, _COLUMNS):
        sorted_table = table.filter(pc.is_valid(table["confidence"])).sort_by("confidence")
        seen: dict[str, int] = {}
        for uri, label, outcome, confidence in zip(*(sorted_table[name].to_pylist() for name in _COLUMNS), strict=True):
            folder = label if is_of_class(outcome) else others
            seen[folder] = seen.get(folder, 0) + 1
            if seen[folder] <= MOST:
                _keep(heaps.setdefault(folder, []), _Candidate(-confidence, uri))
    return {
        folder: [candidate.uri for candidate in sorted(heap, reverse=True)] for folder, heap in sorted(heaps.items())
    }


def _keep(heap: list[_Candidate], candidate: _Candidate) -> None:
    """Keep the `MOST` least sure ones in a heap, whose first is the surest of them."""
    if len(heap) < MOST:
        heap.append(candidate)
        heap.sort()
    else:
        heappushpop(heap, candidate)


class SheetMaker:
    """Makes contact sheets; images are decoded in processes of their own, as everywhere."""

    def __init__(self, settings: Settings) -> None:
        self._settings = PipelineSettings.from_settings(settings)
        self._decoders = DecoderPool(settings.threads or cores(), self._settings.limits)

    def close(self) -> None:
        """End the decoders."""
        self._decoders.close()

    def make(self, uris: Iterable[str], path: Path) -> int:
        """Write a sheet of the images that can be read, as a JPEG; return how many these are."""
        squares = list(self._squares(uris))
        if not squares:
            return 0
        rows = -(-len(squares) // _ACROSS)
        step = _SIDE + _GAP
        sheet = Image.new("RGB", (min(len(squares), _ACROSS) * step + _GAP, rows * step + _GAP), "white")
        for number, square in enumerate(squares):
            down, across = divmod(number, _ACROSS)
            sheet.paste(Image.fromarray(square), (across * step + _GAP, down * step + _GAP))
        with atomic_file(path) as file:
            sheet.save(file, "JPEG", quality=85)
        return len(squares)

    def _squares(self, uris: Iterable[str]) -> Iterator[npt.NDArray[np.uint8]]:
        with ExitStack() as closing:
            folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="imagesortd-sheets-"))).resolve()
            paths = [_brought_here(uri, folder / str(number)) for number, uri in enumerate(uris)]
            answers = [
                self._decoders.submit(
                    Task(
                        path=path,
                        transforms=(_SQUARE,),
                        max_bytes=self._settings.max_bytes,
                        max_pixels=self._settings.max_pixels,
                    )
                )
                for path in paths
                if path is not None
            ]
            for answer in answers:
                crops = answer.result().crops
                if crops is not None:
                    yield crops[0]


def _brought_here(uri: str, to: Path) -> Path | None:
    """Return where an image lies on this machine, fetched where it must be; None where that fails."""
    if (path := local_path(uri)) is not None:
        return path
    base, _, name = uri.rpartition("/")
    store = Store(base)
    try:
        store.fetch(f"{store.root}/{name}", to)
    except (StoreFailed, OSError):
        return None
    return to
