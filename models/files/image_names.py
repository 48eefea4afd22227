"""Tell images by the names of their files: names alone, since what opens images takes long to load."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import PurePath

#: The suffixes of image files, in lower case and with the dot. Decoding depends on the content alone.
IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in "jpg jpeg jpe jfif png webp gif bmp dib tif tiff avif heic heif hif".split()  # noqa: SIM905
)
#: The suffixes of raw files whose previews can be read, of DNG and of the cameras of Canon, Nikon, Sony, Olympus,
#: Panasonic, Fujifilm and Pentax.
RAW_SUFFIXES = frozenset({".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef"})


def is_raw_name(name: str) -> bool:
    """Whether a file of this name is a raw file by its suffix, in upper or lower case."""
    return PurePath(name).suffix.lower() in RAW_SUFFIXES


@cache
def reads_raw() -> bool:
    """Whether what reads raw files is installed; it is not imported."""
    return find_spec("rawpy") is not None


def is_image_name(name: str) -> bool:
    """Whether a file of this name is an image by its suffix, in upper or lower case."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES
