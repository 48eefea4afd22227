"""Recognise the sidecars of an image by their names, which cameras, phones, programs and services choose.

``cat.xmp`` and ``cat.jpg.xmp`` belong to ``cat.jpg``; ``cat.NEF`` does, and with it ``cat.NEF.xmp``; darktable's
``cat_01.jpg.xmp`` is for a second version of ``cat.jpg``. Google Takeout writes ``cat.jpg.supplemental-metadata.json``
and shortens long names (``cat.jpg.suppl.json``), cutting even the image's own name; for ``cat(1).jpg`` it writes
``cat.jpg.supplemental-metadata(1).json`` or ``cat.jpg(1).json``, and ``cat-edited.jpg`` shares the file of
``cat.jpg``. The film of a Live Photo is ``cat.mov``, ``cat_HEVC.MOV`` or ``cat.MP4``, that of ``PXL_1.MP.jpg`` is
``PXL_1.MP``; the edits that an iPhone made to ``IMG_E5.jpg`` are in ``IMG_O5.aae``.

Names are compared without regard to case and Unicode normalisation (``é``, ``가``), as most drives do. A sidecar that
may belong to several images belongs to the one that it names most exactly, see `exactness`.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from typing import Literal, NamedTuple

from models.files.image_names import IMAGE_SUFFIXES

#: Suffixes of notes and of the edits of raw converters; they replace the suffix of any image or follow it.
NOTES = frozenset({
    ".xmp", ".json", ".aae", ".thm",
    ".pp3", ".pp2", ".dop", ".cos", ".on1", ".nksc", ".acr", ".arp", ".vrd", ".dr4",
})  # fmt: skip
#: Suffixes of films of Live Photos and motion photos, and of other recordings; they replace that of the image.
_FILMS = frozenset({".mov", ".mp4", ".mp", ".lrv", ".srt", ".wav"})
#: Suffixes of raw data and films; they replace that of the image.
SHOTS = _FILMS | {
    ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".orf", ".rw2", ".raf", ".pef", ".srw",
    ".gpr", ".rwl", ".3fr", ".fff", ".x3f", ".erf", ".mef", ".mos", ".mrw", ".iiq", ".rwz", ".kdc", ".dcr",
}  # fmt: skip
#: Endings: of a film's name, and the one that ExifTool gives the original of an image that it changes.
_FILM_MARK, _KEPT = re.compile(r"_(hevc|mp)\.(mov|mp4)", re.IGNORECASE), "_original"
_TAKEOUT = ".supplemental-metadata"
_NUMBERED = re.compile(r"(?P<name>.+)\((?P<number>\d+)\)", re.DOTALL)
#: Lengths in characters, without ``.json``, to which Takeout shortens the names of its notes.
_CUT_AT = (46, 47, 51)
#: Endings of the names of edited pictures in Takeout, in the language of the owner.
_EDITED_MARKS = (
    "-edited", "-수정됨", "-편집됨", "-編集済み", "-bearbeitet", "-modifié", "-ha editado", "-editado", "-editada",
    "-editat", "-modificato", "-bewerkt", "-edytowane", "-effects", "-smile", "-mix", "~2", "~3",
)  # fmt: skip
_EDITED = re.compile(
    rf"(?P<stem>.+?)({'|'.join(map(re.escape, _EDITED_MARKS[:-2]))}|~\d+)(?P<number>\(\d+\))?",
    re.DOTALL | re.IGNORECASE,
)
#: The name of an iPhone's edits, and the replacement that gives the name of the edited picture.
_IPHONE_NOTES, _IPHONE_EDITED = re.compile(r"(.*IMG_)O(\d+.*)", re.IGNORECASE), r"\g<1>E\g<2>"
#: A numbered version of darktable's.
_VERSION = re.compile(r"(?P<stem>.+)_\d\d", re.DOTALL)

#: Possible endings of an image's name.
_ENDINGS = sorted({ending for suffix in IMAGE_SUFFIXES for ending in (suffix, suffix.upper())})

_RAW_ENDINGS = sorted({ending for suffix in SHOTS - _FILMS for ending in (suffix, suffix.upper())})

#: Ranks: how exactly a sidecar names an image, best first.
_BY_NAME, _BY_STEM, _AS_VERSION, _AS_ORIGINAL, _CUT = range(5)


class _Reading(NamedTuple):
    """One way to split a sidecar's name into ``image_part``, which its image's name shares, and ``rest``.

    ``part`` says what the image part is of the image's name. ``suffix``: the one that the image must have, "" for any.
    """

    rank: int
    part: Literal["whole", "stem", "beginning"]
    image_part: str
    rest: str
    suffix: str = ""


def _parts(name: str) -> tuple[str, str]:
    return os.path.splitext(name)  # noqa: PTH122 - a Path would read "." and ".." into the name


def _is_image(name: str) -> bool:
    return _parts(name)[1].lower() in IMAGE_SUFFIXES


def _folded(name: str) -> str:
    """Normalise a name for comparison, as most case-insensitive file systems do."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def _readings(name: str) -> Iterator[_Reading]:
    if name.startswith("."):
        return
    start, suffix = _parts(name)
    lower = suffix.lower()
    if lower in NOTES:
        yield from _note_readings(start, suffix)
    elif lower in SHOTS:
        yield _Reading(_BY_STEM, "stem", start, suffix)
        if lower == ".mp":
            yield _Reading(_BY_STEM, "stem", name, suffix)
        if mark := _FILM_MARK.search(name):
            yield _Reading(_BY_STEM, "stem", name[: mark.start()], name[mark.start() :])
    elif lower.endswith(_KEPT) and _is_image(name[: -len(_KEPT)]):
        yield _Reading(_BY_NAME, "whole", name[: -len(_KEPT)], name[-len(_KEPT) :])


def _note_readings(start: str, suffix: str) -> Iterator[_Reading]:
    lower = suffix.lower()
    inner, kind = _parts(start)
    if kind.lower() in IMAGE_SUFFIXES:
        yield _Reading(_BY_NAME, "whole", start, suffix)
    elif kind.lower() in SHOTS:
        yield _Reading(_BY_STEM, "stem", inner, kind + suffix)
    if kind.lower() in IMAGE_SUFFIXES | SHOTS and (version := _VERSION.fullmatch(inner)):
        rest = start[len(version["stem"]) :] + suffix
        yield _Reading(_AS_VERSION, "stem", version["stem"], rest, "" if kind.lower() in SHOTS else kind.lower())
    yield _Reading(_BY_STEM, "stem", start, suffix)
    if lower == ".aae" and (notes := _IPHONE_NOTES.fullmatch(start)):
        yield _Reading(_BY_STEM, "stem", notes.expand(_IPHONE_EDITED), suffix)
    if lower == ".json":
        yield from _takeout_readings(start, suffix)


def _takeout_readings(start: str, suffix: str) -> Iterator[_Reading]:
    named = _name_in_takeout(start)
    stem, kind = _parts(named)
    rest = start[len(named) :] if start.startswith(named) else _TAKEOUT  # its number is elsewhere in the name
    if kind.lower() in IMAGE_SUFFIXES:
        yield _Reading(_BY_NAME, "whole", named, rest + suffix)
    elif kind.lower() in SHOTS and named != start:
        yield _Reading(_BY_STEM, "stem", stem, kind + rest + suffix)
    if len(start) in _CUT_AT:
        yield _Reading(_CUT, "beginning", start, suffix)


def _name_in_takeout(start: str) -> str:
    """Return the name of the picture or film of a note; both have the same number."""
    numbered = _NUMBERED.fullmatch(start)
    stem, kind = _parts(_without_takeout_suffix(numbered["name"] if numbered else start))
    return f"{stem}({numbered['number']}){kind}" if numbered else stem + kind


def _without_takeout_suffix(start: str) -> str:
    """Remove the suffix that Takeout put after the image's name, or the part of it that was not cut off."""
    image, dot, rest = start.rpartition(".")
    is_cut = dot and _TAKEOUT.startswith(f".{rest.lower()}")
    return image if is_cut and _parts(image)[1].lower() in IMAGE_SUFFIXES | SHOTS else start


def _original(image: str) -> str | None:
    """Return the name of the picture that an edited one was made from; they share a note."""
    stem, suffix = _parts(image)
    edited = _EDITED.fullmatch(unicodedata.normalize("NFC", stem))
    return None if edited is None else edited["stem"] + (edited["number"] or "") + suffix


def _match(sidecar: str, image: str) -> tuple[int, _Reading] | None:
    """Find the most exact reading of a sidecar's name that fits an image; return its exactness too."""
    stem, kind = _parts(image)
    original = _original(image)
    matches: list[tuple[int, _Reading]] = []
    for reading in _readings(sidecar):
        if reading.suffix not in ("", kind.lower()):
            continue
        image_part = reading.image_part
        target = {"whole": image, "stem": stem, "beginning": image[: len(image_part)]}[reading.part]
        if _folded(image_part) == _folded(target):
            matches.append((2 * reading.rank + (image_part != target), reading))
        elif original and _names_original(sidecar, reading, original):
            matches.append((2 * _AS_ORIGINAL + (image_part != original), reading))
    return min(matches, default=None, key=lambda match: match[0])


def _names_original(sidecar: str, reading: _Reading, original: str) -> bool:
    is_whole = reading.part == "whole" and sidecar.lower().endswith(".json")
    return is_whole and _folded(reading.image_part) == _folded(original)


def exactness(sidecar: str, image: str) -> int | None:
    """Rate how exactly a sidecar names an image: 0 is best, None: it does not."""
    match = _match(sidecar, image)
    return None if match is None else match[0]


def best_exactness(sidecar: str) -> int:
    """Return the best `exactness` that a sidecar can have with any image."""
    return min((2 * reading.rank for reading in _readings(sidecar)), default=0)


def belongs(sidecar: str, image: str) -> bool:
    """Whether a sidecar's name fits an image's."""
    return _match(sidecar, image) is not None


def owners(name: str) -> list[str]:
    """Return the keys by which a sidecar finds its image among `beginnings`; [] if it is no sidecar."""
    return list(dict.fromkeys(_folded(reading.image_part) for reading in _readings(name)))


def beginnings(image: str) -> list[str]:
    """Return the keys by which sidecars find an image, see `owners`."""
    whole = [name for name in (_parts(image)[0], image, _original(image)) if name]
    cut = [image[:length] for length in _CUT_AT if length < len(image)]
    return list(dict.fromkeys(map(_folded, whole + cut)))


def is_film(name: str) -> bool:
    """Whether a sidecar of this name is a film or another recording."""
    return _parts(name)[1].lower() in _FILMS


def film_of(name: str) -> str | None:
    """Return the name of the film that a note belongs to, if any."""
    start, suffix = _parts(name)
    named = _name_in_takeout(start) if suffix.lower() == ".json" else start
    return named if suffix.lower() in NOTES and is_film(named) else None


def renamed(sidecar: str, image: str, new: str) -> str:
    """Return the new name of a sidecar whose image is renamed to ``new``."""
    match = None if new == image else _match(sidecar, image)
    if match is None:
        return sidecar
    reading = match[1]
    return (_parts(new)[0] if reading.part == "stem" else new) + reading.rest


def images_of(sidecar: str) -> list[str]:
    """List the paths that the image of a sidecar may have, the most exact first; none of a name that was cut."""
    return [path for group in images_by_exactness(sidecar) for path in group]


def images_by_exactness(sidecar: str) -> list[list[str]]:
    """Group the paths of `images_of` by exactness."""
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
        stem, kind = _parts(reading.image_part)
        if reading.part == "whole":
            endings = list(dict.fromkeys((kind, kind.lower(), kind.upper())))
            yield from _spellings(2 * reading.rank, stem, endings)
            if name.lower().endswith(".json"):
                numbered = _NUMBERED.fullmatch(stem)
                for mark in _EDITED_MARKS:
                    edited = f"{numbered['name']}{mark}({numbered['number']})" if numbered else stem + mark
                    yield 2 * _AS_ORIGINAL, edited + kind
        elif reading.part == "stem":
            endings = (
                [ending for ending in _ENDINGS if ending.lower() == reading.suffix] if reading.suffix else _ENDINGS
            )
            yield from _spellings(2 * reading.rank, reading.image_part, endings)


def _spellings(rank: int, stem: str, endings: list[str]) -> Iterator[tuple[int, str]]:
    """Yield names with the stem as it is written, and in other case and normalisation."""
    for ending in endings:
        yield rank + (ending != endings[0] and endings is not _ENDINGS), stem + ending
    others = [stem.lower(), stem.upper()]
    if not stem.isascii():
        others += [unicodedata.normalize(form, spelling) for spelling in (stem, *others) for form in ("NFC", "NFD")]
    for other in dict.fromkeys(others):
        if other != stem:
            for ending in endings:
                yield rank + 1, other + ending


def namesakes(image: str) -> list[str]:
    """List the names that another image, or raw data, of the same stem may have; a film of it belongs to an image."""
    stem, kind = _parts(image)
    return [stem + ending for ending in (*_ENDINGS, *_RAW_ENDINGS) if ending != kind]


def follows(path: str) -> bool:
    """Whether a file is a sidecar: every note is; raw data and films only beside an image of their name."""
    name = path.rpartition("/")[2]
    suffix = _parts(name)[1].lower()
    if suffix in SHOTS or suffix.endswith(_KEPT):
        return any(map(os.path.lexists, images_of(path)))
    return suffix in NOTES
