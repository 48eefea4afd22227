"""Images that get tags in place of folders: those that a model was not sure of lie in the pile as others do."""

from __future__ import annotations

from pathlib import Path

from models.deciding.rule import Fate
from tests.daemon.review.browser import Page, Reviewed, open_page
from tests.pictures import KINDS, save


def _tag(reviewed: Reviewed, name: str, folder: str, fate: Fate) -> Path:
    path = save(KINDS[0], sum(map(ord, name)), reviewed.desk.inbox / name)
    reviewed.desk.file_one(path, folder, action="tag", label="cat", confidence=0.4, fate=fate)
    return path


def _names(page: Page) -> list[str]:
    return [image["name"] for image in page.browser.unsure()]


def test_an_unsure_image_without_a_tag_is_in_the_pile_until_it_has_one(reviewed: Reviewed) -> None:
    untagged = [_tag(reviewed, f"{number}.png", "others", Fate.UNSURE) for number in range(4)]
    _tag(reviewed, "sure of.png", "cat", Fate.SURE)
    with open_page(reviewed) as page:
        assert _names(page) == ["3.png", "2.png", "1.png", "0.png", "two.png", "one.png"]
        image = page.browser.unsure()[0]
        assert image["folder"] == "others"
        assert page.browser.get(f"/thumbnails/{image['id']}/256").status == 200
        decision = {"kind": "label", "id": image["id"], "version": image["version"], "to": "cat"}
        assert page.browser.decide(decision)[0]["state"] == "done"
        assert "cat" in untagged[3].with_name("3.png.xmp").read_text()
        untagged[2].unlink()
        # As resort does where a later model is sure of it.
        reviewed.desk.file([reviewed.desk.decide(untagged[1], "cat", fate=Fate.SURE, again=True)], action="tag")
    with open_page(reviewed) as page:
        assert _names(page) == ["0.png", "two.png", "one.png"]


def test_images_that_stay_unread_where_they_came_in_are_all_in_the_quarantine(reviewed: Reviewed) -> None:
    for number in range(3):
        path = reviewed.desk.put(f"{number}.jpg", b"no image")
        reviewed.desk.file_one(path, "quarantine/not-an-image", action="copy", reason="not-an-image")
    with open_page(reviewed) as page:
        assert len(page.browser.get("/api/quarantine").json()["images"]) == 3


def test_tagged_images_are_looked_through_and_counted_with_their_class_until_they_have_another(
    reviewed: Reviewed,
) -> None:
    tagged = [_tag(reviewed, f"{number}.png", "cat", Fate.SURE) for number in range(2)]
    _tag(reviewed, "unsure.png", "others", Fate.UNSURE)
    (reviewed.desk.output / "dog").mkdir()

    def of_class(page: Page, name: str, order: str) -> list[str]:
        answer = page.browser.get(f"/api/class?name={name}&order={order}").json()
        return [image["name"] for image in answer["images"]]

    with open_page(reviewed) as page:
        assert of_class(page, "cat", "newest") == ["1.png", "0.png", "sure.png"]
        image = page.browser.get("/api/class?name=cat&order=newest").json()["images"][0]
        assert (image["folder"], page.browser.get(f"/thumbnails/{image['id']}/256").status) == ("cat", 200)
        page.browser.decide({"kind": "label", "id": image["id"], "version": image["version"], "to": "dog"})
        assert (of_class(page, "cat", "newest"), of_class(page, "dog", "least-sure")) == (
            ["0.png", "sure.png"],
            ["1.png"],
        )
        tagged[0].unlink()
        assert of_class(page, "cat", "least-sure") == ["sure.png"]
    with open_page(reviewed) as page:
        counts = {one["name"]: one["count"] for one in page.browser.get("/api/classes").json()["classes"]}
        assert (counts["cat"], counts["dog"]) == (2, 1)
