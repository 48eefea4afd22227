"""Which names make a file the sidecar of an image, by the habits of cameras, phones and services.

``cat.xmp`` and ``cat.jpg.xmp`` belong to ``cat.jpg``. Google's Takeout writes ``cat.jpg.supplemental-metadata.json``
and cuts it (``cat.jpg.suppl.json``), down into the image's own name where that is long; of ``cat(1).jpg`` it is
``cat.jpg.supplemental-metadata(1).json`` or ``cat.jpg(1).json``. A Live Photo's film is ``cat.mov``, ``cat_HEVC.MOV``
or ``cat.MP4``, that of ``PXL_1.MP.jpg`` is ``PXL_1.MP``; what an iPhone did to ``IMG_E5.jpg`` is in ``IMG_O5.aae``.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from models.images import IMAGE_SUFFIXES, is_image_name

#: Of every image, in place of its suffix or after it.
NOTES = frozenset({".xmp", ".json", ".aae", ".thm"})
#: Films of Live Photos and motion photos, in place of the suffix.
_FILMS = frozenset({".mov", ".mp4", ".mp"})
#: Of a photograph, in place of its suffix: the raw data beside it, or a film.
SHOTS = _FILMS | {
    ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".orf", ".rw2", ".raf", ".pef", ".srw",
    ".gpr", ".rwl", ".3fr", ".fff", ".x3f", ".erf", ".mef", ".mos", ".mrw", ".iiq", ".rwz", ".kdc", ".dcr",
}  # fmt: skip
_PHOTOGRAPHS = frozenset({".jpg", ".jpeg", ".jpe", ".heic", ".heif", ".hif"})
_HEVC = re.compile(r"_hevc\.(mov|mp4)", re.IGNORECASE)
_TAKEOUT = ".supplemental-metadata"
_NUMBERED = re.compile(r"(?P<name>.+)\((?P<number>\d+)\)", re.DOTALL)
#: Takeout gives its notes no longer names than these without ``.json``, counted in characters.
_CUT_AT = (46, 47, 51)
#: What was done to an edited picture, and the picture.
_ORIGINAL, _EDITED = re.compile(r"(.*IMG_)O(\d+.*)", re.IGNORECASE), r"\g<1>E\g<2>"

#: How the name of an image may end.
_ENDINGS = sorted({each for suffix in IMAGE_SUFFIXES for each in (suffix, suffix.upper())})


class _Relation(NamedTuple):
    """What a sidecar's name consists of: the whole name or the stem of its image, and what comes after that."""

    whole: bool
    rest: str


def _parts(name: str) -> tuple[str, str]:
    return os.path.splitext(name)  # noqa: PTH122 - a Path would read "." and ".." into the name


def owners(name: str) -> list[str]:
    """What the name of a sidecar has in common with its image's: stems, whole names or their beginnings; [] if none."""
    start, suffix = _parts(name)
    small = suffix.lower()
    if name.startswith(".") or small not in NOTES | SHOTS:
        return []
    common = [start]
    if small == ".mp":
        common.append(name)
    if hevc := _HEVC.search(name):
        common.append(name[: hevc.start()])
    if small == ".aae" and (original := _ORIGINAL.fullmatch(start)):
        common.append(original.expand(_EDITED))
    if small == ".json":
        numbered = _NUMBERED.fullmatch(start)
        image = _without_takeout(numbered["name"] if numbered else start)
        if numbered:
            stem, kind = _parts(image)
            image = f"{stem}({numbered['number']}){kind}"
        common.append(image)
    return list(dict.fromkeys(common))


def _without_takeout(start: str) -> str:
    """A note's name without what Takeout put after the image's, as far as that was not cut off."""
    image, dot, rest = start.rpartition(".")
    return image if dot and _TAKEOUT.startswith(f".{rest.lower()}") and is_image_name(image) else start


def _relation(sidecar: str, image: str) -> _Relation | None:
    stem, kind = _parts(image)
    start, suffix = _parts(sidecar)
    small = suffix.lower()
    if small in NOTES and start in (stem, image):
        return _Relation(start == image, suffix)
    if kind.lower() in _PHOTOGRAPHS:
        if start == stem and small in SHOTS:
            return _Relation(False, suffix)
        if sidecar.startswith(stem) and _HEVC.fullmatch(sidecar, len(stem)):
            return _Relation(False, sidecar[len(stem) :])
        if sidecar == stem and small == ".mp":
            return _Relation(False, suffix)
    if (
        small == ".aae"
        and (original := _ORIGINAL.fullmatch(start))
        and original.expand(_EDITED).lower() == stem.lower()
    ):
        return _Relation(False, suffix)
    return _of_takeout(start, suffix, image) if small == ".json" else None


def _of_takeout(start: str, suffix: str, image: str) -> _Relation | None:
    if image == _without_takeout(start):
        return _Relation(True, start[len(image) :] + suffix)
    if image in owners(start + suffix):
        return _Relation(True, f"{_TAKEOUT}{suffix}")  # its number stood elsewhere
    if len(start) in _CUT_AT and image.startswith(start):
        return _Relation(True, suffix)
    return None


def belongs(sidecar: str, image: str) -> bool:
    """Whether a file of the one name is a sidecar of an image of the other."""
    return not sidecar.startswith(".") and _relation(sidecar, image) is not None


def is_film(name: str) -> bool:
    """Whether a sidecar of this name is a film."""
    return _parts(name)[1].lower() in _FILMS


def renamed(sidecar: str, image: str, new: str) -> str:
    """The name of a sidecar after its image got a ``new`` one."""
    relation = None if new == image else _relation(sidecar, image)
    if relation is None:
        return sidecar
    return (new if relation.whole else _parts(new)[0]) + relation.rest


def beginnings(image: str) -> list[str]:
    """What sidecars of an image may have in common with its name, see `owners`."""
    return [_parts(image)[0], image, *(image[:length] for length in _CUT_AT if length < len(image))]


def images_of(sidecar: str) -> list[str]:
    """The paths that an image of the sidecar at a path may have, where its name was not cut."""
    folder, slash, name = sidecar.rpartition("/")
    names = [
        image
        for common in owners(name)
        for image in ([common] if is_image_name(common) else []) + [common + ending for ending in _ENDINGS]
    ]
    return [folder + slash + image for image in dict.fromkeys(names) if belongs(name, image)]


def follows(path: str) -> bool:
    """Whether a file goes where an image goes: notes are for nothing else; raw data and films only if one is there."""
    suffix = _parts(path)[1].lower()
    return suffix in NOTES or (suffix in SHOTS and any(map(os.path.lexists, images_of(path))))
