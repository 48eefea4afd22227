"""Rules by class: another output, layout or action for the images of a class, and all else as ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.config.class_rules import ClassRule, ClassRules, Handling
from daemon.files.output_marks import OutputMarks
from daemon.filing.filer import Filer, FilingRequest, FilingResult, Status
from daemon.filing.undo import undo
from daemon.journal.history import Wanted
from daemon.journal.records import State
from models.deciding.rule import Fate
from tests.filing_desk import Desk, images


def rules(desk: Desk, **by_class: ClassRule) -> ClassRules:
    return ClassRules(Handling(output=desk.output), by_class)


def file(desk: Desk, given: ClassRules, *decisions: FilingRequest) -> list[FilingResult]:
    journal = desk.journal()
    marks = OutputMarks(given.outputs, desk.journal_path.parent)
    try:
        return Filer(desk.output, journal=journal, rules=given, mark=marks).file(decisions)
    finally:
        marks.release()
        journal.close()


def test_a_class_goes_to_its_own_output_and_back(desk: Desk, tmp_path: Path) -> None:
    own = tmp_path / "scans"
    given = rules(desk, receipt=ClassRule(output=own))
    decisions = [desk.decide(desk.put("a.jpg"), "receipt"), desk.decide(desk.put("b.jpg", b"b"), "cat")]
    receipt, cat = file(desk, given, *decisions)
    assert receipt.destination == own / "receipt/a.jpg"
    assert receipt.elsewhere == own
    assert cat.destination == desk.output / "cat/b.jpg"
    journal = desk.journal()
    assert [row.status for row in undo(journal, journal.history(Wanted()))] == [Status.UNDONE] * 2
    journal.close()
    assert [path.name for path in images(desk.inbox)] == ["a.jpg", "b.jpg"]


def test_names_are_taken_by_output(desk: Desk, tmp_path: Path) -> None:
    own = tmp_path / "scans"
    given = rules(desk, receipt=ClassRule(output=own))
    assert file(desk, given, desk.decide(desk.put("a.jpg"), "receipt"))[0].destination == own / "receipt/a.jpg"
    assert file(desk, given, desk.decide(desk.put("a.jpg", b"2"), "receipt"))[0].destination == own / "receipt/a_2.jpg"


@pytest.mark.parametrize("action", ["copy", "link"])
def test_a_class_may_be_copied_while_others_are_moved(desk: Desk, action: str) -> None:
    given = rules(desk, receipt=ClassRule.model_validate({"action": action}))
    file(desk, given, desk.decide(desk.put("a.jpg"), "receipt"), desk.decide(desk.put("b.jpg", b"b"), "cat"))
    assert [path.name for path in images(desk.inbox)] == ["a.jpg"]
    (again,) = file(desk, given, desk.decide(desk.inbox / "a.jpg", "receipt"))
    assert again.status is Status.ALREADY


def test_what_is_left_is_noted_and_not_looked_at_again_until_it_is_undone(desk: Desk) -> None:
    given = rules(desk, receipt=ClassRule(action="leave"))
    path = desk.put("a.jpg")
    (left,) = file(desk, given, desk.decide(path, "receipt"))
    assert (left.status, left.destination) == (Status.LEFT, None)
    assert images(desk.output) == []
    journal = desk.journal()
    (row,) = journal.history(Wanted())
    assert (row.state, row.action, row.label, row.reason) == (State.LEFT, "leave", "receipt", None)
    filer = Filer(desk.output, journal=journal, rules=given)
    assert filer.known_result(path, row.identity) is Status.ALREADY
    assert [one.status for one in undo(journal, [row])] == [Status.UNDONE]
    assert filer.known_result(path, row.identity) is None
    journal.close()


def test_what_is_unsure_or_unreadable_goes_by_no_rule(desk: Desk, tmp_path: Path) -> None:
    given = rules(desk, receipt=ClassRule(output=tmp_path / "scans", action="leave"))
    unsure = desk.decide(desk.put("a.jpg"), "others", label="receipt", fate=Fate.UNSURE)
    broken = desk.decide(desk.put("b.jpg", b"b"), "quarantine/corrupt", label=None, reason="corrupt")
    assert [one.status for one in file(desk, given, unsure, broken)] == [Status.FILED] * 2
    assert not (tmp_path / "scans/receipt").exists()


def test_a_rule_holds_for_the_classes_below_in_all_that_they_do_not_say(desk: Desk, tmp_path: Path) -> None:
    given = ClassRules(
        Handling(output=desk.output),
        {
            "animals": ClassRule(output=tmp_path / "far", layout="{class}/{stem}"),
            "animals/dog": ClassRule(threshold=0.9),
        },
    )
    assert given.handling_of("animals/cat").output == tmp_path / "far"
    assert given.handling_of("animals/dog").output == tmp_path / "far"
    assert given.handling_of("animals/dog").threshold == 0.9
    assert given.handling_of("animals").threshold is None
    assert given.handling_of("animalsx").output == desk.output
    (rolled,) = file(desk, given, desk.decide(desk.put("a.jpg"), "animals", fate=Fate.ROLLED_UP))
    assert rolled.destination == tmp_path / "far/animals/a.jpg"
    (dog,) = file(desk, given, desk.decide(desk.put("a.jpg"), "animals/dog"))
    assert dog.destination == tmp_path / "far/animals/dog/a/a.jpg"
