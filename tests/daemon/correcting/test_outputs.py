"""What people move between the outputs of classes is noted as within one."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.config.class_rules import ClassRule
from daemon.config.settings import Settings
from daemon.correcting.watch import watch_corrections
from daemon.filing.filer import Filer
from daemon.journal.journal import Journal
from daemon.journal.labels import How
from tests.filing_desk import Desk, far_folder, make_desk
from tests.processes import wait_for


@pytest.fixture(params=["near", "far"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Another output, on the same file system or on another one."""
    if request.param == "near":
        yield tmp_path / "other"
    else:
        with far_folder() as far:
            yield far


def test_a_move_between_outputs_is_a_correction_and_one_within_a_class_is_none(tmp_path: Path, other: Path) -> None:
    desk: Desk = make_desk(tmp_path)
    desk.output.mkdir()
    other.mkdir(exist_ok=True)
    settings = Settings(
        watch=[desk.inbox],
        output=desk.output,
        state_dir=desk.journal_path.parent,
        rules={"receipt": ClassRule(output=other)},
    )
    journal = Journal(desk.journal_path)
    filer = Filer(desk.output, journal=journal, rules=settings.class_rules)
    decisions = [desk.decide(desk.put(name, name.encode()), folder) for name, folder in _IMAGES.items()]
    receipt, dog, stays = (result.destination for result in filer.file(decisions))
    assert receipt is not None
    assert dog is not None
    assert stays is not None
    with watch_corrections(settings, journal, desk.journal_path, (), lambda: None) as watch:
        assert not watch.finish(60.0), "once all is read, what comes is told from what was there"
        noted = Counter[How]()

        def move(old: Path, new: Path) -> None:
            before = noted.total()
            new.parent.mkdir(exist_ok=True)
            shutil.move(old, new)
            wait_for(lambda: noted.update(watch.turn()) or noted.total() > before, f"{new} is noted", 60.0)

        (desk.output / "receipt").mkdir()
        shutil.move(stays, desk.output / "receipt/c.jpg")
        move(receipt, desk.output / "dog/a.jpg")
        move(dog, other / "receipt/b.jpg")
        assert noted == {How.MOVED: 2}
    labels = {label.path: label.label for label in journal.labels()}
    journal.close()
    assert labels == {desk.output / "dog/a.jpg": "dog", other / "receipt/b.jpg": "receipt"}


_IMAGES = {"a.jpg": "receipt", "b.jpg": "dog", "c.jpg": "receipt"}
