"""Read TIFFs whose samples Pillow misreads or does not support.

libtiff only decompresses: it is given a picture of bytes. Depth, planes, byte order and prediction are handled here.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from models.decoding.depth import eight_bits
from models.decoding.tiffdirectory import Directory, read, with_directory

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_LENGTHS, _PLANES, _PREDICTOR = 273, 274, 277, 278, 279, 284, 317
_PALETTE, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_LENGTHS, _EXTRA, _FORMAT, _NODATA = (
    *(320, 322, 323, 324, 325, 338, 339),
    42113,
)
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _INDEXED, _LAB = 0, 1, 2, 3, 8
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _INDEXED: 1, _LAB: 3}
# Lossless compression: none, LZW, Deflate (two numbers), PackBits, LZMA and Zstandard.
_LOSSLESS = (1, 5, 8, 32946, 32773, 34925, 50000)
_UNSIGNED, _SIGNED, _REAL, _UNKNOWN = 1, 2, 3, 4
# A file with more samples per pixel is not a picture.
_MOST_SAMPLES = 32
# How many bits of samples are unpacked at once.
_UNPACKED_BITS = 1 << 25

Samples = npt.NDArray[Any]


def needs_own_reader(directory: Directory) -> bool:
    """Return whether Pillow misreads a picture that this module reads correctly."""
    photometric, count = directory.number(_PHOTOMETRIC, -1), directory.number(_SAMPLES, 1)
    bits = directory.numbers(_BITS, (1,))
    if photometric not in _COLOURS or directory.number(_COMPRESSION, 1) not in _LOSSLESS or len(set(bits)) > 1:
        return False
    if not _COLOURS[photometric] <= count <= _MOST_SAMPLES or not 0 < bits[0] <= 64:
        return False
    if photometric == _INDEXED:
        return count == 1 and bits[0] == 8 and max(directory.numbers(_PALETTE, (65535,))) < 256
    if photometric == _LAB:
        return bits[0] == 8 and count == 3 and directory.number(_PLANES, 1) == 2
    if bits[0] == 8 and directory.number(_FORMAT, _UNSIGNED) in (_UNSIGNED, _UNKNOWN):
        return count > 1 and directory.number(_PLANES, 1) == 2
    return bits[0] not in (1, 2, 4, 8) or (count > 1 and bits[0] != 8) or directory.number(_FORMAT, 1) == _SIGNED


class SampledTiff(ImageFile):
    """A TIFF that is read by this module, with the interface of Pillow's own class."""

    format = "TIFF"
    format_description = "TIFF of unusual samples"

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._frames: list[Directory] = []
        self._frame = 0
        super().__init__(BytesIO(data))

    def _open(self) -> None:
        self._frames = list(_directories(self._data))
        self._set_up()

    def _set_up(self) -> None:
        directory = self._frames[self._frame]
        self._size = directory.number(_WIDTH), directory.number(_HEIGHT)
        if min(self._size) <= 0 or max(self._size) >= 1 << 31 or not needs_own_reader(directory):
            raise ValueError("not a TIFF that this class reads")
        self._mode = "RGB"
        self._loaded = False

    @property
    def n_frames(self) -> int:
        return len(self._frames)

    @property
    def is_animated(self) -> bool:
        return len(self._frames) > 1

    def tell(self) -> int:
        return self._frame

    def seek(self, frame: int) -> None:
        """Select another picture of the file."""
        if not 0 <= frame < len(self._frames):
            raise EOFError("no such picture")
        self._frame = frame
        self._set_up()

    def getexif(self) -> Image.Exif:
        """Return the orientation, the only EXIF tag that is used."""
        exif = Image.Exif()
        exif[_ORIENTATION] = self._frames[self._frame].number(_ORIENTATION, 1)
        return exif

    def load(self) -> Any:
        """Read the picture unless that is done."""
        if not self._loaded:
            picture = _picture(self._data, self._frames[self._frame])
            self.im, self._mode, self._loaded = picture.im, picture.mode, True
        return self.im.pixel_access(self.readonly)


def _directories(data: bytes) -> Iterator[Directory]:
    seen: set[int] = set()
    directory = read(data)
    yield directory
    while directory.following and directory.following not in seen and len(seen) < 1000:
        seen.add(directory.following)
        try:
            directory = read(data, directory.following)
        except ValueError:
            return
        yield directory


def _picture(data: bytes, directory: Directory) -> Image.Image:
    photometric = directory.number(_PHOTOMETRIC)
    values = _samples(data, directory)
    colours = _COLOURS[photometric]
    if photometric == _INDEXED:
        palette = np.array(directory.numbers(_PALETTE), np.uint8).reshape(3, -1).T
        return Image.fromarray(palette[np.minimum(values[..., 0], len(palette) - 1)])
    if photometric == _LAB:
        return Image.frombytes("LAB", values.shape[1::-1], values.tobytes())
    extra = directory.numbers(_EXTRA, (2,) if colours == 3 and values.shape[2] == 4 else (0,))[0]
    has_alpha = values.shape[2] > colours and extra in (1, 2)
    shown = eight_bits(
        values[..., : colours + has_alpha],
        directory.numbers(_BITS, (1,))[0],
        alpha=has_alpha,
        nodata=_nodata(directory),
    )
    if photometric == _WHITE_IS_ZERO:
        shown[..., :1] = 255 - shown[..., :1]
    if not has_alpha:
        return Image.fromarray(shown[..., 0] if colours == 1 else shown)
    if colours == 1:
        shown = shown[..., [0, 0, 0, 1]]
    return Image.frombytes("RGBa" if extra == 1 else "RGBA", shown.shape[1::-1], shown.tobytes())


def _nodata(directory: Directory) -> float | None:
    """Parse the value that means "no data", as maps have it."""
    text = directory.tags.get(_NODATA)
    try:
        return float(text.strip(b" \0")) if isinstance(text, bytes) else None
    except ValueError:
        return None


def _samples(data: bytes, directory: Directory) -> Samples:
    """Read the samples (height, width, samples per pixel) of a picture."""
    width, height = directory.number(_WIDTH), directory.number(_HEIGHT)
    count, planar = directory.number(_SAMPLES, 1), directory.number(_PLANES, 1) == 2
    tiled = _TILES in directory.tags
    rows = directory.number(_TILE_HEIGHT) if tiled else min(directory.number(_ROWS, height) or height, height)
    across = directory.number(_TILE_WIDTH) if tiled else width
    offsets = directory.numbers(_TILES if tiled else _STRIPS)
    lengths = directory.numbers(_TILE_LENGTHS if tiled else _STRIP_LENGTHS)
    if min(rows, across) <= 0 or not offsets:
        raise ValueError("no pixels")
    if not lengths and len(offsets) == 1:
        lengths = (len(data) - offsets[0],)
    pieces = list(zip(offsets, lengths, strict=True))
    planes = count if planar and count > 1 else 1
    per_plane = -(-height // rows) * -(-width // across)
    if len(pieces) < planes * per_plane:
        raise ValueError("pixels are missing")
    samples = []
    for plane in range(planes):
        own = pieces[plane * per_plane : (plane + 1) * per_plane]
        stacked_height = rows * per_plane if tiled else height
        samples.append(_plane(data, directory, own, (stacked_height, across, count // planes), rows))
    values = samples[0] if planes == 1 else np.concatenate(samples, axis=2)
    if tiled:
        down, side = -(-height // rows), -(-width // across)
        values = values.reshape(down, side, rows, across, count).swapaxes(1, 2)
        values = values.reshape(down * rows, side * across, count)[:height, :width]
    return values


def _plane(
    data: bytes, directory: Directory, pieces: list[tuple[int, int]], shape: tuple[int, int, int], rows: int
) -> Samples:
    """Read the samples of strips or tiles, stacked one below the other."""
    height, width, count = shape
    bits = directory.numbers(_BITS, (1,))[0]
    row_bytes = (width * count * bits + 7) // 8
    packed = _decompressed(data, directory, pieces, (height, row_bytes), rows)
    predictor = directory.number(_PREDICTOR, 1) if directory.number(_COMPRESSION, 1) != 1 else 1
    if predictor == 3:
        packed = np.cumsum(packed.reshape(height, -1, count), axis=1, dtype=np.uint8)
        parts = packed.reshape(height, bits // 8, width * count).swapaxes(1, 2)
        return np.ascontiguousarray(parts).view(f">f{bits // 8}").reshape(shape)
    if bits % 8:
        values = _unpacked(packed, width * count, bits).reshape(shape)
    else:
        kind = {_SIGNED: "i", _REAL: "f"}.get(directory.number(_FORMAT, _UNSIGNED), "u")
        values = packed.reshape(-1).view(np.dtype(f"{directory.order}{kind}{bits // 8}")).reshape(shape)
    if predictor == 2:
        values = np.cumsum(values, axis=1, dtype=values.dtype.newbyteorder("="))
    return values


def _decompressed(
    data: bytes, directory: Directory, pieces: list[tuple[int, int]], shape: tuple[int, int], rows: int
) -> npt.NDArray[np.uint8]:
    """Decompress strips or tiles into one array of bytes (height, bytes of a row)."""
    height, row_bytes = shape
    compression, fill_order = directory.number(_COMPRESSION, 1), directory.number(_FILL_ORDER, 1)
    if compression != 1:
        tags: dict[int, tuple[int, ...]] = {
            _WIDTH: (row_bytes,),
            _HEIGHT: (height,),
            _BITS: (8,),
            _COMPRESSION: (compression,),
            _PHOTOMETRIC: (1,),
        }
        tags |= {_SAMPLES: (1,), _ROWS: (rows,), _FILL_ORDER: (fill_order,)}
        tags |= {_STRIPS: tuple(offset for offset, _ in pieces), _STRIP_LENGTHS: tuple(length for _, length in pieces)}
        return np.asarray(TiffImageFile(BytesIO(with_directory(data, "<", tags))))
    view = memoryview(data)
    parts, missing_rows = [], height
    for offset, length in pieces:
        size = row_bytes * min(rows, missing_rows)
        missing_rows -= rows
        if length < size or offset + size > len(data):
            raise OSError("image file is truncated")
        parts.append(view[offset : offset + size])
    whole = np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), np.uint8).reshape(shape)
    if fill_order == 2:
        whole = np.packbits(np.unpackbits(whole, axis=1, bitorder="little"), axis=1)
    return whole


def _unpacked(packed: npt.NDArray[np.uint8], count: int, bits: int) -> npt.NDArray[np.uint16]:
    """Unpack samples of up to 16 bits; only rows begin at a whole byte."""
    if bits > 16:
        raise ValueError("too many bits")
    values = np.empty((len(packed), count), np.uint16)
    weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.uint16)
    rows_at_once = max(1, _UNPACKED_BITS // max(1, count * bits))
    for start in range(0, len(packed), rows_at_once):
        unpacked = np.unpackbits(packed[start : start + rows_at_once], axis=1, count=count * bits)
        values[start : start + rows_at_once] = unpacked.reshape(-1, count, bits) @ weights
    return cast(npt.NDArray[np.uint16], values)
