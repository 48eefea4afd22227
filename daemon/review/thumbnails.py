"""Make thumbnails of filed images: the one thing of an image that is ever served.

The sandboxed decoders read the file, below the output and never through a link, and say which file they have read. Only
where that is what the journal says was filed, its pixels are encoded anew, upright and without any metadata. A hostile
image costs a decoder, never this process.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError
from io import BytesIO
from pathlib import Path

from PIL import Image

from daemon.decoding.decoder import Decoded, DecoderLost, Task
from daemon.decoding.pool import DecoderPool, Limits
from daemon.files.sessions import come_after_others
from daemon.files.source import Source, SourceUnreadable
from daemon.filing.identity import is_in_filed_state
from daemon.journal.records import Filing
from daemon.review.place import ReviewedOutput
from daemon.review.refusals import Refusal, ending, image_changed, no_image
from models.decoding.images import Transform
from models.errors import ImageError

#: Bytes of encoded thumbnails that are kept in memory: those of some 2,000 small ones.
CACHE_BYTES = 24 << 20
MEDIA_TYPE = "image/jpeg"
#: What an entry takes beside its bytes.
_ENTRY_BYTES = 200
_QUALITY = 82


class Thumbnails:
    """Makes thumbnails, and keeps those that were asked for last. Safe in any thread."""

    def __init__(self, place: ReviewedOutput, *, decoders: int = 2, cache_bytes: int = CACHE_BYTES) -> None:
        settings = place.settings
        self._place = place
        self._pool = DecoderPool(
            decoders, Limits(memory=settings.decode_memory_mb << 20, seconds=settings.decode_seconds)
        )
        come_after_others(self._pool.pids()[0])  # the browser may be on this machine, and is to answer keys first
        self._cache = _Cache(cache_bytes)

    def close(self) -> None:
        """End the decoders."""
        self._pool.close()

    def of_filing(self, filing: Filing, size: int) -> bytes:
        """Return a JPEG whose longer side is at most ``size`` px. Raises `Refusal`."""
        path = filing.destination or filing.source
        try:
            if not is_in_filed_state(self._place.roots.status(str(path)), filing):
                raise image_changed()
        except (OSError, ValueError):
            raise no_image() from None
        key = (filing.id, filing.sha256, size)
        kept = self._cache.get(key)
        if kept is None:
            kept = self._make(path, self._place.roots.root_of(str(path)), size, lambda source: _is(source, filing))
            self._cache.put(key, kept)
        return kept

    def of_file(self, path: Path, root: Path, size: int, *, sha256: str) -> bytes:
        """Return a JPEG of an image below a folder, which must have that content. Raises `Refusal`."""
        return self._make(path, str(root), size, lambda source: source.sha256 == sha256)

    def _make(self, path: Path, root: str | None, size: int, is_right: Callable[[Source], bool]) -> bytes:
        settings = self._place.settings
        task = Task(
            path=path,
            transforms=(_whole(size),),
            max_bytes=settings.max_file_mb << 20,
            max_pixels=settings.max_megapixels * 1_000_000,
            root=root,
            measures=True,
        )
        try:
            decoded = self._pool.submit(task).result()
        except (CancelledError, DecoderLost, SourceUnreadable):  # at the end only; else they are in the answer
            raise ending() from None
        return _encoded(decoded, size, is_right)


def _is(source: Source, filing: Filing) -> bool:
    """Whether the file that was read is the image that was filed: by its content, or else by its state."""
    if filing.sha256 is not None:
        return source.sha256 == filing.sha256
    return (source.identity.size, source.identity.mtime_ns) == (filing.identity.size, filing.identity.mtime_ns)


def _whole(size: int) -> Transform:
    """Squeeze the whole image into a square, which is stretched again by the image's own size."""
    return Transform(
        resize=size, crop=size, interpolation="bicubic", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), stretch=True
    )


def _encoded(decoded: Decoded, size: int, is_right: Callable[[Source], bool]) -> bytes:
    if isinstance(decoded.error, ImageError):
        raise Refusal(415, decoded.error.message)
    if isinstance(decoded.error, SourceUnreadable):
        raise Refusal(503, str(decoded.error))
    if decoded.error is not None or decoded.source is None or decoded.crops is None:
        raise no_image()
    if not is_right(decoded.source):
        raise image_changed()
    image = Image.fromarray(decoded.crops[0])
    width, height = _fitted(decoded.size or image.size, size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=_QUALITY)
    return encoded.getvalue()


def _fitted(of: tuple[int, int], size: int) -> tuple[int, int]:
    """Return the size of a thumbnail of an image: no side is longer than ``size``, nor than the image's own."""
    width, height = of
    longer = max(width, height, size)
    return max(1, round(width * size / longer)), max(1, round(height * size / longer))


class _Cache:
    """The thumbnails that were used last, up to a number of bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> bytes | None:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def put(self, key: Hashable, value: bytes) -> None:
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = value
            self._bytes += len(value) + _ENTRY_BYTES
            while self._bytes > self._most and self._kept:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= len(dropped) + _ENTRY_BYTES
