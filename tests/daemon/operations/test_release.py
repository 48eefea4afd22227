from __future__ import annotations

from pathlib import Path

from daemon.operations.release import ReleaseParams, release
from daemon.operations.selection import GivenName
from daemon.operations.undo import UndoParams, undo
from tests.daemon.operations.conftest import Opener, run
from tests.filing_desk import Desk


def bring_back(desk: Desk, at: Opener, *names: str) -> list[Path]:
    paths = [desk.put(name, name.encode()) for name in names]
    desk.file([desk.decide(path) for path in paths])
    run(undo(at(), UndoParams(last=len(paths))))
    return paths


def named(name: str, folder: Path) -> GivenName:
    return GivenName(name=name, path=str(folder / name))


def test_files_are_named_by_name_path_or_the_end_of_one(desk: Desk, at: Opener, told: list[Path]) -> None:
    paths = bring_back(desk, at, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    files = (
        named("a.jpg", Path("/elsewhere")),
        named(str(paths[1]), Path("/")),
        named("inbox/c.jpg", Path("/elsewhere")),
        named("x.jpg", Path("/elsewhere")),
        named("box/d.jpg", Path("/elsewhere")),
    )
    there = at()
    items, result = run(release(there, ReleaseParams(files=files)))
    assert {item["file"]: item["outcome"] for item in items} == {
        "x.jpg": "not held",
        "/elsewhere/box/d.jpg": "not held",
        **{str(path): "released" for path in paths[:3]},
    }
    assert result == {"done": 3, "left": 2}
    assert told == paths[:3]
    assert [image.path for image in there.journal.held()] == paths[3:]


def test_all_are_released_a_few_at_a_step(desk: Desk, at: Opener, told: list[Path]) -> None:
    paths = bring_back(desk, at, *(f"{number:02}.jpg" for number in range(20)))
    there = at()
    operation = release(there, ReleaseParams(all=True))
    next(operation)
    assert len(there.journal.held()) == 20 - there.step
    operation.close()
    _, result = run(release(there, ReleaseParams(all=True)))
    assert result == {"done": 20 - there.step, "left": 0}
    assert sorted(told) == paths
    assert run(release(there, ReleaseParams(all=True))) == ([], {"done": 0, "left": 0})


def test_a_dry_run_releases_nothing(desk: Desk, at: Opener, told: list[Path]) -> None:
    paths = bring_back(desk, at, "a.jpg")
    there = at()
    items, _ = run(release(there, ReleaseParams(all=True, dry_run=True)))
    assert [item["outcome"] for item in items] == ["planned"]
    assert [image.path for image in there.journal.held()] == paths
    assert told == []


def test_one_that_is_gone_or_changed_is_not_to_be_released(desk: Desk, at: Opener, told: list[Path]) -> None:
    gone, changed, _ = bring_back(desk, at, "gone.jpg", "changed.jpg", "there.jpg")
    gone.unlink()
    changed.write_bytes(b"changed")
    there = at()
    items, result = run(release(there, ReleaseParams(files=(named("gone.jpg", gone.parent),))))
    assert ([item["outcome"] for item in items], result) == (["gone"], {"done": 0, "left": 1})
    _, result = run(release(there, ReleaseParams(all=True)))
    assert result == {"done": 1, "left": 0}, "nobody asked for the one that has changed"
    assert len(there.held) == 0
