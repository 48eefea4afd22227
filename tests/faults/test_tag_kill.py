"""Kill the program at every system call while it tags images: no byte of a sidecar is lost, and all is finished."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.files import renaming
from daemon.files.renaming import CannotMove, FileAt
from daemon.filing.held import HeldImages
from daemon.filing.late_sidecars import LateSidecars
from daemon.filing.recovery import recover
from daemon.filing.undo import undo
from daemon.journal.history import Wanted
from daemon.journal.records import State
from models.xmp import tags
from models.xmp.document import XmpError
from tests.faults.scenario import Scenario
from tests.faults.test_kill import all_points, kill_and_check, sample
from tests.faults.tracer import need_strace
from tests.filing_desk import far_folder, make_desk
from tests.models.xmp.sidecars import DARKTABLE, DIGIKAM, EXIFTOOL

pytestmark = pytest.mark.timeout(2 * 3600)

#: What the sidecars have beside our tag, by their names.
_SIDECARS = {"dog.jpg.xmp": DARKTABLE, "fox.xmp": DIGIKAM, "old.jpg.xmp": EXIFTOOL}
_IMAGES = ("cat.jpg", "dog.jpg", "fox.jpg", "old.jpg")


class Tagging(Scenario):
    """Images without a sidecar, with one of either custom, and with a tag of ours that is to be replaced."""

    def prepare(self) -> None:
        self.desk = make_desk(Path(tempfile.mkdtemp(dir=self.near)))
        for name in _IMAGES:
            self.desk.put(name, name.encode())
        for name, content in _SIDECARS.items():
            (self.desk.inbox / name).write_bytes(content)
        self.desk.file([self.desk.decide(self.desk.inbox / "old.jpg", "wolf")], action="tag")
        for name in _SIDECARS:  # nobody is writing to them any more
            os.utime(self.desk.inbox / name, (1_000_000_000, 1_000_000_000))

    def work(self) -> None:
        paths = [self.desk.inbox / name for name in _IMAGES]
        decisions = [self.desk.decide(path, path.stem, again=path.stem == "old") for path in paths]
        self.desk.file(decisions, action="tag")

    def check_nothing_lost(self) -> None:
        assert {path.read_bytes() for path in self.folder_of_images().glob("*.jpg")} == {
            name.encode() for name in _IMAGES
        }
        contents = [path.read_bytes() for path in self.files()]
        without = [without_ours(content) for content in contents if b"xmpmeta" in content]
        assert all(content in without for content in _SIDECARS.values())

    def check_after_recovery(self) -> None:
        self.check_nothing_lost()
        assert [path.name for path in self.files() if path.name.startswith((".tag", ".part", ".drop"))] == []
        for name, content in _SIDECARS.items():
            assert without_ours((self.folder_of_images() / name).read_bytes()) == content
        journal = self.desk.journal()
        assert journal.interrupted() == []
        for row in journal.history(Wanted(states=[State.DONE])):
            if row.action == "tag" and (row.source.stem != "old" or row.label == "old"):
                assert self.tag_of(row.source.name) == row.label
        journal.close()

    def check_to_the_end(self) -> None:
        self.work()
        self.check_after_recovery()
        assert {name: self.tag_of(name) for name in _IMAGES} == {name: name[:-4] for name in _IMAGES}

    def folder_of_images(self) -> Path:
        return self.desk.inbox

    def files(self) -> list[Path]:
        return [path for path in self.folder_of_images().rglob("*") if path.is_file()]

    def tag_of(self, image: str) -> str | None:
        for name in (f"{image}.xmp", f"{image[:-4]}.xmp"):
            path = self.folder_of_images() / name
            if path.exists() and (own := tags.read(path.read_bytes()).own) is not None:
                return own.label
        return None


class Untagging(Tagging):
    """The same images, whose tags are taken out again."""

    def prepare(self) -> None:
        super().prepare()
        super().work()

    def work(self) -> None:
        journal = self.desk.journal()
        rows = [row for row in journal.history(Wanted(states=[State.DONE])) if row.label != "wolf"]
        for _ in undo(journal, rows, held=HeldImages(journal, self.desk.output, [self.desk.inbox])):
            pass
        journal.close()

    def check_after_recovery(self) -> None:
        self.check_nothing_lost()

    def check_to_the_end(self) -> None:
        self.work()
        super().check_after_recovery()
        assert [self.tag_of(name) for name in _IMAGES] == [None, None, None, "wolf"]
        assert not (self.desk.inbox / "cat.jpg.xmp").exists()


class Beside(Tagging):
    """The same images, which are moved and tagged where they go."""

    def work(self) -> None:
        paths = [path for name in _IMAGES if (path := self.desk.inbox / name).exists()]
        self.desk.file([self.desk.decide(path, "cat") for path in paths], tags_too=True)

    def recover(self) -> None:
        journal = self.desk.journal()
        recover(journal)
        journal.close()

    def folder_of_images(self) -> Path:
        return self.desk.inbox.parent

    def files(self) -> list[Path]:
        folders = (self.desk.inbox, self.desk.output)
        return [path for folder in folders if folder.exists() for path in folder.rglob("*") if path.is_file()]

    def check_nothing_lost(self) -> None:
        files = self.files()
        assert {path.read_bytes() for path in files} >= {name.encode() for name in _IMAGES}
        without = [without_ours(content) for path in files if b"xmpmeta" in (content := path.read_bytes())]
        assert all(content in without for content in _SIDECARS.values())

    def check_after_recovery(self) -> None:
        self.check_nothing_lost()
        assert [path.name for path in self.files() if path.name.startswith((".tag", ".part", ".drop"))] == []
        journal = self.desk.journal()
        assert journal.interrupted() == []
        journal.close()

    def check_to_the_end(self) -> None:
        self.work()
        journal = self.desk.journal()
        LateSidecars([self.desk.inbox], self.desk.output, journal, recursive=True).work(60.0)
        journal.close()
        self.check_after_recovery()
        assert sorted(path.name for path in self.desk.inbox.iterdir()) == []
        folder = self.desk.output / "cat"
        for name, content in _SIDECARS.items():
            assert without_ours((folder / name).read_bytes()) == content


def without_ours(content: bytes) -> bytes:
    try:
        return tags.remove(content)
    except XmpError:
        return content


SCENARIOS = {"tagging": Tagging, "untagging": Untagging, "beside": Beside}


@pytest.fixture(params=["exchange", "no exchange"])
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in memory; and a file system where two files cannot have each other's names."""
    need_strace()
    if request.param != "exchange":
        monkeypatch.setattr(renaming, "exchange", cannot)
    with far_folder() as folder:
        yield folder


def cannot(one: FileAt, other: FileAt) -> None:
    raise CannotMove


@pytest.mark.parametrize("kind", SCENARIOS.values(), ids=SCENARIOS)
def test_a_kill_loses_nothing(quick: Path, tmp_path: Path, kind: type[Tagging]) -> None:
    scenario = kind(quick, None)
    population = all_points(scenario, tmp_path / "trace")
    assert len(population) > 50
    for point in sample(population, 3):
        kill_and_check(scenario, point)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SCENARIOS.values(), ids=SCENARIOS)
def test_a_kill_at_every_call_loses_nothing(quick: Path, tmp_path: Path, kind: type[Tagging]) -> None:
    scenario = kind(quick, None)
    population = all_points(scenario, tmp_path / "trace")
    for point in population:
        kill_and_check(scenario, point)
    print(f"{len(population)} kill points")
