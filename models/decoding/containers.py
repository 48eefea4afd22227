"""Remove metadata, which may be broken, from WebP, AVIF and HEIC files."""

from __future__ import annotations

import re
import struct

_PICTURE_CHUNKS = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"}
# The flags of VP8X for an ICC profile, EXIF and XMP.
_METADATA_FLAGS = 0x20 | 0x08 | 0x04
_EXIF = re.compile(rb"infe[\2\3].{7,9}Exif", re.DOTALL)


def webp_without_metadata(data: bytes) -> bytes:
    """Return a WebP file with only the chunks of its picture, and its length corrected."""
    chunks = []
    offset = 12
    while offset + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, offset)
        end = offset + 8 + length + length % 2
        if name in _PICTURE_CHUNKS:
            chunk = data[offset:end]
            if name == b"VP8X":
                chunk = chunk[:8] + bytes([chunk[8] & ~_METADATA_FLAGS]) + chunk[9:]
            if offset + 8 + length > len(data):
                raise ValueError("a chunk of the picture is truncated")
            chunks.append(chunk.ljust(end - offset, b"\0"))
        offset = end
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def boxes_without_metadata(data: bytes) -> bytes:
    """Rename the EXIF item of a HEIC or AVIF file, so that it is ignored. Orientation is stored elsewhere in it."""
    return _EXIF.sub(lambda item: item[0][:-4] + b"none", data)
