"""Labels of the data set are put right: the label of a person is kept, and the files of the data set stay."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from daemon.journal.journal import read_labels
from daemon.journal.labels import How, Label
from daemon.review.images import Images
from daemon.review.learnt_images import LearntImages
from daemon.review.refusals import Refusal
from daemon.review.thumbnails import Thumbnails
from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.metadata import Metadata
from tests.daemon.conftest import Publish
from tests.daemon.review.browser import Browser, Page, Reviewed, open_page


def decision(image: dict[str, Any], to: str | None, **more: object) -> dict[str, object]:
    return {"kind": "learnt", "id": image["number"], "version": image["version"], "to": to, **more}


def doubts(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.browser.get("/api/model").json()["likely_wrong"]
    return found


def labels(reviewed: Reviewed) -> list[Label]:
    return list(read_labels(reviewed.place().journal))


def test_a_label_that_is_put_right_is_kept_and_the_doubt_is_gone(
    reviewed: Reviewed, learnt: Path, tmp_path: Path
) -> None:
    file = tmp_path / "data" / "discs" / "1.png"
    before = file.stat()
    with open_page(reviewed) as page:
        (image,) = doubts(page)
        (state,) = page.browser.decide(decision(image, "checks"))
        assert (state["state"], state["can_take_back"]) == ("done", True)
        assert doubts(page) == []
        (behind,) = page.browser.get("/api/model/cell?actual=discs&predicted=checks").json()["images"]
        assert (behind["is_labelled"], behind["said"]) == (True, "checks")
    (label,) = labels(reviewed)
    assert (label.sha256, label.label, label.how, label.path) == (image["version"], "checks", How.REVIEWED, file)
    assert file.stat() == before


def test_a_label_that_is_right_after_all_is_doubted_no_more(reviewed: Reviewed, learnt: Path) -> None:
    with open_page(reviewed) as page:
        (image,) = doubts(page)
        page.browser.decide(decision(image, "discs"))
        assert doubts(page) == []
    assert [label.label for label in labels(reviewed)] == ["discs"]


def test_it_can_be_taken_back(reviewed: Reviewed, learnt: Path) -> None:
    with open_page(reviewed) as page:
        (image,) = doubts(page)
        key = "k" * 12
        page.browser.decide(decision(image, None, key=key))
        (label,) = labels(reviewed)
        assert label.label is None
        (state,) = page.browser.decide({"kind": "take-back", "of": key})
        assert state["state"] == "done"
        assert len(doubts(page)) == 1
    assert labels(reviewed) == []


def test_what_is_no_image_of_the_data_set_or_no_class_is_refused(reviewed: Reviewed, learnt: Path) -> None:
    with open_page(reviewed) as page:
        (image,) = doubts(page)
        wrong: list[dict[str, object]] = [
            {"id": 99},
            {"version": "00" * 32},
            {"version": ""},
            {"to": "../x", "new": True},
            {"to": "dscs"},
            {"to": "/".join(["x" * 200] * 3), "new": True},
        ]
        for change in wrong:
            (state,) = page.browser.decide(decision(image, "checks") | change)
            assert state["state"] == "refused", change
        assert labels(reviewed) == []


def test_behind_a_cell_is_also_what_people_have_labelled(reviewed: Reviewed, learnt: Path) -> None:
    row = next(row for row in reviewed.rows() if row.filed_name == "sure.png")
    add_row(learnt, f",cat,{row.sha256},held-out,0,discs,0.8,0.1,")
    with open_page(reviewed) as page:
        version = next(each["version"] for each in images_of(page.browser, "cat"))
        (image,) = page.browser.get("/api/model/cell?actual=cat&predicted=discs").json()["images"]
        address = f"/thumbnails/learnt/{image['number']}/256"
        assert page.browser.get(address).status == 404
        page.browser.decide({"kind": "label", "id": row.id, "version": version, "to": "cat"})
        assert page.browser.get(address).status == 200
        (moved,) = labels(reviewed)
        page.browser.decide(decision(image, "discs"))
        assert page.browser.get(address).status == 200, "it lies where it lay"
    (now,) = labels(reviewed)
    assert (now.label, now.path, now.identity) == ("discs", moved.path, moved.identity)


def add_row(run: Path, line: str) -> None:
    with (run / "split.csv").open("a") as file:
        file.write(f"{line}\n")


def images_of(browser: Browser, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = browser.get(f"/api/class?name={name}").json()["images"]
    return found


def test_the_model_is_read_once_however_many_of_its_images_are_looked_at(
    reviewed: Reviewed, learnt: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = reviewed.place()
    read: list[Path] = []
    read_metadata = checkpoints.read_metadata

    def count(path: Path) -> Metadata:
        read.append(path.parent)
        return read_metadata(path)

    monkeypatch.setattr(checkpoints, "read_metadata", count)
    with closing(Images(place)) as images, closing(Thumbnails(place, decoders=1)) as thumbnails:
        found = LearntImages(place, images, thumbnails)
        digest = next(found.report_of(learnt).judged()).sha256
        for _ in range(3):
            assert found.seen(0, digest).sha256 == digest
            assert found.thumbnail(0, 256)
        assert read == [learnt]
        other = learnt.with_name("20260102-000000-embedded")
        publish(other)
        with pytest.raises(Refusal, match="another model is in use"):
            found.seen(0, digest)
        assert read == [learnt, other]
