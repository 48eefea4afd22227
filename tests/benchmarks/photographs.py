"""Pictures to measure with, made from real ones, the same on every machine."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image

from tests.conftest import SHARED_DATA

#: Of a telephone, and its usual proportions.
PIXELS = (4032, 3024)
#: Such that a JPEG has 3 to 5 MB and a HEIC two thirds of that.
QUALITY = {".jpg": 92, ".heic": 50}


def labelled(name: str) -> list[tuple[Path, str]]:
    """The files of a labelled set with their classes, in the order of its list."""
    with (SHARED_DATA / f"{name}.csv").open(newline="") as table:
        return [(SHARED_DATA / name / row["file"], row["file"].split("/")[0]) for row in csv.DictReader(table)]


def photographs(folder: Path, count: int) -> None:
    """``count`` photographs of 12 MP in ``folder``: JPEG of 3 to 5 MB, every 20th HEIC, every 20th PNG.

    Ants and bees, enlarged, with the grain of a sensor, which is what makes a JPEG of that size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pillow_heif.register_heif_opener()
    sources = labelled("hymenoptera2")
    for number in range(count):
        suffix = {5: ".heic", 15: ".png"}.get(number % 20, ".jpg")
        path = folder / f"IMG_{number:04}{suffix}"
        if path.exists():
            continue
        picture = _enlarged(sources[number * len(sources) // count][0], number)
        partial = path.with_name(f".partial{suffix}")
        picture.save(partial, quality=QUALITY.get(suffix, 90), compress_level=3)  # each format takes what it knows
        partial.rename(path)


def _enlarged(path: Path, seed: int) -> Image.Image:
    with Image.open(path) as image:
        shown = image.convert("RGB")
    size = PIXELS if shown.width >= shown.height else PIXELS[::-1]
    pixels = np.asarray(shown.resize(size, Image.Resampling.BICUBIC))
    grain = np.random.default_rng(seed).integers(-9, 10, (*pixels.shape[:2], 1), dtype=np.int16)
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def small_pictures(folder: Path, count: int) -> None:
    """``count`` pictures of 150 px in ``folder``: scenes, each as often as needed."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = labelled("intel_scenes6")
    for number in range(count):
        source = sources[number % len(sources)][0]
        path = folder / f"{number:06}{source.suffix}"
        if not path.exists():
            shutil.copy(source, path)


def training_set(folder: Path, per_class: int) -> None:
    """A data set of six kinds of scenes, ants and bees: links to ``per_class`` pictures of each."""
    taken: dict[str, int] = {}
    for path, label in labelled("intel_scenes6") + labelled("hymenoptera2"):
        if taken.setdefault(label, 0) < per_class:
            taken[label] += 1
            (folder / label).mkdir(parents=True, exist_ok=True)
            (folder / label / path.name).symlink_to(path)
