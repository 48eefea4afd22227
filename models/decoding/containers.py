"""WebP, AVIF and HEIC files without the metadata that may be broken."""

from __future__ import annotations

import re
import struct

_PICTURE = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"}
# ICC profile, EXIF and XMP, in the flags of VP8X.
_FLAGS = 0x20 | 0x08 | 0x04
_EXIF = re.compile(rb"infe[\2\3].{7,9}Exif", re.DOTALL)


def webp_without_metadata(data: bytes) -> bytes:
    """The file with nothing but the chunks of its picture, and a length that fits them."""
    kept = []
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        if name in _PICTURE:
            chunk = data[at:end]
            if name == b"VP8X":
                chunk = chunk[:8] + bytes([chunk[8] & ~_FLAGS]) + chunk[9:]
            if at + 8 + length > len(data):
                raise ValueError("a chunk of the picture is cut")
            kept.append(chunk.ljust(end - at, b"\0"))
        at = end
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def boxes_without_metadata(data: bytes) -> bytes:
    """The file with its EXIF item renamed to one that nobody knows. Its orientation is in properties of its own."""
    return _EXIF.sub(lambda item: item[0][:-4] + b"none", data)
