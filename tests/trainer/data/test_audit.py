from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.data.audit import KINDS, ImageFinding, audit, sentences, write_audit
from trainer.data.dataset import Sample, Unreadable
from trainer.data.features import Extracted
from trainer.data.neighbours import Positions
from trainer.data.perceptual_hash import PerceptualHash

LOOK = PerceptualHash(640, 480, False, 50.0, 0, b"", b"")


def found(
    hashes: list[PerceptualHash], names: str = "abcdef", labels: str = "xxxxxx", sha256: str = "123456"
) -> Extracted:
    samples = [
        Sample(Path(name), name, label, content * 64)
        for name, label, content, _ in zip(names, labels, sha256, hashes, strict=False)
    ]
    return Extracted(samples, np.zeros((len(hashes), 1), np.float32), hashes, [], 0, 0.0)


def kinds(findings: list[ImageFinding]) -> list[tuple[str, str]]:
    return [(finding.kind, finding.name) for finding in findings]


def alone(count: int) -> Positions:
    return np.arange(count)


def test_ordinary_images_are_not_odd() -> None:
    assert audit(found([LOOK] * 3), alone(3), 224) == []


@pytest.mark.parametrize(
    ("perceptual_hash", "kind", "detail"),
    [
        (replace(LOOK, width=55, height=80), "tiny", "55 x 80 pixels are enlarged to 224 x 224"),
        (replace(LOOK, width=2000, height=500), "long", "4.0 times as long as it is wide"),
        (replace(LOOK, width=500, height=2600), "long", "5.2 times as long as it is wide"),
        (replace(LOOK, spread=2.9), "plain", "its brightness varies by 2.9 of 255"),
        (replace(LOOK, animated=True), "animated", "only its first frame is looked at"),
    ],
)
def test_an_odd_image_is_reported(perceptual_hash: PerceptualHash, kind: str, detail: str) -> None:
    assert audit(found([LOOK, perceptual_hash]), alone(2), 224) == [
        ImageFinding(kind, "b", "x", detail, perceptual_hash)
    ]


@pytest.mark.parametrize("perceptual_hash", [replace(LOOK, width=56, height=56), replace(LOOK, width=1999, height=500)])
def test_an_image_just_within_the_limits_is_not_odd(perceptual_hash: PerceptualHash) -> None:
    assert audit(found([perceptual_hash]), alone(1), 224) == []


def test_an_image_may_be_odd_in_several_ways() -> None:
    perceptual_hash = replace(LOOK, width=1, height=9, spread=0.0, animated=True)
    assert kinds(audit(found([perceptual_hash]), alone(1), 224)) == [
        ("tiny", "a"),
        ("long", "a"),
        ("plain", "a"),
        ("animated", "a"),
    ]


def test_copies_and_near_duplicates_name_what_they_are_like() -> None:
    findings = audit(found([LOOK] * 5, sha256="11223"), np.array([0, 0, 0, 0, 4]), 224)
    assert [(each.kind, each.name, each.detail) for each in findings] == [
        ("copy", "b", "a copy of a"),
        ("copy", "d", "a copy of c"),
        ("near-duplicate", "c", "like a"),
    ]


def test_a_picture_under_two_labels_is_reported_for_each_image_of_it() -> None:
    findings = audit(found([LOOK] * 4, labels="xyxy", sha256="1234"), np.array([0, 0, 2, 3]), 224)
    assert kinds(findings) == [("two-labels", "a"), ("two-labels", "b"), ("near-duplicate", "b")]
    assert findings[0].detail == "the same picture, or nearly, lies under x, y"


def test_what_cannot_be_read_comes_first() -> None:
    images = replace(found([replace(LOOK, spread=0.0)]), unreadable=[Unreadable("z", "x", "empty", "It is empty.")])
    assert kinds(audit(images, alone(1), 224)) == [("unreadable", "z"), ("plain", "a")]


def test_each_kind_is_one_sentence_that_names_the_first() -> None:
    findings = [ImageFinding("tiny", f"{number}\n.jpg", "x", "small") for number in range(5)]
    findings.append(ImageFinding("plain", "p.jpg", "x", "grey"))
    tiny, plain = sentences(findings)
    assert tiny.startswith("5 images are tiny: there is little to see on them: 0\\n.jpg (small), 1\\n.jpg")
    assert tiny.endswith("(small), and 2 more")
    assert plain == "1 image is nearly of one colour: p.jpg (grey)"


def test_the_table_has_a_row_for_each_finding(tmp_path: Path) -> None:
    lost = ImageFinding("unreadable", "\udce9,.jpg", "x", "empty: It is empty.")
    write_audit(tmp_path / "audit.csv", [lost, ImageFinding("tiny", "b.jpg", "x", "small", LOOK)])
    with (tmp_path / "audit.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(row.values()) for row in rows] == [
        ["\udce9,.jpg", "x", "unreadable", "", "", "empty: It is empty."],
        ["b.jpg", "x", "tiny", "640", "480", "small"],
    ]


def test_every_kind_has_words_for_one_and_for_many() -> None:
    for kind in KINDS:
        [one] = sentences([ImageFinding(kind, "a", "x", "")])
        [two] = sentences([ImageFinding(kind, "a", "x", "")] * 2)
        assert one.startswith("1 image ")
        assert two.startswith("2 images ")
        assert one.split(":")[0].removeprefix("1 image ") != two.split(":")[0].removeprefix("2 images ")
