"""The tags of a TIFF that its picture is made of."""

from __future__ import annotations

import struct

#: Size, depth, compression, photometric, fill order, strips, orientation, samples, planes, fax options, predictor,
#: palette, tiles, inks, extra samples, sample format, and what JPEG and YCbCr need.
NEEDED = {256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325}
NEEDED |= {332, 333, 334, 338, 339, 347, *range(512, 522), 529, 530, 531, 532}


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
        if struct.unpack_from(order + "H", data, place)[0] in NEEDED:
            kept.append(data[place : place + entry])
    directory = struct.pack(order + counts, len(kept)) + b"".join(kept) + bytes(struct.calcsize(offset))
    return data[:at] + directory + data[at + len(directory) :]
