"""Small pictures of a few kinds that any backbone can tell apart, drawn on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

KINDS = ("stripes", "discs", "checks", "fog")


def draw(kind: str, seed: int, side: int = 96) -> Image.Image:
    """One picture of a kind; every seed gives another, in other colours."""
    random = np.random.default_rng([KINDS.index(kind), seed])
    dark, light = random.integers(0, 110, 3), random.integers(150, 256, 3)
    picture = Image.new("RGB", (side, side), tuple(int(value) for value in light))
    pen = ImageDraw.Draw(picture)
    ink = tuple(int(value) for value in dark)
    step = int(random.integers(10, 20))
    if kind == "stripes":
        for x in range(int(random.integers(0, step)), side, step):
            pen.rectangle((x, 0, x + step // 2, side), fill=ink)
    elif kind == "discs":
        for x, y in random.integers(0, side, (9, 2)):
            pen.ellipse((int(x) - step, int(y) - step, int(x) + step // 2, int(y) + step // 2), fill=ink)
    elif kind == "checks":
        for x in range(0, side, step):
            for y in range(x % (2 * step), side, 2 * step):
                pen.rectangle((x, y, x + step - 1, y + step - 1), fill=ink)
    else:
        noise = random.normal(0, 25, (side, side, 3)) + (dark.astype(float) + light) / 2
        picture = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
    return picture


def save(kind: str, seed: int, path: Path) -> Path:
    """One picture as a file; the suffix says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(kind, seed).save(path, quality=92)
    return path


def exif(time: str = "", maker: str = "", model: str = "", number: str = "") -> Image.Exif:
    """What a camera notes of a picture: when it was taken (2026:05:01 12:00:00), and which camera it is."""
    data = Image.Exif()
    inside = data.get_ifd(0x8769)
    inside |= {tag: text for tag, text in ((0x9003, time), (0xA431, number)) if text}
    data[0x8769] = inside
    for tag, text in ((0x010F, maker), (0x0110, model)):
        if text:
            data[tag] = text
    return data


def save_tinted(tint: tuple[int, int, int], seed: int, path: Path, side: int = 96) -> Path:
    """A picture of coloured noise; every seed gives another, in another shade."""
    random = np.random.default_rng([*tint, seed])
    noise = np.array(tint) + random.normal(0, 25, (side, side, 3)) + random.normal(0, 30, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).save(path, quality=92)
    return path


def save_slow(path: Path) -> Path:
    """A small PNG that takes about a second, and 196 MB, to decode."""
    Image.new("L", (14000, 14000)).save(path, compress_level=1)
    return path


def class_folders(root: Path, classes: dict[str, str], count: int, *, start: int = 0) -> Path:
    """A data set: for each class name, ``count`` pictures of its kind."""
    for name, kind in classes.items():
        for seed in range(start, start + count):
            save(kind, seed, root / name / f"{kind}_{seed}.jpg")
    return root


def files_below(folder: Path) -> dict[str, Sequence[str]]:
    """The image files in each folder directly below one, by name."""
    return {
        inside.name: sorted(file.name for file in inside.iterdir() if not file.name.startswith("."))
        for inside in sorted(folder.iterdir())
        if inside.is_dir()
    }
