"""What is odd about the images of a data set. Everything is reported; nothing is deleted, moved or replaced."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.data import Sample, shown
from trainer.features import Extracted
from trainer.looks import Look
from trainer.neighbours import PLAIN, Group

#: An image is tiny when its shorter side is less than this share of the crop that is made of it.
TINY = 0.25
#: An image is long when one side is this many times the other.
LONG = 4.0

#: The kinds of findings in the order they are told in, each with what is said of one image and of several.
KINDS = {
    "unreadable": ("cannot be read and is left out", "cannot be read and are left out"),
    "two-labels": ("shows a picture that lies under several labels", "show pictures that lie under several labels"),
    "copy": ("is a copy of another, byte for byte", "are copies of another, byte for byte"),
    "near-duplicate": ("shows nearly the same picture as another", "show nearly the same picture as another"),
    "tiny": ("is tiny: there is little to see on it", "are tiny: there is little to see on them"),
    "long": ("is so long that it is seen in part, or squeezed", "are so long that they are seen in part, or squeezed"),
    "plain": ("is nearly of one colour", "are nearly of one colour"),
    "animated": ("has several frames, of which the first counts", "have several frames, of which the first counts"),
}

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is odd about one image. ``look`` is None where the image cannot be read."""

    kind: str
    name: str
    label: str
    detail: str
    look: Look | None = None


def audit(found: Extracted, groups: Group, crop: int) -> list[Finding]:
    """Everything odd about n images. ``groups`` (n,) are those of `trainer.neighbours`, ``crop`` is in pixels."""
    findings = [
        Finding("unreadable", lost.name, lost.label, f"{lost.reason}: {lost.message}") for lost in found.unreadable
    ]
    findings += _alike(found.samples, found.looks, groups)
    for sample, look in zip(found.samples, found.looks, strict=True):
        findings += [Finding(kind, sample.name, sample.label, detail, look) for kind, detail in _odd(look, crop)]
    order = list(KINDS)
    return sorted(findings, key=lambda finding: order.index(finding.kind))


def _alike(samples: Sequence[Sample], looks: Sequence[Look], groups: Group) -> Iterator[Finding]:
    members: dict[int, list[int]] = defaultdict(list)
    for at, group in enumerate(groups.tolist()):
        members[group].append(at)
    for of in members.values():
        labels = sorted({samples[at].label for at in of})
        first_of: dict[str, Sample] = {}
        for at in of:
            sample, look = samples[at], looks[at]
            if len(labels) > 1:
                detail = f"the same picture, or nearly, lies under {', '.join(labels)}"
                yield Finding("two-labels", sample.name, sample.label, detail, look)
            first = first_of.setdefault(sample.sha256, sample)
            if first is not sample:
                yield Finding("copy", sample.name, sample.label, f"a copy of {first.name}", look)
            elif at != of[0]:
                yield Finding("near-duplicate", sample.name, sample.label, f"like {samples[of[0]].name}", look)


def _odd(look: Look, crop: int) -> Iterator[tuple[str, str]]:
    shorter, longer = sorted((look.width, look.height))
    if shorter < TINY * crop:
        yield "tiny", f"{look.width} x {look.height} pixels are enlarged to {crop} x {crop}"
    if longer >= LONG * shorter:
        yield "long", f"{longer / shorter:.1f} times as long as it is wide"
    if look.spread < PLAIN:
        yield "plain", f"its brightness varies by {look.spread:.1f} of 255"
    if look.animated:
        yield "animated", "only its first frame is looked at"


def sentences(findings: Sequence[Finding]) -> Iterator[str]:
    """A line for each kind of finding there is: how many images, and the first of them."""
    for kind, (of_one, of_many) in KINDS.items():
        of = [finding for finding in findings if finding.kind == kind]
        if of:
            named = [f"{shown(finding.name)} ({shown(finding.detail)})" for finding in of[:_NAMED]]
            more = f", and {len(of) - _NAMED} more" if len(of) > _NAMED else ""
            what = f"1 image {of_one}" if len(of) == 1 else f"{len(of)} images {of_many}"
            yield f"{what}: {', '.join(named)}{more}"


def write_audit(path: Path, findings: Sequence[Finding]) -> None:
    """All findings as a table, one for each line."""
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "finding", "width", "height", "detail"])
        for finding in findings:
            size = (finding.look.width, finding.look.height) if finding.look else ("", "")
            rows.writerow([finding.name, finding.label, finding.kind, *size, finding.detail])
