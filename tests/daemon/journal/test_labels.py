"""What people said of images is kept: the newest counts, until it is forgotten or the filing it is about is undone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.files.source import Identity
from daemon.journal import labels, pruning
from daemon.journal.journal import Journal, read_labels
from daemon.journal.labels import How, Label, WantedLabels
from daemon.journal.pruning import BEGINNING
from daemon.journal.records import State
from tests.daemon.journal.conftest import DAY, filing, plans

_CAT, _WOLF = "ca" * 32, "01" * 32


def label(name: str | None = "wolf", sha256: str = _WOLF, **more: Any) -> Label:
    values: dict[str, Any] = {
        "how": How.MOVED,
        "path": Path("/sorted/wolf/1.jpg"),
        "identity": Identity(1, 2, 3, 4),
        "time": DAY,
    }
    return Label(sha256=sha256, label=name, **(values | more))


def kept(journal: Journal, **wanted: Any) -> list[str | None]:
    return [each.label for each in journal.labels(WantedLabels(**wanted))]


def test_a_label_comes_back_as_it_was_written(path: Path) -> None:
    journal = Journal(path)
    filed = filing(1)
    journal.write([filed])
    said = label(
        path=Path(os.fsdecode(b"/sor\nted/\xff\xfe/\xea\xb0\x9c.jpg")),
        identity=Identity(2**64 - 1, 2**63, 2**40, -1),
        filing_id=filed.id,
    )
    nothing = label(None, _CAT, how=How.AUDITED)
    journal.write([], labels=[said, nothing])
    assert (said.id, nothing.id) == (1, 2)
    assert list(journal.labels()) == [nothing, said]
    assert list(read_labels(path)) == [nothing, said]
    assert type(said.how) is How


def test_a_label_is_written_with_the_filing_it_is_about(path: Path) -> None:
    journal = Journal(path)
    journal.write([filing(1)])
    others = [filing(2, state=State.INTENT), filing(3, state=State.INTENT)]
    journal.write(others, labels=[label(filing=others[1])])
    (said,) = journal.labels()
    assert said.filing_id == others[1].id == 3


def test_new_labels_are_told_by_how_they_were_said(path: Path) -> None:
    told: list[Mapping[How, int]] = []
    journal = Journal(path)
    journal.on_labels = told.append
    first = label("a")
    journal.write([], labels=[first, label("b"), label("c", how=How.AUDITED)])
    journal.write([], labels=[first])  # replaced, since it has an id by now
    journal.write([filing(1)])
    journal.forget_labels([first.id or 0])
    assert told == [{How.MOVED: 2, How.AUDITED: 1}]


def test_the_newest_label_of_a_content_counts(path: Path) -> None:
    journal = Journal(path)
    later = DAY + timedelta(days=1)
    journal.write([], labels=[label("dog", time=later), label("cat", _CAT)])
    journal.write([], labels=[label("wolf")])
    assert kept(journal) == ["wolf", "cat"], "whatever the clock said"
    assert kept(journal, every=True) == ["wolf", "cat", "dog"]
    assert kept(journal, label="dog") == []


def test_forgetting_a_label_brings_no_older_one_back(path: Path) -> None:
    journal = Journal(path)
    journal.write([], labels=[label("dog"), label("cat", _CAT), label("wolf")])
    newest = next(journal.labels())
    assert newest.id is not None
    journal.forget_labels([newest.id])
    assert kept(journal) == ["cat"]
    assert [each.forgotten for each in journal.labels(WantedLabels(every=True))] == [True, False, True]
    journal.write([], labels=[label("fox")])
    assert kept(journal) == ["fox", "cat"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"label": "wolf"}, [1]),
        ({"is_negative": True}, [3]),
        ({"is_negative": False}, [4, 2, 1]),
        ({"how": [How.AUDITED, How.PLACED]}, [3, 2]),
        ({"since": DAY + timedelta(hours=3)}, [4, 3]),
        ({"path": "2.jpg"}, [2]),
        ({"path": "/sorted/dog/2.jpg"}, [2]),
        ({"path": "dog/2.jpg"}, [2]),
        ({"path": "og/2.jpg"}, []),
        ({"path": "/other/dog/2.jpg"}, []),
        ({"path": "\u1100\u1162/\u110b\u1175.jpg"}, [4]),
        ({"path": "개/이.jpg"}, [4]),
        ({"path": os.fsdecode(b"\xff.jpg")}, [3]),
        ({"sha256": ["1" * 64, "9" * 64]}, [1]),
        ({"filings": [7, 8]}, [2]),
        ({"label": "dog", "how": [How.MOVED], "since": DAY}, []),
    ],
)
def test_labels_are_found_by_what_people_ask_for(path: Path, wanted: dict[str, Any], expected: list[int]) -> None:
    journal = Journal(path)
    rows = [
        label("wolf"),
        label("dog", how=How.PLACED, path=Path("/sorted/dog/2.jpg"), filing_id=7),
        label(None, how=How.AUDITED, path=Path(os.fsdecode(b"/sorted/\xff.jpg"))),
        label("개", path=Path("/sorted/개/이.jpg")),
    ]
    for number, row in enumerate(rows, 1):
        row.sha256, row.time = str(number) * 64, DAY + timedelta(hours=number)
    journal.write([], labels=rows)
    assert [each.id for each in journal.labels(WantedLabels(**wanted))] == expected


def test_labels_may_be_changed_while_they_are_listed(path: Path) -> None:
    journal = Journal(path)
    journal.write([], labels=[label(sha256=f"{number:064}") for number in range(1200)])
    seen = 0
    for each in journal.labels():
        assert each.id is not None
        journal.forget_labels([each.id])
        seen += 1
    assert seen == 1200
    assert kept(journal) == []


def test_the_label_of_an_undone_filing_is_forgotten_with_it(path: Path) -> None:
    journal = Journal(path)
    filings = [filing(1), filing(2)]
    journal.write(filings)
    journal.write([], labels=[label("dog", filing_id=1), label("cat", _CAT, filing_id=2), label("wolf", filing_id=2)])
    filings[1].state = State.UNDONE
    journal.write_later([filings[1]])
    assert kept(journal) == ["dog"], "what was said before of another filing"


def test_the_label_of_a_filing_that_came_to_nothing_is_gone(path: Path) -> None:
    journal = Journal(path)
    rows = [filing(1, state=State.INTENT), filing(2)]
    journal.write(rows, labels=[label("dog", filing=rows[0]), label("cat", _CAT, filing=rows[1])])
    for row in rows:
        row.state = State.VOID
    journal.write(rows)
    assert [(each.label, each.filing_id) for each in journal.labels(WantedLabels(every=True))] == [("cat", None)], (
        "a row that was done is pruned, and its label stays"
    )


def test_labels_and_their_texts_outlive_pruned_filings(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "FEW_TEXTS", 1)
    journal = Journal(path)
    filings = [filing(n, source=Path(f"/inbox/{n}/{n}.jpg")) for n in range(10)]
    journal.write(filings, labels=[label(filing=filings[-1], path=Path("/sorted/only here/1.jpg"))])
    assert journal.prune(DAY + timedelta(days=9), BEGINNING, 100) == (None, [])
    (said,) = journal.labels()
    assert (said.path, said.filing_id) == (Path("/sorted/only here/1.jpg"), None)
    new = filing(20)
    journal.write([new])
    new.state = State.UNDONE
    journal.write([new])
    assert kept(journal) == ["wolf"], "the label belongs to no later filing of the same id"


def test_labels_and_filings_are_written_together_or_not_at_all(path: Path) -> None:
    journal = Journal(path)
    journal.write([filing(1)])
    with pytest.raises(AttributeError):
        journal.write([filing(2)], labels=[label(how="no way")])
    assert [row.id for row in journal.filed_with_inode([1, 2])] == [1]


def ask(**wanted: Any) -> Callable[[Any], object]:
    return lambda db: labels.read(db, WantedLabels(**wanted), 100, 10)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, "labels USING INTEGER PRIMARY KEY"),
        ({"label": "x"}, "labels USING INDEX labels_label"),
        ({"is_negative": True}, "labels USING INDEX labels_label"),
        ({"how": [How.MOVED]}, "labels USING INDEX labels_how"),
        ({"path": "/sorted/x.jpg"}, "labels USING INDEX labels_name"),
        ({"path": "x.jpg"}, "labels USING INDEX labels_name"),
        ({"sha256": ["x"]}, "labels USING INDEX labels_content"),
        ({"filings": [1]}, "labels USING INDEX labels_filing"),
    ],
)
def test_labels_are_found_by_an_index(path: Path, wanted: dict[str, Any], expected: str) -> None:
    Journal(path).write([], labels=[label()])
    found = plans(path, ask(**wanted))
    assert expected in found[0]
    assert "newer USING COVERING INDEX labels_content (sha256=? AND forgotten=? AND rowid>?)" in " ".join(found)
    assert not [plan for plan in found if plan.startswith("SCAN") and "json_each" not in plan]
