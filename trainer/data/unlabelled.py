"""Find images without labels, such as those in an inbox or in the folder of others, and compute their features."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.errors import UserError
from models.files.leftovers import Leftovers
from models.inference.runtime import FeatureExtractor
from models.text.language import tr
from trainer.data.cache import FeatureCache, Features
from trainer.data.dataset import File, Sample, walk
from trainer.data.features import extract
from trainer.data.folds import draw_by_hash

#: More unlabelled images than this are not looked at: they would take minutes, and hardly help more.
MOST = 5000


@dataclass(frozen=True)
class UnlabelledFiles:
    """The image files to look at: at most `MOST` of the ``found`` ones; ``empty`` are the folders without any."""

    files: tuple[File, ...]
    found: int
    empty: tuple[Path, ...] = ()


@dataclass(frozen=True)
class UnlabelledCounts:
    """How many image files were ``found`` and are ``used``, and why the others are not.

    Some are ``undrawn``, since there are more than `MOST`, some ``unreadable``, and some ``copies`` of other images.
    """

    found: int
    used: int
    undrawn: int
    unreadable: int
    copies: int


@dataclass(frozen=True)
class Unlabelled:
    """Features (n, width) of the unlabelled images that are used."""

    features: Features
    counts: UnlabelledCounts


def scan_unlabelled(folders: Iterable[Path], *, seed: int = 0) -> UnlabelledFiles:
    """List images in and below ``folders``, however they are arranged; at most `MOST`, drawn by ``seed``.

    Hidden files and folders and those of the NAS or the system are passed over, as in `trainer.data.dataset.scan`;
    the daemon's own folders are not, when they are given. Raises `UserError` where a folder is not there.
    """
    paths: dict[Path, None] = {}
    empty: dict[Path, None] = {}
    for folder in folders:
        _require_folder(folder)
        found = [path for path in walk(folder, Leftovers(), may_change=True) if not path.name.startswith(".")]
        if not found:
            empty[folder] = None
        paths |= dict.fromkeys(Path(os.path.realpath(path)) for path in found)
    drawn = sorted(paths, key=lambda path: draw_by_hash(f"unlabelled {seed} {path.name}"))[:MOST]
    files = tuple(File(path, str(path), "") for path in sorted(drawn))
    return UnlabelledFiles(files, len(paths), tuple(empty))


def _require_folder(path: Path) -> None:
    if path.is_dir():
        return
    if path.exists():
        raise UserError(tr("{path} is a file, not a folder: give --unlabelled a folder of images", path=path))
    raise UserError(tr("there is no folder {folder}: give --unlabelled a folder of images", folder=path))


def read_unlabelled(
    scanned: UnlabelledFiles, labelled: Sequence[Sample], extractor: FeatureExtractor, cache: FeatureCache
) -> Unlabelled:
    """Compute the features of unlabelled images, without copies of each other or of ``labelled`` ones."""
    extracted = extract(scanned.files, extractor, cache)
    known = {sample.sha256 for sample in labelled}
    rows = []
    for row, sample in enumerate(extracted.samples):
        if sample.sha256 not in known:
            known.add(sample.sha256)
            rows.append(row)
    counts = UnlabelledCounts(
        found=scanned.found,
        used=len(rows),
        undrawn=scanned.found - len(scanned.files),
        unreadable=len(extracted.unreadable),
        copies=len(extracted.samples) - len(rows),
    )
    return Unlabelled(extracted.features[np.array(rows, np.int64)], counts)
