"""Open TIFFs with the reader that gets their samples right: Pillow's or ours."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL.ImageFile import ImageFile, _Tile
from PIL.TiffImagePlugin import TiffImageFile

from models.decoding.tiff import NEEDED
from models.decoding.tiffdirectory import read, with_directory
from models.decoding.tiffsamples import SampledTiff, needs_own_reader

_BITS_PER_SAMPLE, _PLANES = 258, 284
_NATIVE = {"RGB": "RGB;16N", "RGBA": "RGBA;16N", "CMYK": "CMYK;16N"}


def open_tiff(file: BytesIO) -> ImageFile:
    """Open an image: its header is read, no pixel is decoded."""
    data = file.getvalue()
    directory = read(data)
    if needs_own_reader(directory):
        return SampledTiff(data)
    if data.startswith(b"MM\0+"):  # Pillow reads its 8-byte offsets as 4-byte ones
        needed = {tag: value for tag, value in directory.tags.items() if tag in NEEDED and not isinstance(value, bytes)}
        data = with_directory(data, directory.order, needed)
    image = TiffImageFile(BytesIO(data))
    _fix_planes(image)
    return image


def _fix_planes(image: Any) -> None:
    """Have uncompressed planes read correctly: Pillow takes each sample for 8 bits without a sign.

    ``image`` is opened but not loaded. With a single sample per pixel planes make no difference; those of 16 bits are
    left to libtiff. Raises ValueError for planes that neither can read.
    """
    if image.use_load_libtiff or image.tag_v2.get(_PLANES) != 2:
        return
    if len(image.getbands()) == 1:
        image.tag_v2[_PLANES] = 1
        image._setup()
    elif image.mode == "LAB":
        raise ValueError("planes of signed samples")
    elif set(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) != {8}:
        rawmode = _NATIVE[image.mode]
        image.use_load_libtiff = True
        image.tile = [_Tile("libtiff", (0, 0, *image._tile_size), 0, (rawmode, False, image.tag_v2.offset))]
