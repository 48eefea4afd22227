"""What people decide is carried out, once, in order, whatever the daemon does meanwhile."""

from __future__ import annotations

import threading
import uuid
from typing import Any

from daemon.commands.calling import operate
from daemon.journal.labels import How, WantedLabels
from daemon.operations.desk import Operation, Params
from daemon.review.place import GRACE_SECONDS
from models.errors import UserError
from tests.daemon.review.browser import Page, Reviewed, open_page
from tests.processes import wait_for


def _label(image: dict[str, Any], to: str | None, **more: object) -> dict[str, object]:
    return {"kind": "label", "id": image["id"], "version": image["version"], "to": to, **more}


def _labels(reviewed: Reviewed) -> list[tuple[str | None, How]]:
    journal = reviewed.desk.journal()
    try:
        return [(label.label, label.how) for label in journal.labels(WantedLabels())]
    finally:
        journal.close()


def test_a_decision_moves_the_image_and_is_a_reviewed_label(page: Page, reviewed: Reviewed) -> None:
    image = page.browser.unsure()[0]
    (state,) = page.browser.decide(_label(image, "cat"))
    assert state["state"] == "done"
    assert state["can_take_back"]
    assert (reviewed.desk.output / "cat" / image["name"]).exists()
    assert _labels(reviewed) == [("cat", How.REVIEWED)]
    assert image["id"] not in [other["id"] for other in page.browser.unsure()]


def test_it_is_taken_back_in_any_order(page: Page, reviewed: Reviewed) -> None:
    one, two = page.browser.unsure()
    page.browser.decide(_label(one, "cat", key="first-one"), _label(two, "cat", key="second-one"))
    states = page.browser.decide({"kind": "take-back", "of": "first-one"}, {"kind": "take-back", "of": "second-one"})
    assert [state["state"] for state in states] == ["done", "done"]
    assert len(page.browser.unsure()) == 2
    assert _labels(reviewed) == []


def test_none_of_the_classes_leaves_the_pile_and_comes_back_when_taken_back(page: Page, reviewed: Reviewed) -> None:
    image = page.browser.unsure()[0]
    page.browser.decide(_label(image, None, key="none-of-them"))
    assert image["id"] not in [other["id"] for other in page.browser.unsure()]
    assert _labels(reviewed) == [(None, How.REVIEWED)]
    page.browser.decide({"kind": "take-back", "of": "none-of-them"})
    wait_for(lambda: len(page.browser.unsure()) == 2, "the image is back")


def test_a_new_class_has_to_be_meant(page: Page, reviewed: Reviewed) -> None:
    image = page.browser.unsure()[0]
    assert page.browser.decide(_label(image, "badger"))[0]["state"] == "refused"
    assert page.browser.decide(_label(image, "badger", new=True))[0]["state"] == "done"
    assert (reviewed.desk.output / "badger" / image["name"]).exists()
    assert "badger" in [known["name"] for known in page.browser.get("/api/classes").json()["classes"]]


def test_what_is_sent_again_is_not_done_again(page: Page, reviewed: Reviewed) -> None:
    image = page.browser.unsure()[0]
    decision = _label(image, "cat", key="the-same-key")
    for _ in range(3):
        assert page.browser.decide(decision)[0]["state"] == "done"
    assert len(_labels(reviewed)) == 1
    # By another process, as after a restart, too.
    with open_page(reviewed) as other:
        assert other.browser.get("/api/changes?since=0&keys=the-same-key").json()["decisions"][0]["state"] == "unknown"
        assert other.browser.decide(decision)[0]["state"] == "done"
    assert set(_labels(reviewed)) == {("cat", How.REVIEWED)}
    assert (reviewed.desk.output / "cat" / image["name"]).exists()


def test_what_was_put_into_another_class_is_not_live_as_something_new(page: Page, reviewed: Reviewed) -> None:
    def live() -> list[tuple[int, str]]:
        images = page.browser.get("/api/live?minutes=60").json()["images"]
        return [(image["id"], image["folder"]) for image in images]

    before = live()
    sure = page.browser.get("/api/live?minutes=60").json()["images"][0]
    assert sure["folder"] == "cat"
    page.browser.decide(_label(sure, "dog", new=True, key="into-another-one"))
    assert live() == before[1:]
    page.browser.decide({"kind": "take-back", "of": "into-another-one"})
    assert live() == before


def test_two_pages_agree(page: Page) -> None:
    other = page.stranger()
    other.enter(page.link())
    image = other.unsure()[0]
    revision = other.get("/api/session").json()["revision"]
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(other.get(f"/api/changes?since={revision}").json()))
    waiting.start()
    page.browser.decide(_label(image, "cat"))
    waiting.join(300)
    assert image["id"] in answers[0]["decided"]
    assert image["id"] not in [left["id"] for left in other.unsure()]


def test_what_another_program_files_is_noticed(page: Page, reviewed: Reviewed) -> None:
    revision = page.browser.get("/api/session").json()["revision"]
    # Before the page first asks for changes, and while it waits for them.
    reviewed.file("three.png")
    revision_then = page.browser.get(f"/api/changes?since={revision}").json()["revision"]
    assert revision_then > revision
    answers: list[Any] = []
    changes = f"/api/changes?since={revision_then}"
    waiting = threading.Thread(target=lambda: answers.append(page.browser.get(changes).json()))
    waiting.start()
    reviewed.file("four.png")
    waiting.join(300)
    assert answers[0]["revision"] > revision_then
    assert len(page.browser.unsure()) == 4


def test_undo_brings_an_image_back_and_its_taking_back_releases_it(page: Page, reviewed: Reviewed) -> None:
    image = page.browser.unsure()[0]
    undo = {"kind": "undo", "id": image["id"], "version": image["version"], "key": "an-undo-key"}
    assert page.browser.decide(undo)[0]["state"] == "done"
    assert (reviewed.desk.inbox / image["name"]).exists()
    journal = reviewed.desk.journal()
    assert len(journal.held()) == 1
    (state,) = page.browser.decide({"kind": "take-back", "of": "an-undo-key"})
    assert state["state"] == "done"
    assert journal.held() == []
    journal.close()


def test_a_quarantined_image_is_shown_with_its_reason_and_tried_again(reviewed: Reviewed) -> None:
    path = reviewed.desk.put("torn.png", b"torn")
    reviewed.desk.file_one(path, "quarantine/truncated", reason="truncated", detail="It is cut short.")
    with open_page(reviewed) as page:
        answer = page.browser.get("/api/quarantine").json()
        (image,) = answer["images"]
        assert (image["reason"], image["note"]) == ("truncated", "It is cut short.")
        assert answer["reasons"][0]["count"] == 1
        (state,) = page.browser.decide({"kind": "retry", "id": image["id"], "version": image["version"]})
        assert state["state"] == "done"
        assert path.exists()
        assert page.browser.get("/api/quarantine").json()["images"] == []


class Restarting:
    """A daemon that answers, is away for a while, and answers again."""

    def __init__(self, reviewed: Reviewed) -> None:
        self._place = reviewed
        self.is_there = True
        self.refuses_once = False

    def is_running(self) -> bool:
        return self.is_there

    def operate(self, method: str, params: Params) -> Operation:
        if self.refuses_once:
            self.refuses_once = False
            error = UserError("the daemon ended in the middle")
            error.exit_code = 1
            raise error
        from argparse import Namespace

        from daemon.commands.filters import FiledOutput

        options = Namespace(output=str(self._place.desk.output), state_dir=str(self._place.state), config=None)
        return (yield from operate(FiledOutput(options), method, params))


def test_decisions_wait_while_the_daemon_restarts_and_none_is_lost(reviewed: Reviewed) -> None:
    for number in range(10):
        reviewed.file(f"more{number}.png")
    daemon = Restarting(reviewed)
    reviewed.is_running, reviewed.operate = daemon.is_running, daemon.operate
    with open_page(reviewed) as page:
        images = page.browser.unsure()
        assert page.browser.decide(_label(images[0], "cat"))[0]["state"] == "done"
        daemon.is_there, daemon.refuses_once = False, True
        sent = [{**_label(image, "cat"), "key": uuid.uuid4().hex} for image in images[1:]]
        states = page.browser.post("/api/decisions", {"decisions": sent}).json()["decisions"]
        assert {state["state"] for state in states} == {"waiting"}
        wait_for(lambda: page.browser.get("/api/changes?since=0").json()["trouble"], "it says why")
        assert page.browser.unsure() == []
        daemon.is_there = True
        settled = page.browser.settled(",".join(str(decision["key"]) for decision in sent))
        assert {state["state"] for state in settled} == {"done"}
    assert len(list((reviewed.desk.output / "cat").glob("*.png"))) == 13
    assert len(_labels(reviewed)) == 12


def test_what_was_refused_is_taken_back_without_a_word(page: Page) -> None:
    image = page.browser.unsure()[0]
    assert page.browser.decide(_label(image, "badger", key="no-such-class"))[0]["state"] == "refused"
    assert page.browser.decide({"kind": "take-back", "of": "no-such-class"})[0]["state"] == "done"


def test_a_decision_that_is_always_refused_keeps_no_other_from_being_done(reviewed: Reviewed) -> None:
    poison = reviewed.place()

    def operate_badly(method: str, params: Params) -> Operation:
        if any(filing.id == 1 for filing in getattr(params, "filings", ())):
            raise UserError("no")
        return (yield from poison.operate(method, params))

    reviewed.operate = operate_badly
    with open_page(reviewed) as page:
        images = sorted(page.browser.unsure(), key=lambda image: int(image["id"]))
        states = page.browser.decide(*(_label(image, "cat") for image in images))
        assert [state["state"] for state in states] == ["refused", "done"]


def test_without_a_daemon_that_was_there_it_acts_at_once(page: Page) -> None:
    assert GRACE_SECONDS > 1
    image = page.browser.unsure()[0]
    assert page.browser.decide(_label(image, "cat"))[0]["state"] == "done"
    assert page.browser.get("/api/session").json()["daemon"] is False
