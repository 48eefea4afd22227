"""Take the classes of a data set from tags: the XMP sidecars of the images, or the XMP in their files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from models.deciding.class_names import check_class_path, check_distinct, inner_folders_of
from models.errors import CheckpointError, UserError
from models.files.image_names import IMAGE_SUFFIXES
from models.files.leftovers import Leftovers
from models.text.language import tr
from models.xmp.document import MOST_BYTES, XmpError
from models.xmp.tags import Tags, read, remove
from trainer.data.dataset import ClassFolders, pick, require_folder
from trainer.data.walking import File, walk

#: Under what Pillow keeps the XMP of a file, by its format.
_EMBEDDED = ("xmp", "XML:com.adobe.xmp")


@dataclass(frozen=True)
class TagCounts:
    """How many images have no tag that is a class, how many have several, and how many sidecars cannot be read."""

    without: int = 0
    several: int = 0
    unreadable: int = 0


def scan_tags(
    root: Path, *, classes: Sequence[str] = (), nested: bool = False, max_samples: int | None = None, seed: int = 0
) -> tuple[ClassFolders, TagCounts]:
    """List the images below ``root`` whose tags name exactly one class; at most ``max_samples`` of each.

    ``classes``: these count alone, and any other tag does not matter. Without them, a path of tags (``animals|dog``)
    comes before a plain tag. ``nested``: a class is the whole path; else its last name. What a model of ours has
    tagged does not count: nobody has said it. Raises `UserError`.
    """
    require_folder(root)
    leftovers, hidden = Leftovers(), 0
    paths = []
    for path in walk(root, leftovers):
        if path.name.startswith("."):
            hidden += 1
        else:
            paths.append(path)
    beside = _sidecars(paths)
    counts: Counter[str] = Counter()
    by_label: dict[str, list[File]] = {label: [] for label in classes}
    for path in paths:
        named = _classes_of(path, beside, frozenset(classes), counts, nested=nested)
        if len(named) == 1:
            by_label.setdefault(named[0], []).append(File(path, path.relative_to(root).as_posix(), named[0]))
        else:
            counts["several" if named else "without"] += 1
    _check(root, by_label, counts["of a model"])
    inner = {folder for label in by_label for folder in inner_folders_of(label)}
    chosen = [
        file
        for label in sorted(by_label.keys() - inner)
        for file in sorted(pick(by_label[label], max_samples, seed), key=lambda file: file.name)
    ]
    folders = ClassFolders(
        root,
        tuple(chosen),
        tuple(sorted(label for label, files in by_label.items() if not files)),
        hidden=hidden,
        leftovers=leftovers,
        coarse=tuple(file for label in sorted(inner & by_label.keys()) for file in by_label[label]),
    )
    return folders, TagCounts(counts["without"], counts["several"], counts["unreadable"])


def _check(root: Path, by_label: dict[str, list[File]], of_a_model: int) -> None:
    filled = [label for label, files in by_label.items() if files]
    if len(filled) < 2 and of_a_model:
        raise UserError(
            tr(
                "the tags that people gave the images in {root} name {count} classes, and at least two are needed: the "
                "model's own tags ({own}) do not count until you confirm them by relabel",
                root=root,
                count=len(filled),
                own=of_a_model,
            )
        )
    if len(filled) < 2:
        raise UserError(
            tr(
                "the tags of the images in {root} name {count} classes, and at least two are needed: tag images, or "
                "say with --tags which tags are classes",
                root=root,
                count=len(filled),
            )
        )
    try:
        inner = {folder for label in by_label for folder in inner_folders_of(label)}
        for label in by_label:
            check_class_path(label)
        check_distinct([label for label in by_label if label not in inner])
    except CheckpointError as error:
        raise UserError(tr("{error}; say with --tags which tags are classes", error=error)) from error


def _sidecars(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    """Map each image to the names that its sidecar may have: the short one only where no other image shares it."""
    shared = Counter(path.with_suffix("") for path in paths)
    found: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        for ending in (".xmp", ".XMP"):
            found[path].append(path.with_name(path.name + ending))
        if shared[path.with_suffix("")] == 1:
            found[path] += [path.with_suffix(ending) for ending in (".xmp", ".XMP")]
    return found


def _classes_of(
    path: Path, sidecars: dict[Path, list[Path]], classes: frozenset[str], counts: Counter[str], *, nested: bool
) -> list[str]:
    for content in _contents(path, sidecars[path]):
        try:
            tags = _said_by_people(content, counts)
        except XmpError:
            counts["unreadable"] += 1
            continue
        if tags.extension is not None and f".{tags.extension.lower()}" not in {*IMAGE_SUFFIXES, path.suffix.lower()}:
            continue  # that of raw data
        if named := _named(tags, classes, nested=nested):
            return named
    return []


def _contents(path: Path, sidecars: Sequence[Path]) -> Iterator[bytes]:
    """Yield what may say the tags of an image, the sidecar first."""
    for sidecar in sidecars:
        try:
            if sidecar.stat().st_size <= MOST_BYTES:
                yield sidecar.read_bytes()
        except OSError:
            continue
    try:
        with Image.open(path) as image:
            content = next((image.info[key] for key in _EMBEDDED if key in image.info), None)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return
    if isinstance(content, str):
        content = content.encode(errors="replace")
    if isinstance(content, bytes):
        yield content.strip(b"\0")


def _said_by_people(content: bytes, counts: Counter[str]) -> Tags:
    """Read the tags without those that a model of ours has put there, and count what has such."""
    tags = read(content)
    if tags.own is None or tags.own.confidence is None:
        return tags
    counts["of a model"] += 1
    return read(remove(content))


def _named(tags: Tags, classes: frozenset[str], *, nested: bool) -> list[str]:
    """List the classes that tags name."""
    deepest = [path for path in tags.paths if not any(other.startswith(f"{path}/") for other in tags.paths)]
    paths = deepest if nested else [path.rpartition("/")[2] for path in deepest]
    if classes:
        wanted = [label for label in dict.fromkeys((*paths, *tags.paths, *tags.names)) if label in classes]
        return [label for label in wanted if not any(other.startswith(f"{label}/") for other in wanted)]
    is_path = [path for path, whole in zip(paths, deepest, strict=True) if "/" in whole]
    return list(dict.fromkeys(is_path or paths or tags.names))
