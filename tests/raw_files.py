"""Raw files as cameras write them: a DNG with what a sensor saw, and with or without a preview."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

_SHORT, _LONG, _BYTE, _ASCII = 3, 4, 1, 2
_FORMATS = {_SHORT: "H", _LONG: "I", _BYTE: "B"}


_Tags = dict[int, tuple[int, list[int] | bytes]]


def dng(preview: Image.Image | None, *, orientation: int = 1, exif: int | None = None, side: int = 64) -> bytes:
    """A grey DNG of ``side`` pixels a side; ``exif``: the orientation that the preview itself says."""
    jpeg = b"" if preview is None else _jpeg(preview, exif)
    sensor = np.full((side, side), 20_000, "<u2").tobytes()
    raw: _Tags = {
        254: (_LONG, [0]), 256: (_LONG, [side]), 257: (_LONG, [side]), 258: (_SHORT, [16]), 259: (_SHORT, [1]),
        262: (_SHORT, [32803]), 273: (_LONG, [0]), 277: (_SHORT, [1]), 278: (_LONG, [side]),
        279: (_LONG, [len(sensor)]), 33421: (_SHORT, [2, 2]), 33422: (_BYTE, [0, 1, 1, 2]), 50717: (_LONG, [65535]),
    }  # fmt: skip
    first: _Tags = {
        271: (_ASCII, b"Maker\0"), 272: (_ASCII, b"Camera\0"), 274: (_SHORT, [orientation]), 330: (_LONG, [0]),
        50706: (_BYTE, [1, 4, 0, 0]), 50707: (_BYTE, [1, 1, 0, 0]), 50708: (_ASCII, b"Maker Camera\0"),
        50721: (9, [1, 0, 0, 0, 1, 0, 0, 0, 1]), 50778: (_SHORT, [21]),
    }  # fmt: skip
    if preview is not None:
        first |= {
            254: (_LONG, [1]), 256: (_LONG, [preview.width]), 257: (_LONG, [preview.height]),
            258: (_SHORT, [8, 8, 8]), 259: (_SHORT, [7]), 262: (_SHORT, [6]), 273: (_LONG, [0]), 277: (_SHORT, [3]),
            278: (_LONG, [preview.height]), 279: (_LONG, [len(jpeg)]),
        }  # fmt: skip
    for _ in range(2):  # the second time all places are known
        head = _directory(first, 8)
        start = 8 + len(head)
        body = _directory(raw, start)
        first[330] = (_LONG, [start])
        raw[273] = (_LONG, [start + len(body)])
        if preview is not None:
            first[273] = (_LONG, [start + len(body) + len(sensor)])
    return b"II*\0\x08\0\0\0" + _directory(first, 8) + _directory(raw, start) + sensor + jpeg


def _jpeg(picture: Image.Image, exif: int | None) -> bytes:
    file, data = io.BytesIO(), Image.Exif()
    if exif is not None:
        data[274] = exif
    picture.save(file, "JPEG", quality=95, **({} if exif is None else {"exif": data}))
    return file.getvalue()


def _directory(tags: _Tags, start: int) -> bytes:
    entries, more = b"", b""
    after = start + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        if isinstance(values, bytes):
            data, count = values, len(values)
        elif kind == 9:  # matrices are of signed fractions
            kind, count = 10, len(values)
            data = b"".join(struct.pack("<ii", value, 1) for value in values)
        else:
            data, count = struct.pack(f"<{len(values)}{_FORMATS[kind]}", *values), len(values)
        if len(data) > 4:
            place = struct.pack("<I", after + len(more))
            more += data + b"\0" * (len(data) % 2)
        else:
            place = data.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, kind, count) + place
    return struct.pack("<H", len(tags)) + entries + b"\0\0\0\0" + more
