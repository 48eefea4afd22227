"""The classes, with what lies in their folders."""

from __future__ import annotations

from tests.daemon.review.browser import Page, Reviewed
from tests.processes import wait_for


def wait_for_counts(page: Page, **counts: int) -> None:
    """Wait until the classes have these counts: they are counted again so often that it takes little of the time."""

    def are_so() -> bool:
        found = {one["name"]: one["count"] for one in page.browser.get("/api/classes").json()["classes"]}
        return {name: found.get(name) for name in counts} == counts

    wait_for(are_so, str(counts))


def test_a_class_counts_what_was_filed_into_its_folder_and_not_what_it_was_only_taken_for(page: Page) -> None:
    wait_for_counts(page, cat=1)  # of three images that were taken for one, two are unsure
    image = page.browser.unsure()[0]
    page.browser.decide({"kind": "label", "id": image["id"], "version": image["version"], "to": "dog", "new": True})
    wait_for_counts(page, cat=1, dog=1)


def test_what_lies_in_folders_of_a_layout_counts_for_its_class(page: Page, reviewed: Reviewed) -> None:
    for number, folder in enumerate(("cat/2024/05", "cat/2024/06", "cats")):
        reviewed.file(f"{number}.png", folder, confidence=0.9)
    wait_for_counts(page, cat=3, cats=0)
