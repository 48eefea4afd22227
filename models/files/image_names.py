"""Tell images by the names of their files: names alone, since what opens images takes long to load."""

from __future__ import annotations

from pathlib import PurePath

#: The suffixes of image files, in lower case and with the dot. Decoding depends on the content alone.
IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in "jpg jpeg jpe jfif png webp gif bmp dib tif tiff avif heic heif hif".split()  # noqa: SIM905
)


def is_image_name(name: str) -> bool:
    """Whether a file of this name is an image by its suffix, in upper or lower case."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES
