"""Convert samples of every depth and type to the 8 bits that a person would see."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# The numbers of bits that a sensor may use of 16; for colours also 8.
_DEPTHS = (10, 12, 14, 16)
# The range in use is measured on about this many samples.
_SAMPLE = 250_000
# A range of fewer levels of 65,536 than this is noise.
_FLAT = 64
# A group of fewer distinct values than this is a frame, a logo, a broken pixel or a "no data" value, not the picture.
_FEW = 16
# At most this many groups of outlying values are left out.
_GAPS = 4

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]


def eight_bits(values: Values, bits: int, *, alpha: bool = False, nodata: float | None = None) -> Bytes:
    """Convert samples (height, width, samples per pixel) to 8 bits; with ``alpha`` the last sample is alpha.

    16 bits are scaled from the range in use. Signed samples, more bits and floating point have no known range: floating
    point within 0..1, and anything within 0..255, is taken as such, and everything else is stretched from its lowest to
    its highest value. ``nodata`` is a value that means "no data".
    """
    colours = values[..., :-1] if alpha else values
    if values.dtype.kind != "u" or bits > 16:
        shown = _stretched(colours, nodata)
        alphas = _stretched(values[..., -1:], None) if alpha else None
    elif bits <= 8:
        shown, alphas = _widened(colours, bits), _widened(values[..., -1:], bits) if alpha else None
    else:
        shown, depth = scaled(colours, bits, nodata)
        if alpha and (values[..., -1] >> depth).any():  # alpha uses more bits than the colours do
            depth = bits
        alphas = _upper_byte(values[..., -1:], depth) if alpha else None
    return shown if alphas is None else np.concatenate([shown, alphas], axis=-1)


def _widened(values: Values, bits: int) -> Bytes:
    table = np.rint(np.arange(256) * (255 / ((1 << bits) - 1))).clip(0, 255).astype(np.uint8)
    grey: Bytes = table[values]
    return grey


def scaled(values: Values, bits: int, nodata: float | None = None) -> tuple[Bytes, int]:
    """Scale values of ``bits`` bits to 8, from the range that they use; also return how many bits they use.

    Sensors of 10, 12 and 14 bits write 16, and thermal cameras use a few hundred levels in the middle: without scaling
    their images would be black or flat. If the upper bits are unused, the range is that of the lower 14, 12 or 10, of
    colours also 8. A grey picture that uses less than a quarter of that range is stretched from its darkest to its
    brightest value. A blank picture is not scaled. Outliers do not count, nor does one pixel in 10,000 at either end,
    which may be broken.
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
    """Return a sorted sample of the values, without "no data"."""
    sample = values.reshape(-1)[:: max(1, values.size // _SAMPLE) | 1]
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    if nodata is not None:
        sample = sample[sample != nodata]
    return np.sort(sample.astype(sample.dtype.newbyteorder("=")))


def _used(values: Values, nodata: float | None) -> tuple[int, int]:
    """Return the darkest and the brightest value, without outliers and one pixel in 10,000 at either end."""
    ordered = _without_outliers(_sampled(values, nodata))
    if not ordered.size:
        return 0, 0
    rare = ordered.size // 10_000
    return int(ordered[rare]), int(ordered[ordered.size - 1 - rare])


def _without_outliers(ordered: Values) -> Values:
    """Remove groups of outliers, such as a frame, a logo or a "no data" value, from sorted values.

    The values are split at the widest gap between them, and the group is removed that has too few distinct values for a
    picture, or else fewer values; up to `_GAPS` times. Both stay if the gap is not wider than the range of the other
    group, or if that is too flat for a picture or has too few distinct values, too.
    """
    for _ in range(_GAPS):
        distinct = np.unique(ordered).astype(np.float64)
        if distinct.size < _FEW:
            return ordered
        gaps = np.diff(distinct)
        widest = int(gaps.argmax())
        groups = []
        for group in (distinct[: widest + 1], distinct[widest + 1 :]):
            start, end = np.searchsorted(ordered, group[0]), np.searchsorted(ordered, group[-1], "right")
            groups.append((group.size >= _FEW, int(end - start), group[-1] - group[0], start, end))
        has_many, _count, span, start, end = max(groups)
        if not has_many or gaps[widest] <= span or (ordered.dtype.kind != "f" and span < _FLAT):
            return ordered
        ordered = ordered[start:end]
    return ordered


def _stretched(values: Values, nodata: float | None) -> Bytes:
    with np.errstate(all="ignore"):
        finite = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
        low, high = _extremes(values, nodata)
    if low >= 0 and high <= 255:
        low, high = 0.0, (1.0 if values.dtype.kind == "f" and high <= 1 else 255.0)
    slope = 255 / ((high - low) or 1.0)
    with np.errstate(all="ignore"):
        grey: Bytes = np.clip(np.rint(finite * slope - low * slope), 0, 255).astype(np.uint8)
    return grey


def _extremes(values: Values, nodata: float | None) -> tuple[float, float]:
    """Return the lowest and the highest value, without outliers."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if nodata is not None:
        finite = finite[finite != np.asarray(nodata).astype(values.dtype)]
    if not finite.size:
        return 0.0, 0.0
    ordered = _sampled(values, nodata)
    inliers = _without_outliers(ordered)
    low, high = float(finite.min()), float(finite.max())
    if not inliers.size:
        return low, high
    return (
        low if inliers[0] == ordered[0] else float(inliers[0]),
        high if inliers[-1] == ordered[-1] else float(inliers[-1]),
    )
