"""An audit draws fairly, estimates exactly, and a broken promise reaches whoever should know."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from loguru import logger
from scipy.special import betaincinv

from daemon.journal.labels import How, WantedLabels
from daemon.monitoring.audits import AUDIT_FILE, AuditFile
from daemon.review import audits
from daemon.review.audit_book import AUDIT_FOLDER, AuditBook, Drawn, KeptAudit
from daemon.review.drawing import draw, interval, shares
from tests.daemon.review.browser import Page, Reviewed, open_page

LONG_AGO = (datetime.now(UTC) - timedelta(days=3)).isoformat()


@pytest.mark.parametrize(("wrong", "count"), [(0, 1), (1, 1), (0, 200), (3, 200), (100, 200), (199, 200), (17, 2000)])
def test_the_interval_is_that_of_clopper_and_pearson(wrong: int, count: int) -> None:
    low, high = interval(wrong, count)
    assert low == pytest.approx(0 if wrong == 0 else betaincinv(wrong, count - wrong + 1, 0.025), abs=1e-9)
    assert high == pytest.approx(1 if wrong == count else betaincinv(wrong + 1, count - wrong, 0.975), abs=1e-9)


def test_every_image_is_as_likely_to_be_drawn_as_any_other() -> None:
    images = {"cat": list(range(10)), "dog": list(range(10, 17)), "emu": [17], "fox": list(range(18, 50))}
    drawn = Counter[int]()
    for seed in range(4000):
        for _, share, order in draw(images, 10, seed):
            drawn.update(number for number, _ in zip(order, range(share), strict=False))
    assert sum(drawn.values()) == 40_000
    assert all(abs(count - 800) < 150 for count in drawn.values()), drawn
    assert len(drawn) == 50


def test_each_class_gives_its_share() -> None:
    sizes = {"cat": 6000, "dog": 3000, "emu": 1000}
    for seed in range(20):
        divided = shares(sizes, 100, random.Random(seed))
        assert divided == {"cat": 60, "dog": 30, "emu": 10}
    assert shares(sizes, 20_000, random.Random(0)) == sizes


def test_the_interval_holds_for_a_stratified_draw() -> None:
    wrong_of = {"cat": 0.02, "dog": 0.3, "emu": 0.0}
    images = {label: list(range(start, start + 400)) for label, start in zip(wrong_of, (0, 400, 800), strict=True)}
    truly_wrong = {n for label, ids in images.items() for n in ids[: round(400 * wrong_of[label])]}
    misses = 0
    for seed in range(400):
        drawn = [n for _, share, order in draw(images, 90, seed) for n, _ in zip(order, range(share), strict=False)]
        low, high = interval(len(truly_wrong.intersection(drawn)), len(drawn))
        misses += not low <= len(truly_wrong) / 1200 <= high
    assert misses <= 20


def _draw(page: Page, count: int = 10, **more: object) -> dict[str, Any]:
    answer = page.browser.post("/api/audits", {"count": count, "since": LONG_AGO, **more})
    assert answer.status == 200, answer.content
    drawn = answer.json()
    assert isinstance(drawn, dict)
    return drawn


def test_only_what_a_model_filed_is_drawn_and_the_same_seed_draws_it_again(reviewed: Reviewed) -> None:
    for number in range(12):
        reviewed.file(f"more{number}.png", "cat" if number % 3 else "dog", label="cat" if number % 3 else "dog")
    with open_page(reviewed) as page:
        drawn = _draw(page, 6)
        images = drawn["images"]
        assert isinstance(images, list)
        assert len(images) == 6
        assert drawn["filed"] == 13
        assert {image["image"]["folder"] for image in images} == {"cat", "dog"}
        again = _draw(page, 6, seed=drawn["seed"])
        assert [image["id"] for image in again["images"]] == [image["id"] for image in images]
        assert len(page.browser.get("/api/audits").json()["audits"]) == 2


def test_answers_are_labels_and_can_be_taken_back(reviewed: Reviewed) -> None:
    reviewed.file("other.png", "cat")
    with open_page(reviewed) as page:
        drawn = _draw(page)
        first, second = drawn["images"]
        common = {"kind": "audit", "audit": drawn["id"]}
        right = {**common, "id": first["id"], "version": first["image"]["version"], "right": True, "key": "r" * 8}
        wrong = {**common, "id": second["id"], "version": second["image"]["version"], "right": False, "to": "dog"}
        states = page.browser.decide(right, {**wrong, "new": True, "key": "w" * 8})
        assert [state["state"] for state in states] == ["done", "done"]
        audit = page.browser.get(f"/api/audit?audit={drawn['id']}").json()
        assert (audit["overall"]["answered"], audit["overall"]["wrong"]) == (2, 1)
        journal = reviewed.desk.journal()
        labels = list(journal.labels(WantedLabels(how=[How.AUDITED])))
        journal.close()
        assert {label.label for label in labels} == {"cat", "dog"}
        (state,) = page.browser.decide({"kind": "take-back", "of": "w" * 8})
        assert state["state"] == "done"
        audit = page.browser.get(f"/api/audit?audit={drawn['id']}").json()
        assert (audit["overall"]["answered"], audit["overall"]["wrong"]) == (1, 0)


def test_what_a_person_has_moved_already_counts_as_wrong(reviewed: Reviewed) -> None:
    with open_page(reviewed) as page:
        (image,) = page.browser.get("/api/class?name=cat").json()["images"]
        page.browser.decide({"kind": "label", "id": image["id"], "version": image["version"], "to": "dog", "new": True})
        overall = _draw(page)["overall"]
        assert isinstance(overall, dict)
        assert (overall["answered"], overall["wrong"]) == (1, 1)


def test_a_broken_promise_reaches_the_daemon(reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "promised_share", lambda _: 0.01)
    for number in range(8):
        reviewed.file(f"more{number}.png", "cat")
    file = AuditFile(reviewed.place().state / AUDIT_FILE)
    assert file.latest() is None
    warnings: list[str] = []
    handler = logger.add(lambda message: warnings.append(message.record["message"]), level="WARNING")
    try:
        with open_page(reviewed) as page:
            drawn = _draw(page)
            for number, image in enumerate(drawn["images"]):
                page.browser.decide(
                    {
                        "kind": "audit", "audit": drawn["id"], "id": image["id"], "version": image["image"]["version"],
                        "right": number % 2 == 0,
                    }
                )  # fmt: skip
                file.latest()
            found = file.latest()
        assert found is not None
        assert found.is_broken
        assert (found.answered, found.wrong) == (9, 4)
        assert len([text for text in warnings if "promise" in text]) == 1
    finally:
        logger.remove(handler)


def test_an_audit_that_is_none_is_not_found(page: Page, reviewed: Reviewed) -> None:
    for name in ("", "..", "../audit", "20260101T000000-00000000", "x" * 500, "%00"):
        assert page.browser.get(f"/api/audit?audit={name}").status == 404
    image = page.browser.unsure()[0]
    decision = {"kind": "audit", "audit": "../x", "id": image["id"], "version": image["version"], "right": True}
    assert page.browser.decide(decision)[0]["state"] == "refused"
    assert page.browser.post("/api/audits", {"count": 10**9, "since": LONG_AGO}).status == 400
    assert page.browser.post("/api/audits", {"count": 1, "since": "never"}).status == 400


def test_a_damaged_report_is_no_audit(tmp_path: Path) -> None:
    file = AuditFile(tmp_path / AUDIT_FILE)
    (tmp_path / AUDIT_FILE).write_bytes(b"{" * 100)
    assert file.latest() is None


def test_the_daemon_is_told_of_the_newest_audit_with_an_answer_and_older_ones_are_not_read(tmp_path: Path) -> None:
    days = iter(range(1, 4))
    book = AuditBook(tmp_path, lambda: datetime(2026, 1, next(days), tzinfo=UTC))
    reported = AuditFile(tmp_path / AUDIT_FILE)
    first, second, third = (_kept(book.new_id()) for _ in range(3))
    for audit in (first, second, third):
        book.keep(audit)
    for audit, count in ((first, 1), (second, 2), (second, 3), (first, 3), (third, None)):
        book.judge(audit.id, 0 if count is None else count, None if count is None else False)
        found = reported.latest()
        assert found is not None
        assert found.time == (first if count == 1 else second).time.timestamp()
    warnings: list[str] = []
    handler = logger.add(warnings.append, level="WARNING")
    try:
        (tmp_path / AUDIT_FOLDER / f"{first.id}.json").write_bytes(b"{")
        book.judge(third.id, 1, True)
    finally:
        logger.remove(handler)
    found = reported.latest()
    assert found is not None
    assert found.time == third.time.timestamp()
    assert warnings == []


def _kept(name: str) -> KeptAudit:
    time = datetime.strptime(name[:8], "%Y%m%d").replace(tzinfo=UTC)
    images = [Drawn(id=number, filed_as="cat") for number in range(4)]
    return KeptAudit(id=name, time=time, since=time, until=time, seed=1, filed={"cat": 4}, promised=None, images=images)
