"""Opening a TIFF by whoever reads its samples right."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL.ImageFile import ImageFile, _Tile
from PIL.TiffImagePlugin import TiffImageFile

from models.decoding.tiff import NEEDED
from models.decoding.tiffdirectory import read, with_directory
from models.decoding.tiffsamples import SampledTiff, is_for_us

_BITS_PER_SAMPLE, _PLANES = 258, 284
_NATIVE = {"RGB": "RGB;16N", "RGBA": "RGBA;16N", "CMYK": "CMYK;16N"}


def open_tiff(file: BytesIO) -> ImageFile:
    """The image with its header read, and no pixel."""
    data = file.getvalue()
    directory = read(data)
    if is_for_us(directory):
        return SampledTiff(data)
    if data.startswith(b"MM\0+"):  # Pillow takes its places for those of 4 bytes
        kept = {tag: value for tag, value in directory.tags.items() if tag in NEEDED and not isinstance(value, bytes)}
        data = with_directory(data, directory.order, kept)
    image = TiffImageFile(BytesIO(data))
    _set_right(image)
    return image


def _set_right(image: Any) -> None:
    """Have uncompressed planes read as what they are: Pillow takes each sample for 8 bits without a sign.

    ``image`` is a file that was opened, and not loaded. Of a single sample, planes say nothing; those of 16 bits are
    left to libtiff. Raises ValueError for those that nobody can read.
    """
    if image.use_load_libtiff or image.tag_v2.get(_PLANES) != 2:
        return
    if len(image.getbands()) == 1:
        image.tag_v2[_PLANES] = 1
        image._setup()
    elif image.mode == "LAB":
        raise ValueError("planes with a sign")
    elif set(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) != {8}:
        rawmode = _NATIVE[image.mode]
        image.use_load_libtiff = True
        image.tile = [_Tile("libtiff", (0, 0, *image._tile_size), 0, (rawmode, False, image.tag_v2.offset))]
