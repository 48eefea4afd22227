"""Report what is odd about the images of a data set. Nothing is deleted, moved or replaced."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.text.language import mark, tr, trn
from trainer.data.dataset import Sample, shown
from trainer.data.features import Extracted
from trainer.data.neighbours import PLAIN, Positions
from trainer.data.perceptual_hash import PerceptualHash
from trainer.tables import listed

#: An image is tiny when its shorter side is less than this share of the crop that is made of it.
TINY = 0.25
#: An image is long when one side is this many times the other.
LONG = 4.0

#: The kinds of findings in the order they are reported, with the sentences for one image and for several (see `trn`).
KINDS = {
    "unreadable": (
        "1 image cannot be read and is left out: {names}",
        mark("{count} images cannot be read and are left out: {names}"),
    ),
    "two-labels": (
        "1 image shows a picture that lies under several labels: {names}",
        mark("{count} images show pictures that lie under several labels: {names}"),
    ),
    "copy": (
        "1 image is a copy of another, byte for byte: {names}",
        mark("{count} images are copies of another, byte for byte: {names}"),
    ),
    "near-duplicate": (
        "1 image shows nearly the same picture as another: {names}",
        mark("{count} images show nearly the same picture as another: {names}"),
    ),
    "tiny": (
        "1 image is tiny: there is little to see on it: {names}",
        mark("{count} images are tiny: there is little to see on them: {names}"),
    ),
    "long": (
        "1 image is so long that it is seen in part, or squeezed: {names}",
        mark("{count} images are so long that they are seen in part, or squeezed: {names}"),
    ),
    "plain": (
        "1 image is nearly of one colour: {names}",
        mark("{count} images are nearly of one colour: {names}"),
    ),
    "animated": (
        "1 image has several frames, of which the first counts: {names}",
        mark("{count} images have several frames, of which the first counts: {names}"),
    ),
}

_MAX_NAMES = 3


@dataclass(frozen=True, slots=True)
class ImageFinding:
    """Something odd about one image. ``perceptual_hash`` is None where the image cannot be read."""

    kind: str
    name: str
    label: str
    detail: str
    perceptual_hash: PerceptualHash | None = None


def audit(extracted: Extracted, groups: Positions, crop: int) -> list[ImageFinding]:
    """Find all that is odd. ``groups`` (n,) are those of `trainer.data.neighbours`; ``crop`` is in pixels."""
    findings = [
        ImageFinding("unreadable", image.name, image.label, f"{image.reason}: {image.message}")
        for image in extracted.unreadable
    ]
    findings += _similar_images(extracted.samples, extracted.hashes, groups)
    for sample, perceptual_hash in zip(extracted.samples, extracted.hashes, strict=True):
        findings += [
            ImageFinding(kind, sample.name, sample.label, detail, perceptual_hash)
            for kind, detail in _odd_traits(perceptual_hash, crop)
        ]
    order = list(KINDS)
    return sorted(findings, key=lambda finding: order.index(finding.kind))


def _similar_images(
    samples: Sequence[Sample], hashes: Sequence[PerceptualHash], groups: Positions
) -> Iterator[ImageFinding]:
    by_group: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups.tolist()):
        by_group[group].append(row)
    for members in by_group.values():
        labels = sorted({samples[row].label for row in members})
        originals: dict[str, Sample] = {}
        for row in members:
            sample, perceptual_hash = samples[row], hashes[row]
            if len(labels) > 1:
                detail = tr("the same picture, or nearly, lies under {names}", names=", ".join(labels))
                yield ImageFinding("two-labels", sample.name, sample.label, detail, perceptual_hash)
            original = originals.setdefault(sample.sha256, sample)
            if original is not sample:
                detail = tr("a copy of {name}", name=original.name)
                yield ImageFinding("copy", sample.name, sample.label, detail, perceptual_hash)
            elif row != members[0]:
                detail = tr("like {name}", name=samples[members[0]].name)
                yield ImageFinding("near-duplicate", sample.name, sample.label, detail, perceptual_hash)


def _odd_traits(perceptual_hash: PerceptualHash, crop: int) -> Iterator[tuple[str, str]]:
    shorter, longer = sorted((perceptual_hash.width, perceptual_hash.height))
    if shorter < TINY * crop:
        text = tr(
            "{width} x {height} pixels are enlarged to {crop} x {crop}",
            width=perceptual_hash.width,
            height=perceptual_hash.height,
            crop=crop,
        )
        yield "tiny", text
    if longer >= LONG * shorter:
        yield "long", tr("{ratio:.1f} times as long as it is wide", ratio=longer / shorter)
    if perceptual_hash.spread < PLAIN:
        yield "plain", tr("its brightness varies by {spread:.1f} of 255", spread=perceptual_hash.spread)
    if perceptual_hash.animated:
        yield "animated", tr("only its first frame is looked at")


def sentences(findings: Sequence[ImageFinding]) -> Iterator[str]:
    """Yield a sentence for each kind that was found, with the number of images and the first of them."""
    for kind, (of_one, of_many) in KINDS.items():
        of_kind = [finding for finding in findings if finding.kind == kind]
        if of_kind:
            names = [f"{shown(finding.name)} ({shown(finding.detail)})" for finding in of_kind]
            yield trn(of_one, of_many, len(of_kind), names=listed(names, _MAX_NAMES))


def write_audit(path: Path, findings: Sequence[ImageFinding]) -> None:
    """Write all findings as CSV, one on each line."""
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "finding", "width", "height", "detail"])
        for finding in findings:
            size = (
                (finding.perceptual_hash.width, finding.perceptual_hash.height) if finding.perceptual_hash else ("", "")
            )
            rows.writerow([finding.name, finding.label, finding.kind, *size, finding.detail])
