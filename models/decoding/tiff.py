"""Remove the tags of a TIFF that its picture does not need."""

from __future__ import annotations

import struct

#: Size, depth, compression, photometric, fill order, strips, orientation, samples, planes, fax options, predictor,
#: palette, tiles, inks, extra samples, sample format, and what JPEG and YCbCr need.
NEEDED = {256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325}
NEEDED |= {332, 333, 334, 338, 339, 347, *range(512, 522), 529, 530, 531, 532}


def without_metadata(data: bytes) -> bytes:
    """Remove the tags of the first picture that its pixels do not need, and the other pictures."""
    order = "<" if data.startswith(b"I") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    count_format, entry_size, offset_format = ("Q", 20, "Q") if big else ("H", 12, "I")
    start: int = struct.unpack_from(order + offset_format, data, 8 if big else 4)[0]
    count: int = struct.unpack_from(order + count_format, data, start)[0]
    first = start + struct.calcsize(count_format)
    entries = []
    for offset in range(first, min(first + count * entry_size, len(data) - entry_size + 1), entry_size):
        if struct.unpack_from(order + "H", data, offset)[0] in NEEDED:
            entries.append(data[offset : offset + entry_size])
    count_bytes = struct.pack(order + count_format, len(entries))
    directory = count_bytes + b"".join(entries) + bytes(struct.calcsize(offset_format))
    return data[:start] + directory + data[start + len(directory) :]
