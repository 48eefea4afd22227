"""From labels to what a lesson can use: the class of each image by its sha256, and the features of those images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.files.atomic import file_digest
from models.inference.runtime import FeatureExtractor
from models.text.language import tr, trn
from trainer.data.cache import FeatureCache
from trainer.data.dataset import File
from trainer.data.features import extract
from trainer.data.perceptual_hash import PerceptualHash
from trainer.learning.kept import Half, LabelledFeatures, as_half
from trainer.learning.labels import GivenLabel
from trainer.learning.naming import name_classes
from trainer.tables import listed

#: So many images make a new class, or can be learned from as images of none of the classes.
LEAST_IMAGES = 5
_LISTED = 5


@dataclass(frozen=True)
class Answers:
    """The class, or None for none of the classes, of each image by its sha256, and what was ``left_out``, in sentences.

    ``features`` has those of all images that were labelled and are not in the data set, also of those left out, and
    ``perceptual_hashes`` those that are known of them.
    """

    by_sha256: Mapping[str, str | None]
    how: Mapping[str, str]
    features: Mapping[str, Half]
    perceptual_hashes: Mapping[str, PerceptualHash]
    left_out: Sequence[str]

    @property
    def classes(self) -> list[str]:
        """The classes that images were given, sorted."""
        return sorted({name for name in self.by_sha256.values() if name is not None})

    @property
    def counts(self) -> dict[str | None, int]:
        """The number of images of each class, and of none."""
        return dict(Counter(self.by_sha256.values()))


def find_answers(
    given: Sequence[GivenLabel],
    classes: Sequence[str],
    reserved: Sequence[str],
    known: LabelledFeatures | None,
    in_data_set: Container[str],
    extractor: FeatureExtractor,
    cache: FeatureCache,
) -> Answers:
    """Compute the features of labelled images that are not ``known`` and not ``in_data_set``, and check the classes.

    ``classes`` are those of the run in use, and ``reserved`` the names that no class may have.
    """
    named, left_out = with_good_names(given, classes, reserved)
    hashed, gone = with_hashes(named)
    of_known = {} if known is None else known.by_sha256
    looks = {} if known is None else known.perceptual_hashes
    features = {label.sha256: of_known[label.sha256] for label in hashed if label.sha256 in of_known}
    to_read = [label for label in hashed if label.sha256 not in features and label.sha256 not in in_data_set]
    read, read_looks, unreadable = _read(to_read, extractor, cache)
    features |= read
    looks |= read_looks
    usable = [label for label in hashed if label.sha256 in features or label.sha256 in in_data_set]
    changed = len(hashed) - len(usable) - unreadable
    left_out += gone_sentences(gone + unreadable + changed)
    kept, too_few = without_small_classes(usable, classes)
    return Answers(
        {label.sha256: label.label for label in kept},
        {label.sha256: label.how for label in kept},
        features,
        {sha256: looks[sha256] for sha256 in features if sha256 in looks},
        [*left_out, *too_few],
    )


def gone_sentences(count: int) -> list[str]:
    """Say in one sentence how many labelled images are not there; return nothing where all are."""
    if not count:
        return []
    return [
        trn(
            "{count} labelled image is left out, since it is gone, cannot be read or is another one by now",
            "{count} labelled images are left out, since they are gone, cannot be read or are other ones by now",
            count,
        )
    ]


@dataclass(frozen=True)
class HashedLabel:
    """The class of an image, or None for none of the classes, by its content; it lies at ``path``, if anywhere."""

    sha256: str
    path: Path
    label: str | None
    how: str


def with_good_names(
    given: Sequence[GivenLabel], classes: Sequence[str], reserved: Sequence[str]
) -> tuple[list[GivenLabel], list[str]]:
    """Spell classes as the run in use does, and leave out names that no class can have, with sentences about them."""
    named = name_classes((label.label for label in given if label.label is not None), classes, reserved)
    good = {label: name for label, name in named.by_label.items() if label not in named.coarse}
    usable = [
        label if label.label is None else label.model_copy(update={"label": good[label.label]})
        for label in given
        if label.label is None or label.label in good
    ]
    return usable, [*named.sentences, *_coarse(sum(label.label in named.coarse for label in given), named.coarse)]


def _coarse(count: int, names: Collection[str]) -> list[str]:
    """Say in one sentence how many labels name no class, but a folder above classes; return nothing where none does."""
    if not count:
        return []
    return [
        trn(
            "{count} labelled image is left out, since {names} holds folders of classes and does not tell which it is",
            "{count} labelled images are left out, since {names} hold folders of classes and do not tell which they "
            "are",
            count,
            names=listed(sorted(names), _LISTED),
        )
    ]


def with_hashes(given: Sequence[GivenLabel]) -> tuple[list[HashedLabel], int]:
    """Hash the files of labels without a sha256; the last label of one content counts. Returns how many are gone."""
    hashed: dict[str, HashedLabel] = {}
    gone = 0
    for label in given:
        try:
            sha256 = label.sha256 or file_digest(label.file)
        except (OSError, ValueError):
            gone += 1
            continue
        hashed[sha256] = HashedLabel(sha256, label.file, label.label, label.how)
    return list(hashed.values()), gone


def _read(
    labels: Sequence[HashedLabel], extractor: FeatureExtractor, cache: FeatureCache
) -> tuple[dict[str, Half], dict[str, PerceptualHash], int]:
    """Return features and hashes of the images that are still those labelled, and how many cannot be read."""
    if not labels:
        return {}, {}, 0
    files = [File(label.path, str(label.path), label.label or "") for label in labels]
    extracted = extract(files, extractor, cache)
    half = as_half(extracted.features)
    wanted = {label.sha256 for label in labels}
    if half is None:
        return {}, {}, len(labels)
    rows = {sample.sha256: row for row, sample in enumerate(extracted.samples) if sample.sha256 in wanted}
    return (
        {sha256: half[row] for sha256, row in rows.items()},
        {sha256: extracted.hashes[row] for sha256, row in rows.items()},
        len(extracted.unreadable),
    )


def without_small_classes(labels: Sequence[HashedLabel], classes: Sequence[str]) -> tuple[list[HashedLabel], list[str]]:
    """Leave out the images of new classes with too few of them, and those of none of the classes if these are few."""
    counts = Counter(label.label for label in labels)
    small = {name for name, count in counts.items() if name not in classes and count < LEAST_IMAGES}
    names = [f"{name} ({counts[name]})" for name in sorted(name for name in small if name is not None)]
    sentences = []
    if names:
        sentences.append(
            tr(
                "these classes wait until they have {least} images: {names}",
                least=LEAST_IMAGES,
                names=listed(names, _LISTED),
            )
        )
    if None in small:
        sentences.append(
            trn(
                "{count} image of none of the classes waits until there are {least}",
                "{count} images of none of the classes wait until there are {least}",
                counts[None],
                least=LEAST_IMAGES,
            )
        )
    return [label for label in labels if label.label not in small], sentences
