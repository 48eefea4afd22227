"""The tags of a TIFF that its picture is made of, and planes of samples that Pillow would take apart wrongly."""

from __future__ import annotations

import struct
from typing import Any

from PIL.ImageFile import _Tile

# Size, depth, compression, photometric, fill order, strips, orientation, samples, planes, fax options, predictor,
# palette, tiles, inks, extra samples, sample format, and what JPEG and YCbCr need.
_NEEDED = {256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325}
_NEEDED |= {332, 333, 334, 338, 339, 347, *range(512, 522), 529, 530, 531, 532}

_BITS_PER_SAMPLE, _PLANES = 258, 284
_NATIVE = {"RGB": "RGB;16N", "RGBA": "RGBA;16N", "CMYK": "CMYK;16N"}


def without_metadata(data: bytes) -> bytes:
    """The file without the tags of its first picture that the pixels do not need, and without its other pictures."""
    order = "<" if data.startswith(b"I") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    counts, entry, offset = ("Q", 20, "Q") if big else ("H", 12, "I")
    at: int = struct.unpack_from(order + offset, data, 8 if big else 4)[0]
    count: int = struct.unpack_from(order + counts, data, at)[0]
    start = at + struct.calcsize(counts)
    kept = []
    for place in range(start, min(start + count * entry, len(data) - entry + 1), entry):
        if struct.unpack_from(order + "H", data, place)[0] in _NEEDED:
            kept.append(data[place : place + entry])
    directory = struct.pack(order + counts, len(kept)) + b"".join(kept) + bytes(struct.calcsize(offset))
    return data[:at] + directory + data[at + len(directory) :]


def set_right(image: Any) -> None:
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
