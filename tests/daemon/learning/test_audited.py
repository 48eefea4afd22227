"""What a lesson is given of audits: the drawn images, and unsure ones in the proportion in which they came."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.files.source import Identity
from daemon.journal.history import Wanted
from daemon.journal.journal import Journal
from daemon.journal.labels import How, Label
from daemon.journal.records import Filing, State
from daemon.learning import audited
from daemon.learning.audited import AUDITED, PASSED_OVER, UNSURE, audited_file, write_audited
from daemon.learning.base_run import is_promise_wanted
from daemon.learning.trainer_child import LessonOptions
from daemon.review import audit_book
from daemon.review.audit_book import AuditBook, Drawn, KeptAudit
from models.checkpoints import checkpoint
from tests.daemon.learning.conftest import lines_of
from tests.models.small_checkpoints import small_checkpoint

#: Whether an image is right, None where it was not answered, and "label" where a person had moved it before.
Answer = bool | str | None


class Filed:
    """Images that a daemon has filed into ``animals/dog``, and others of which it was unsure."""

    def __init__(self, folder: Path) -> None:
        self.output, self.state = folder / "sorted", folder / "state"
        self.journal = Journal(self.state / "journal.sqlite")
        self.others = self.output / "others"

    def file(self, name: str, folder: str = "animals/dog") -> int:
        """File an image; returns the id of its filing."""
        path = self.output / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))
        filing = Filing(
            state=State.DONE, action="move", source=Path("/inbox") / name, identity=Identity.from_stat(path.stat()),
            folder=path.parent, filed_name=name, label="animals/dog", confidence=0.9, sha256=sha256_of(name),
        )  # fmt: skip
        self.journal.write([filing])
        (written,) = self.journal.history(Wanted(name=name), 1)
        assert written.id is not None
        return written.id

    def move(self, name: str, label: str | None) -> None:
        """Have a person move an image, which is a label."""
        path = next(self.output.rglob(name))
        target = self.output / (label or "others") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        identity = Identity.from_stat(target.stat())
        said = Label(sha256=sha256_of(name), label=label, how=How.MOVED, path=target, identity=identity)
        self.journal.write([], labels=[said])

    def audit(self, ids: list[int], answers: list[Answer], filed: int) -> None:
        """Keep an audit as the review page does, in which so many were ``filed``."""
        now = datetime.now(UTC) + timedelta(seconds=1)
        drawn = [
            Drawn(id=number, filed_as="animals/dog", right=False, by_label=True)
            if answer == "label"
            else Drawn(id=number, filed_as="animals/dog", right=None if answer is None else bool(answer))
            for number, answer in zip(ids, answers, strict=True)
        ]
        book = AuditBook(self.state)
        book.keep(
            KeptAudit(
                id=book.new_id(), time=now, since=now - timedelta(days=1), until=now, seed=7,
                filed={"animals/dog": filed}, promised=0.05, images=drawn,
            )
        )  # fmt: skip

    def sample(self) -> list[dict[str, Any]]:
        """What a lesson is given."""
        file = self.state / "audited.jsonl"
        write_audited(self.state / "journal.sqlite", file, [self.output], self.others)
        return lines_of(file)


def sha256_of(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()


def kinds(sample: list[dict[str, Any]]) -> list[tuple[str | None, str]]:
    return [(line["label"], line["how"]) for line in sample]


@pytest.fixture
def filed(tmp_path: Path) -> Iterator[Filed]:
    place = Filed(tmp_path)
    yield place
    place.journal.close()


def test_both_programs_name_the_folder_of_audits_alike() -> None:
    assert audited.AUDIT_FOLDER == audit_book.AUDIT_FOLDER


def test_answers_are_given_up_to_the_last_one_whatever_they_are(filed: Filed) -> None:
    """What a person passed over counts, and what was put right before the draw; not what was never reached."""
    ids = [filed.file(f"{number}.png") for number in range(6)]
    filed.move("1.png", "animals/cat")
    filed.audit(ids, [True, "label", None, False, None, "label"], filed=6)
    assert kinds(filed.sample()) == [
        ("animals/dog", AUDITED),
        ("animals/cat", AUDITED),
        (None, PASSED_OVER),
        (None, AUDITED),
    ]
    assert filed.sample()[1]["path"] == str(filed.output / "animals" / "cat" / "1.png")


def test_what_a_person_said_last_counts(filed: Filed) -> None:
    ids = [filed.file("a.png"), filed.file("b.png")]
    filed.audit(ids, [True, False], filed=2)
    filed.move("a.png", None)
    filed.move("b.png", "animals/fox")
    assert kinds(filed.sample()) == [(None, AUDITED), ("animals/fox", AUDITED)]


def test_unsure_images_come_in_the_proportion_in_which_they_came(filed: Filed) -> None:
    ids = [filed.file(f"{number}.png") for number in range(4)]
    for number in range(8):
        filed.file(f"unsure{number}.png", "others")
    filed.audit(ids, [True, True, True, None], filed=4)
    sample = filed.sample()
    assert [how for _, how in kinds(sample)] == [AUDITED] * 3 + [UNSURE] * 6
    assert {line["label"] for line in sample if line["how"] == UNSURE} == {None}
    filed.move("unsure3.png", "animals/cat")
    filed.move("unsure5.png", "animals/cat")
    assert [label for label, how in kinds(filed.sample()) if how == UNSURE].count("animals/cat") >= 1


def test_where_unsure_images_are_gone_fewer_answers_count(filed: Filed) -> None:
    ids = [filed.file(f"{number}.png") for number in range(4)]
    for number in range(8):
        filed.file(f"unsure{number}.png", "others")
    for number in range(6):
        (filed.others / f"unsure{number}.png").unlink()
    filed.audit(ids, [True] * 4, filed=4)
    assert [how for _, how in kinds(filed.sample())] == [AUDITED, UNSURE, UNSURE]


def test_an_image_that_two_audits_drew_is_given_once(filed: Filed) -> None:
    ids = [filed.file(f"{number}.png") for number in range(3)]
    for _ in range(2):
        filed.audit(ids, [True] * 3, filed=3)
    assert kinds(filed.sample()) == [("animals/dog", AUDITED)] * 3


def test_of_a_filing_that_is_no_longer_in_the_journal_nobody_can_tell(filed: Filed) -> None:
    filed.audit([filed.file("a.png"), 99], [True, True], filed=2)
    assert kinds(filed.sample()) == [("animals/dog", AUDITED), (None, PASSED_OVER)]
    assert len({line["sha256"] for line in filed.sample()}) == 2


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", b'{"images": 3}'])
def test_a_damaged_audit_is_passed_over(filed: Filed, damage: bytes) -> None:
    filed.audit([filed.file("a.png")], [True], filed=1)
    (filed.state / audited.AUDIT_FOLDER / "20990101T000000-00000000.json").write_bytes(damage)
    assert kinds(filed.sample()) == [("animals/dog", AUDITED)]


def test_a_lesson_is_given_no_more_than_it_can_compute(filed: Filed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audited, "MOST_IMAGES", 6)
    ids = [filed.file(f"{number}.png") for number in range(8)]
    for number in range(8):
        filed.file(f"unsure{number}.png", "others")
    filed.audit(ids, [True] * 8, filed=8)
    assert [how for _, how in kinds(filed.sample())] == [AUDITED] * 3 + [UNSURE] * 3


def test_without_an_audit_or_an_answer_there_is_no_sample(filed: Filed) -> None:
    assert filed.sample() == []
    filed.audit([filed.file("a.png")], ["label"], filed=1)
    assert filed.sample() == []


def test_the_trainer_is_told_of_the_sample_where_there_is_one(tmp_path: Path) -> None:
    options, labels = LessonOptions(tmp_path, None, 1, 1), tmp_path / "labels.jsonl"
    assert "--audited" not in options.command(labels)
    audited_file(labels).touch()
    command = options.command(labels)
    assert command[command.index("--audited") + 1] == str(audited_file(labels))


@pytest.mark.parametrize(("max_error", "wanted"), [(0.05, True), (None, False)])
def test_a_promise_is_wanted_where_one_was_asked_for(tmp_path: Path, max_error: float | None, wanted: bool) -> None:
    assert not is_promise_wanted(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    made = small_checkpoint(max_error=max_error, promises=[], threshold=0.9)
    checkpoint.publish(run, checkpoint.write(made, run / checkpoint.FILE_NAME), datetime.now(UTC).isoformat())
    assert is_promise_wanted(tmp_path) == wanted
