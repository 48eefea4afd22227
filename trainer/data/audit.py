"""What is odd about the images of a data set. Everything is reported; nothing is deleted, moved or replaced."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.text.language import mark, tr, trn
from trainer.data.dataset import Sample, shown
from trainer.data.features import Extracted
from trainer.data.neighbours import PLAIN, Group
from trainer.data.perceptual_hash import Look
from trainer.tables import listed

#: An image is tiny when its shorter side is less than this share of the crop that is made of it.
TINY = 0.25
#: An image is long when one side is this many times the other.
LONG = 4.0

#: The kinds of findings in the order they are told in, each with what is said of one image and of several (see `trn`).
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

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Oddity:
    """One thing that is odd about one image. ``look`` is None where the image cannot be read."""

    kind: str
    name: str
    label: str
    detail: str
    look: Look | None = None


def audit(found: Extracted, groups: Group, crop: int) -> list[Oddity]:
    """Everything odd about n images. ``groups`` (n,) are those of `trainer.data.neighbours`, ``crop`` is in pixels."""
    findings = [
        Oddity("unreadable", lost.name, lost.label, f"{lost.reason}: {lost.message}") for lost in found.unreadable
    ]
    findings += _alike(found.samples, found.looks, groups)
    for sample, look in zip(found.samples, found.looks, strict=True):
        findings += [Oddity(kind, sample.name, sample.label, detail, look) for kind, detail in _odd(look, crop)]
    order = list(KINDS)
    return sorted(findings, key=lambda finding: order.index(finding.kind))


def _alike(samples: Sequence[Sample], looks: Sequence[Look], groups: Group) -> Iterator[Oddity]:
    members: dict[int, list[int]] = defaultdict(list)
    for at, group in enumerate(groups.tolist()):
        members[group].append(at)
    for of in members.values():
        labels = sorted({samples[at].label for at in of})
        first_of: dict[str, Sample] = {}
        for at in of:
            sample, look = samples[at], looks[at]
            if len(labels) > 1:
                detail = tr("the same picture, or nearly, lies under {names}", names=", ".join(labels))
                yield Oddity("two-labels", sample.name, sample.label, detail, look)
            first = first_of.setdefault(sample.sha256, sample)
            if first is not sample:
                yield Oddity("copy", sample.name, sample.label, tr("a copy of {name}", name=first.name), look)
            elif at != of[0]:
                yield Oddity(
                    "near-duplicate", sample.name, sample.label, tr("like {name}", name=samples[of[0]].name), look
                )


def _odd(look: Look, crop: int) -> Iterator[tuple[str, str]]:
    shorter, longer = sorted((look.width, look.height))
    if shorter < TINY * crop:
        text = tr(
            "{width} x {height} pixels are enlarged to {crop} x {crop}", width=look.width, height=look.height, crop=crop
        )
        yield "tiny", text
    if longer >= LONG * shorter:
        yield "long", tr("{ratio:.1f} times as long as it is wide", ratio=longer / shorter)
    if look.spread < PLAIN:
        yield "plain", tr("its brightness varies by {spread:.1f} of 255", spread=look.spread)
    if look.animated:
        yield "animated", tr("only its first frame is looked at")


def sentences(findings: Sequence[Oddity]) -> Iterator[str]:
    """A line for each kind of finding there is: how many images, and the first of them."""
    for kind, (of_one, of_many) in KINDS.items():
        of = [finding for finding in findings if finding.kind == kind]
        if of:
            names = [f"{shown(finding.name)} ({shown(finding.detail)})" for finding in of]
            yield trn(of_one, of_many, len(of), names=listed(names, _NAMED))


def write_audit(path: Path, findings: Sequence[Oddity]) -> None:
    """All findings as a table, one for each line."""
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "finding", "width", "height", "detail"])
        for finding in findings:
            size = (finding.look.width, finding.look.height) if finding.look else ("", "")
            rows.writerow([finding.name, finding.label, finding.kind, *size, finding.detail])
