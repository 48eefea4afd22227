"""Which names make a file the sidecar of an image, by the habits of cameras, phones, programs and services.

``cat.xmp`` and ``cat.jpg.xmp`` belong to ``cat.jpg``; ``cat.NEF`` does, and with it ``cat.NEF.xmp``; darktable's
``cat_01.jpg.xmp`` is of a second version of ``cat.jpg``. Google's Takeout writes ``cat.jpg.supplemental-metadata.json``
and cuts it (``cat.jpg.suppl.json``), down into the image's own name where that is long; of ``cat(1).jpg`` it is
``cat.jpg.supplemental-metadata(1).json`` or ``cat.jpg(1).json``, and ``cat-edited.jpg`` has none but that of
``cat.jpg``. A Live Photo's film is ``cat.mov``, ``cat_HEVC.MOV`` or ``cat.MP4``, that of ``PXL_1.MP.jpg`` is
``PXL_1.MP``; what an iPhone did to ``IMG_E5.jpg`` is in ``IMG_O5.aae``.

Capital letters and the two ways to write ``é`` or ``가`` are one, as they are on the drives of most people. Where a
sidecar may be of several images, it is of the one that it names most exactly, see `exactness`.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from typing import Literal, NamedTuple

from models.image_names import IMAGE_SUFFIXES

#: Of every image, in place of its suffix or after it: notes, and what raw converters did.
NOTES = frozenset({
    ".xmp", ".json", ".aae", ".thm",
    ".pp3", ".pp2", ".dop", ".cos", ".on1", ".nksc", ".acr", ".arp", ".vrd", ".dr4",
})  # fmt: skip
#: Films of Live Photos and motion photos, and what cameras record beside a picture or a film, in place of the suffix.
_FILMS = frozenset({".mov", ".mp4", ".mp", ".lrv", ".srt", ".wav"})
#: Of an image, in place of its suffix: the raw data beside it, or a film.
SHOTS = _FILMS | {
    ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".orf", ".rw2", ".raf", ".pef", ".srw",
    ".gpr", ".rwl", ".3fr", ".fff", ".x3f", ".erf", ".mef", ".mos", ".mrw", ".iiq", ".rwz", ".kdc", ".dcr",
}  # fmt: skip
#: What is put behind the name of a film, and what ExifTool puts behind that of an image which it changes.
_FILM_MARK, _KEPT = re.compile(r"_(hevc|mp)\.(mov|mp4)", re.IGNORECASE), "_original"
_TAKEOUT = ".supplemental-metadata"
_NUMBERED = re.compile(r"(?P<name>.+)\((?P<number>\d+)\)", re.DOTALL)
#: Takeout gives its notes no longer names than these without ``.json``, counted in characters.
_CUT_AT = (46, 47, 51)
#: What Takeout puts behind the name of an edited picture, in the language of its owner.
_EDITED_MARKS = (
    "-edited", "-수정됨", "-편집됨", "-編集済み", "-bearbeitet", "-modifié", "-ha editado", "-editado", "-editada",
    "-editat", "-modificato", "-bewerkt", "-edytowane", "-effects", "-smile", "-mix", "~2", "~3",
)  # fmt: skip
_EDITED = re.compile(
    rf"(?P<stem>.+?)({'|'.join(map(re.escape, _EDITED_MARKS[:-2]))}|~\d+)(?P<number>\(\d+\))?",
    re.DOTALL | re.IGNORECASE,
)
#: What was done to an edited picture of an iPhone, and the picture.
_IPHONE_NOTES, _IPHONE_EDITED = re.compile(r"(.*IMG_)O(\d+.*)", re.IGNORECASE), r"\g<1>E\g<2>"
#: A version that darktable numbers.
_VERSION = re.compile(r"(?P<stem>.+)_\d\d", re.DOTALL)

#: How the name of an image may end.
_ENDINGS = sorted({ending for suffix in IMAGE_SUFFIXES for ending in (suffix, suffix.upper())})

#: How exactly a sidecar names an image.
_BY_NAME, _BY_STEM, _AS_VERSION, _AS_ORIGINAL, _CUT = range(5)


class _Reading(NamedTuple):
    """One way to read a sidecar's name: ``common`` is its image's whole name, stem or beginning; ``rest`` comes after.

    ``suffix``: what the image's must be, "" for any.
    """

    rank: int
    part: Literal["whole", "stem", "beginning"]
    common: str
    rest: str
    suffix: str = ""


def _parts(name: str) -> tuple[str, str]:
    return os.path.splitext(name)  # noqa: PTH122 - a Path would read "." and ".." into the name


def _is_image(name: str) -> bool:
    return _parts(name)[1].lower() in IMAGE_SUFFIXES


def _folded(name: str) -> str:
    """A name as most file systems compare it."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def _readings(name: str) -> Iterator[_Reading]:
    if name.startswith("."):
        return
    start, suffix = _parts(name)
    small = suffix.lower()
    if small in NOTES:
        yield from _note(start, suffix)
    elif small in SHOTS:
        yield _Reading(_BY_STEM, "stem", start, suffix)
        if small == ".mp":
            yield _Reading(_BY_STEM, "stem", name, suffix)
        if mark := _FILM_MARK.search(name):
            yield _Reading(_BY_STEM, "stem", name[: mark.start()], name[mark.start() :])
    elif small.endswith(_KEPT) and _is_image(name[: -len(_KEPT)]):
        yield _Reading(_BY_NAME, "whole", name[: -len(_KEPT)], name[-len(_KEPT) :])


def _note(start: str, suffix: str) -> Iterator[_Reading]:
    small = suffix.lower()
    inner, kind = _parts(start)
    if kind.lower() in IMAGE_SUFFIXES:
        yield _Reading(_BY_NAME, "whole", start, suffix)
    elif kind.lower() in SHOTS:
        yield _Reading(_BY_STEM, "stem", inner, kind + suffix)
    if kind.lower() in IMAGE_SUFFIXES | SHOTS and (version := _VERSION.fullmatch(inner)):
        rest = start[len(version["stem"]) :] + suffix
        yield _Reading(_AS_VERSION, "stem", version["stem"], rest, "" if kind.lower() in SHOTS else kind.lower())
    yield _Reading(_BY_STEM, "stem", start, suffix)
    if small == ".aae" and (notes := _IPHONE_NOTES.fullmatch(start)):
        yield _Reading(_BY_STEM, "stem", notes.expand(_IPHONE_EDITED), suffix)
    if small == ".json":
        yield from _of_takeout(start, suffix)


def _of_takeout(start: str, suffix: str) -> Iterator[_Reading]:
    named = _named_by_takeout(start)
    stem, kind = _parts(named)
    rest = start[len(named) :] if start.startswith(named) else _TAKEOUT  # its number stood elsewhere
    if kind.lower() in IMAGE_SUFFIXES:
        yield _Reading(_BY_NAME, "whole", named, rest + suffix)
    elif kind.lower() in SHOTS and named != start:
        yield _Reading(_BY_STEM, "stem", stem, kind + rest + suffix)
    if len(start) in _CUT_AT:
        yield _Reading(_CUT, "beginning", start, suffix)


def _named_by_takeout(start: str) -> str:
    """The picture or film whose note has this name; the number of the note is that of the picture."""
    numbered = _NUMBERED.fullmatch(start)
    stem, kind = _parts(_without_takeout(numbered["name"] if numbered else start))
    return f"{stem}({numbered['number']}){kind}" if numbered else stem + kind


def _without_takeout(start: str) -> str:
    """A note's name without what Takeout put after the image's, as far as that was not cut off."""
    image, dot, rest = start.rpartition(".")
    is_cut = dot and _TAKEOUT.startswith(f".{rest.lower()}")
    return image if is_cut and _parts(image)[1].lower() in IMAGE_SUFFIXES | SHOTS else start


def _original(image: str) -> str | None:
    """The name of the picture that an edited one was made of; its note is that of both."""
    stem, suffix = _parts(image)
    edited = _EDITED.fullmatch(unicodedata.normalize("NFC", stem))
    return None if edited is None else edited["stem"] + (edited["number"] or "") + suffix


def _match(sidecar: str, image: str) -> tuple[int, _Reading] | None:
    """The most exact reading of a sidecar's name that gives an image, and how exact it is."""
    stem, kind = _parts(image)
    original = _original(image)
    matches: list[tuple[int, _Reading]] = []
    for reading in _readings(sidecar):
        if reading.suffix not in ("", kind.lower()):
            continue
        common = reading.common
        target = {"whole": image, "stem": stem, "beginning": image[: len(common)]}[reading.part]
        if _folded(common) == _folded(target):
            matches.append((2 * reading.rank + (common != target), reading))
        elif original and _is_of_original(sidecar, reading, original):
            matches.append((2 * _AS_ORIGINAL + (common != original), reading))
    return min(matches, default=None, key=lambda match: match[0])


def _is_of_original(sidecar: str, reading: _Reading, original: str) -> bool:
    is_whole = reading.part == "whole" and sidecar.lower().endswith(".json")
    return is_whole and _folded(reading.common) == _folded(original)


def exactness(sidecar: str, image: str) -> int | None:
    """How exactly the one name is that of a sidecar of the other, an image's: 0 is best, None is not at all."""
    match = _match(sidecar, image)
    return None if match is None else match[0]


def best_exactness(sidecar: str) -> int:
    """How exactly a sidecar may name an image at best."""
    return min((2 * reading.rank for reading in _readings(sidecar)), default=0)


def belongs(sidecar: str, image: str) -> bool:
    """Whether a file of the one name is a sidecar of an image of the other."""
    return _match(sidecar, image) is not None


def owners(name: str) -> list[str]:
    """What the name of a sidecar has in common with its image's, see `beginnings`; [] if it is none."""
    return list(dict.fromkeys(_folded(reading.common) for reading in _readings(name)))


def beginnings(image: str) -> list[str]:
    """What sidecars of an image may have in common with its name, in a form to be compared with that of `owners`."""
    whole = [name for name in (_parts(image)[0], image, _original(image)) if name]
    cut = [image[:length] for length in _CUT_AT if length < len(image)]
    return list(dict.fromkeys(map(_folded, whole + cut)))


def is_film(name: str) -> bool:
    """Whether a sidecar of this name is a film, or another record of some time."""
    return _parts(name)[1].lower() in _FILMS


def film_of(name: str) -> str | None:
    """The name of the film whose own note this is, if any."""
    start, suffix = _parts(name)
    named = _named_by_takeout(start) if suffix.lower() == ".json" else start
    return named if suffix.lower() in NOTES and is_film(named) else None


def renamed(sidecar: str, image: str, new: str) -> str:
    """The name of a sidecar after its image got a ``new`` one."""
    match = None if new == image else _match(sidecar, image)
    if match is None:
        return sidecar
    reading = match[1]
    return (_parts(new)[0] if reading.part == "stem" else new) + reading.rest


def images_of(sidecar: str) -> list[str]:
    """The paths that an image of the sidecar at a path may have, where its name was not cut: the most exact first."""
    return [path for group in images_by_exactness(sidecar) for path in group]


def images_by_exactness(sidecar: str) -> list[list[str]]:
    """The same, those together that are named as exactly."""
    folder, slash, name = sidecar.rpartition("/")
    ranks: dict[str, int] = {}
    for rank, image in _images(name):
        ranks[image] = min(rank, ranks.get(image, rank))
    groups: dict[int, list[str]] = {}
    for image, rank in ranks.items():
        groups.setdefault(rank, []).append(folder + slash + image)
    return [groups[rank] for rank in sorted(groups)]


def _images(name: str) -> Iterator[tuple[int, str]]:
    for reading in _readings(name):
        stem, kind = _parts(reading.common)
        if reading.part == "whole":
            endings = list(dict.fromkeys((kind, kind.lower(), kind.upper())))
            yield from _spelt(2 * reading.rank, stem, endings)
            if name.lower().endswith(".json"):
                numbered = _NUMBERED.fullmatch(stem)
                for mark in _EDITED_MARKS:
                    edited = f"{numbered['name']}{mark}({numbered['number']})" if numbered else stem + mark
                    yield 2 * _AS_ORIGINAL, edited + kind
        elif reading.part == "stem":
            endings = (
                [ending for ending in _ENDINGS if ending.lower() == reading.suffix] if reading.suffix else _ENDINGS
            )
            yield from _spelt(2 * reading.rank, reading.common, endings)


def _spelt(rank: int, stem: str, endings: list[str]) -> Iterator[tuple[int, str]]:
    """Names as they are written, and with a stem in other letters."""
    for ending in endings:
        yield rank + (ending != endings[0] and endings is not _ENDINGS), stem + ending
    others = [stem.lower(), stem.upper()]
    if not stem.isascii():
        others += [unicodedata.normalize(form, spelling) for spelling in (stem, *others) for form in ("NFC", "NFD")]
    for other in dict.fromkeys(others):
        if other != stem:
            for ending in endings:
                yield rank + 1, other + ending


def follows(path: str) -> bool:
    """Whether a file goes where an image goes: notes are for nothing else; raw data and films only if one is there."""
    name = path.rpartition("/")[2]
    suffix = _parts(name)[1].lower()
    if suffix in SHOTS or suffix.endswith(_KEPT):
        return any(map(os.path.lexists, images_of(path)))
    return suffix in NOTES
