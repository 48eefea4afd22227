"""Samples of every depth and kind as the 8 bits that a person would see."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# How many bits a sensor may use of 16; of colours, 8 as well.
_DEPTHS = (10, 12, 14, 16)
# How many samples tell the range that is in use.
_SAMPLE = 250_000
# What differs by fewer levels of 65,536 than this is noise, and nothing to be seen.
_FLAT = 64
# What has fewer values than this is a frame, a logo, a broken pixel or the mark of no value, and not the picture.
_FEW = 16
# How often values that lie apart may be left out.
_GAPS = 4

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]


def eight_bits(values: Values, bits: int, *, alpha: bool = False, nodata: float | None = None) -> Bytes:
    """The samples of a picture (height, width, samples of a pixel), the last of them alpha or not, as 8 bits.

    16 bits are scaled from the range that is in use. Signs, more bits and floating point tell no range, so floating
    point within 0..1, and anything within 0..255, is taken as that, and what goes beyond is stretched from its lowest
    to its highest value. ``nodata`` is a value that stands for none.
    """
    colours = values[..., :-1] if alpha else values
    if values.dtype.kind != "u" or bits > 16:
        shown = _stretched(colours, nodata)
        covers = _stretched(values[..., -1:], None) if alpha else None
    elif bits <= 8:
        shown, covers = _widened(colours, bits), _widened(values[..., -1:], bits) if alpha else None
    else:
        shown, depth = scaled(colours, bits, nodata)
        if alpha and (values[..., -1] >> depth).any():  # it uses more of its bits than the colours do
            depth = bits
        covers = _upper_byte(values[..., -1:], depth) if alpha else None
    return shown if covers is None else np.concatenate([shown, covers], axis=-1)


def _widened(values: Values, bits: int) -> Bytes:
    table = np.rint(np.arange(256) * (255 / ((1 << bits) - 1))).clip(0, 255).astype(np.uint8)
    grey: Bytes = table[values]
    return grey


def scaled(values: Values, bits: int, nodata: float | None = None) -> tuple[Bytes, int]:
    """Values of so many bits as 8, from the range that they use, and how many bits that is.

    Sensors of 10, 12 and 14 bits write 16, and a thermal camera some hundred levels in the middle of them: black, or
    flat. So where the upper bits of 16 are not in use, the lower 10, 12 or 14 are the range; and where less than a
    quarter of that range is in use by a grey picture, it is what is between the darkest and the brightest. Of a picture
    that uses the whole range, or in which nothing is to be seen, not a bit is changed. One pixel in 10,000 may be
    broken, and more where they lie apart, as frames and logos do.
    """
    if bits < 16:
        return _upper_byte(values, bits), bits
    low, high = _used(values, nodata)
    if high - low < _FLAT:
        return _upper_byte(values, bits), bits
    coloured = values.ndim == 3 and values.shape[2] > 1
    used = next(depth for depth in ((8, *_DEPTHS) if coloured else _DEPTHS) if high < 1 << depth)
    if coloured or high - low >= 1 << used >> 2:
        return _upper_byte(np.minimum(values, (1 << used) - 1), used), used
    between = np.clip(values, low, high).astype(np.float32) - low
    return np.rint(between * (255 / (high - low))).astype(np.uint8), used


def _upper_byte(values: Values, bits: int) -> Bytes:
    grey: Bytes = (values >> (bits - 8)).astype(np.uint8)
    return grey


def _sampled(values: Values, nodata: float | None) -> Values:
    """Some of the values in their order, without those that are none: of a large picture, every so many."""
    sample = values.reshape(-1)[:: max(1, values.size // _SAMPLE) | 1]
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    if nodata is not None:
        sample = sample[sample != nodata]
    return np.sort(sample.astype(sample.dtype.newbyteorder("=")))


def _used(values: Values, nodata: float | None) -> tuple[int, int]:
    """The darkest and the brightest value, but for one in 10,000 and those that lie apart."""
    ordered = _together(_sampled(values, nodata))
    if not ordered.size:
        return 0, 0
    rare = ordered.size // 10_000
    return int(ordered[rare]), int(ordered[ordered.size - 1 - rare])


def _together(ordered: Values) -> Values:
    """The values without those that lie farther from the others than those do from each other."""
    for _ in range(_GAPS):
        distinct = np.unique(ordered).astype(np.float64)
        if distinct.size < _FEW:
            return ordered
        gaps = np.diff(distinct)
        place = int(gaps.argmax())
        parts = []
        for some in (distinct[: place + 1], distinct[place + 1 :]):
            start, end = np.searchsorted(ordered, some[0]), np.searchsorted(ordered, some[-1], "right")
            parts.append((some.size >= _FEW, int(end - start), some[-1] - some[0], start, end))
        many, _count, span, start, end = max(parts)
        if not many or gaps[place] <= span or (ordered.dtype.kind != "f" and span < _FLAT):
            return ordered
        ordered = ordered[start:end]
    return ordered


def _stretched(values: Values, nodata: float | None) -> Bytes:
    with np.errstate(all="ignore"):
        real = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
        ordered = _extremes(values, nodata)
    low, high = ordered
    if low >= 0 and high <= 255:
        low, high = 0.0, (1.0 if values.dtype.kind == "f" and high <= 1 else 255.0)
    slope = 255 / ((high - low) or 1.0)
    with np.errstate(all="ignore"):
        grey: Bytes = np.clip(np.rint(real * slope - low * slope), 0, 255).astype(np.uint8)
    return grey


def _extremes(values: Values, nodata: float | None) -> tuple[float, float]:
    """The lowest and the highest value of those that lie together."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if nodata is not None:
        finite = finite[finite != np.asarray(nodata).astype(values.dtype)]
    if not finite.size:
        return 0.0, 0.0
    ordered = _sampled(values, nodata)
    kept = _together(ordered)
    low, high = float(finite.min()), float(finite.max())
    if not kept.size:
        return low, high
    return (
        low if kept[0] == ordered[0] else float(kept[0]),
        high if kept[-1] == ordered[-1] else float(kept[-1]),
    )
