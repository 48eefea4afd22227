"""Tell the format of an image file from its first bytes, and whether its end is missing; nothing is decoded."""

from __future__ import annotations

import struct

from models.decoding.tiffdirectory import directory_end, pixels_end

_TIFF_HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BMP_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
#: Brands that only name the family of formats.
GENERIC_BRANDS = {b"mif1", b"msf1", b"miaf", b"mif2"}
# What programs that write text leave in front of a JPEG: a byte order mark, line ends.
_LEADING = b"\xef\xbb\xbf\r\n\0 "


def kind_of(head: bytes) -> str | None:
    """Return the format of a file by its first 64 bytes; None if it is not supported."""
    if head.lstrip(_LEADING).startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    if head.startswith(_TIFF_HEADERS):
        return "TIFF"
    if head[4:8] == b"ftyp":
        end = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[start : start + 4] for start in range(8, end, 4)}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & (_HEIF_BRANDS | GENERIC_BRANDS):
            return "HEIC"
    return None


def ends_early(data: bytes, kind: str) -> bool:
    """Return whether the file ends before the end that its structure announces."""
    match kind:
        case "JPEG":
            return b"\xff\xd9" not in data
        case "PNG":
            return b"IEND" not in data
        case "GIF":
            return not data.rstrip(b"\0").endswith(b";")
        case "BMP":
            return len(data) < 14 + int.from_bytes(data[14:18], "little") or _bitmap_end(data) > len(data)
        case "WebP":
            return 8 + int.from_bytes(data[4:8], "little") > len(data)
        case "TIFF":
            return directory_end(data) > len(data) or pixels_end(data) > len(data)
        case "AVIF" | "HEIC":
            return _boxes_end(data) > len(data)
    return False


def missing_bytes(data: bytes, kind: str) -> int:
    """Return how many bytes are missing at the end of a file, by its structure; 0 if that does not tell."""
    match kind:
        case "WebP":
            end = 8 + int.from_bytes(data[4:8], "little")
        case "TIFF":
            end = pixels_end(data)
        case "AVIF" | "HEIC":
            end = _boxes_end(data)
        case "BMP":
            end = _bitmap_end(data)
        case _:
            end = 0
    return max(0, end - len(data))


def _bitmap_end(data: bytes) -> int:
    """Return where the pixels of a BMP end; 0 if they are compressed."""
    if len(data) < 54 or data[14] < 40 or data[30] not in (0, 3, 6):
        return 0
    offset, width, height, bits = struct.unpack_from("<I4xii2xH", data, 10)
    return int(offset) + (int(width) * int(bits) + 31) // 32 * 4 * abs(int(height))


def _boxes_end(data: bytes) -> int:
    """Return where the last box of an ISO media file ends."""
    position = 0
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if length == 1:
            length = int.from_bytes(data[position + 8 : position + 16], "big")
        if length < 8 and position + 8 <= len(data):  # 0 means up to the end of the file; any other is damaged
            return len(data)
        position += max(length, 8)
    return position
