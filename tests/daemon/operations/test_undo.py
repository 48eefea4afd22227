"""The operations undo and retry, as a running daemon carries them out for several clients at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from daemon.filing.filer import Filer, Status
from daemon.filing.recovery import recover
from daemon.journal.journal import Journal, JournalBusy, read_history
from daemon.journal.records import State
from daemon.operations.desk import STEP_BESIDE_A_DAEMON, Item
from daemon.operations.methods import METHODS
from daemon.operations.retry import RetryParams, retry
from daemon.operations.undo import UndoParams, undo
from models.errors import UserError
from tests.daemon.operations.conftest import Opener, run
from tests.filing_desk import Desk, images

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


def file(desk: Desk, count: int) -> list[Path]:
    paths = [desk.put(f"{number:03}.jpg", b"image %d" % number) for number in range(count)]
    desk.file([desk.decide(path) for path in paths])
    return paths


def states(desk: Desk) -> Counter[State]:
    return Counter(row.state for row in read_history(desk.journal_path))


def test_images_go_back_a_few_at_a_step_and_are_held(desk: Desk, at: Opener) -> None:
    paths = file(desk, 20)
    there = at()
    operation = undo(there, UndoParams(last=18))
    next(operation)
    assert images(desk.inbox) == paths[-STEP_BESIDE_A_DAEMON:], "no more than a step"
    items, result = run(operation)
    assert len(items) == 17
    assert result == {"done": 18, "left": 0, "in_inbox": 18, "held": 18}
    assert images(desk.inbox) == paths[2:]
    assert sorted(image.path for image in there.held.all()) == paths[2:]
    assert items[-1] | {"says": ""} == items[-1] | {
        "outcome": "undone",
        "back": str(paths[2]),
        "held": True,
        "says": "",
    }


def test_a_client_that_goes_away_leaves_all_in_order(desk: Desk, at: Opener) -> None:
    paths = file(desk, 40)
    there = at()
    for steps in (1, 3, STEP_BESIDE_A_DAEMON + 1):
        operation = undo(there, UndoParams(last=40))
        for _ in range(steps):
            next(operation)
        operation.close()
        assert there.journal.interrupted() == []
        back = images(desk.inbox)
        assert sorted(image.path for image in there.journal.held()) == back
        assert states(desk)[State.UNDONE] == len(back)
    assert run(undo(there, UndoParams(last=40)))[1]["left"] == 0
    assert images(desk.inbox) == paths


def test_two_clients_at_once_bring_back_each_image_once(desk: Desk, at: Opener) -> None:
    paths = file(desk, 40)
    there = at()
    clients: dict[str, Iterator[Item]] = {
        "one": undo(there, UndoParams(last=40)),
        "other": undo(there, UndoParams(since=LONG_AGO)),
    }
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in clients}
    while clients:
        for name in list(clients):
            if (item := next(clients[name], None)) is None:
                del clients[name]
            else:
                outcomes[name][str(item["outcome"])] += 1
    assert outcomes["one"] + outcomes["other"] == Counter({"undone": 40}), (
        "what one has brought back the other does not name"
    )
    assert all(outcomes.values())
    assert images(desk.inbox) == paths
    assert len(there.held) == 40


def test_what_is_filed_meanwhile_stays(desk: Desk, at: Opener) -> None:
    file(desk, 20)
    there = at()
    operation = undo(there, UndoParams(since=LONG_AGO))
    next(operation)
    new = desk.put("new.jpg", b"new")
    (filed,) = Filer(desk.output, journal=there.journal, held=there.held).file([desk.decide(new)])
    assert filed.status is Status.FILED
    run(operation)
    assert desk.filed() == {"cat/new.jpg": b"new"}


def test_what_was_filed_a_moment_ago_goes_back(desk: Desk, at: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal could not be told yet that it is done."""
    there = at()
    path = desk.put()
    filer = Filer(desk.output, journal=there.journal, held=there.held)

    def busy(self: Journal, *_: object, **__: object) -> None:
        raise JournalBusy("database is locked")

    def only_intents(self: Journal, filings: list[object]) -> None:
        pass

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write_later", only_intents)
        filer.file([desk.decide(path)])
    assert [row.state for row in there.journal.interrupted()] == [State.INTENT]
    _, result = run(undo(there, UndoParams(last=1)))
    assert result["done"] == 1
    assert images(desk.inbox) == [path]


def test_an_image_that_is_being_decoded_is_not_filed_if_it_is_held_by_then(desk: Desk, at: Opener) -> None:
    there = at()
    path = desk.put(content=b"first")
    Filer(desk.output, journal=there.journal, held=there.held).file([desk.decide(path)])
    run(undo(there, UndoParams(last=1)))
    decision = desk.decide(path)
    (result,) = Filer(desk.output, journal=there.journal, held=there.held).file([decision])
    assert result.status is Status.HELD


def test_a_step_that_fails_for_the_journal_is_a_sentence(
    desk: Desk, at: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(desk, 20)
    there = at()
    operation = undo(there, UndoParams(last=20))
    for _ in range(STEP_BESIDE_A_DAEMON):
        next(operation)

    def busy(self: Journal, image_id: int) -> None:
        raise JournalBusy("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "sidecars", busy)
        with pytest.raises(UserError, match="run this again for what is left"):
            next(operation)
    assert len(images(desk.inbox)) == STEP_BESIDE_A_DAEMON
    recover(there.journal)
    assert run(undo(there, UndoParams(last=20)))[1]["done"] == 20 - STEP_BESIDE_A_DAEMON


def test_a_dry_run_changes_nothing(desk: Desk, at: Opener, told: list[Path]) -> None:
    file(desk, 3)
    there = at()
    items, result = run(undo(there, UndoParams(last=2, dry_run=True)))
    assert [item["outcome"] for item in items] == ["planned"] * 2
    assert result == {"done": 2, "left": 0, "in_inbox": 2, "held": 0}
    assert images(desk.inbox) == []
    assert told == []
    assert not UndoParams(last=2, dry_run=True).changes


def test_many_corrected_images_take_no_long_step(desk: Desk, at: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    from daemon.filing import corrections

    monkeypatch.setattr(corrections, "NAMES_A_STEP", 10)
    for path in file(desk, 30):
        (desk.output / "dog").mkdir(exist_ok=True)
        (desk.output / "cat" / path.name).rename(desk.output / "dog" / path.name)
    steps = list(undo(at(), UndoParams(last=1)))
    assert [bool(step) for step in steps] == [False] * 4 + [True]
    assert "corrected" in str(steps[-1]["says"])


def test_quarantined_images_come_back_and_are_looked_at_again(desk: Desk, at: Opener, told: list[Path]) -> None:
    paths = [desk.put(f"{number}.jpg", b"torn %d" % number) for number in range(20)]
    desk.file([desk.decide(path, "quarantine/truncated", reason="truncated", label=None) for path in paths])
    unknown = desk.output / "quarantine" / "truncated" / "unknown.jpg"
    unknown.write_bytes(b"nobody knows")
    there = at()
    items, result = run(retry(there, RetryParams()))
    assert len(items) == 21
    assert (result["done"], result["held"]) == (21, 0)
    assert len(there.held) == 0
    assert sorted(told) == images(desk.inbox) == sorted([*paths, desk.inbox / "unknown.jpg"])
    assert run(retry(there, RetryParams()))[0] == []


def test_what_is_quarantined_meanwhile_stays_there(desk: Desk, at: Opener) -> None:
    def quarantine(name: str) -> None:
        decision = desk.decide(desk.put(name, name.encode()), "quarantine/truncated", reason="truncated", label=None)
        assert Filer(desk.output, journal=there.journal).file([decision])[0].status is Status.FILED

    there = at()
    for number in range(10):
        quarantine(f"{number}.jpg")
    operation = retry(there, RetryParams())
    next(operation)
    quarantine("new.jpg")
    assert len(run(operation)[0]) == 9
    assert [path.name for path in images(desk.output)] == ["new.jpg"]


def test_of_a_refused_image_the_daemon_is_told(desk: Desk, at: Opener, told: list[Path]) -> None:
    path = desk.put("torn.jpg")
    desk.file([desk.decide(path, "quarantine/truncated", reason="truncated", label=None)], action="copy")
    run(retry(at(), RetryParams(reasons=("truncated",))))
    assert told == [path]


@pytest.mark.parametrize(
    ("method", "given", "sentence"),
    [
        ("undo", {}, "say what to undo"),
        ("undo", {"last": 0}, "the parameter last is wrong"),
        ("undo", {"last": "3"}, "the parameter last is wrong"),
        ("undo", {"lsat": 3}, "the parameter lsat is wrong"),
        ("undo", {"last": 3, "since": "yesterday"}, "the parameter since is wrong"),
        ("undo", ["last"], "the parameters are wrong"),
        ("retry", {"reasons": [3]}, r"the parameter reasons\.0 is wrong"),
        ("retry", {"reasons": ["foo"]}, "there is no reason 'foo'"),
        ("release", {"files": [{"name": "a.jpg"}]}, r"the parameter files\.0\.path is wrong"),
        ("release", {"all": True, "files": [{"name": "a.jpg", "path": "/a.jpg"}]}, "say what to release"),
    ],
)
def test_wrong_parameters_are_a_sentence(at: Opener, method: str, given: object, sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{sentence}"):
        run(METHODS[method].run(at(), METHODS[method].parse(given)))


def test_parameters_survive_the_way_through_json() -> None:
    import json

    params = UndoParams(last=3, file="caf\udce9.jpg", since=LONG_AGO, as_json=True)
    assert METHODS["undo"].parse(json.loads(json.dumps(params.model_dump(mode="json")))) == params
    with pytest.raises(ValidationError):
        UndoParams(last=True)
