"""Images lie in folders inside those of their classes, where the layout has them: filed, put right, undone as ever."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from daemon.files.layout import LayoutError
from daemon.files.marker import MARKER
from daemon.filing.filer import Filer, FilingResult, Status
from daemon.filing.folder_layout import FolderLayout
from daemon.filing.undo import undo
from daemon.journal.history import Wanted
from daemon.journal.journal import read_history
from models.deciding.rule import Fate
from tests.filing_desk import Desk, images, make_desk

BY_MONTH = "{class}/{taken:%Y}/{taken:%m}"
#: 2023-11-14.
_LONG_AGO = 1_700_000_000


def picture(desk: Desk, name: str = "a.jpg", taken: str | None = None) -> Path:
    path = desk.inbox / name
    data = Image.Exif()
    if taken is not None:
        data[0x0132] = taken
    Image.new("RGB", (8, 8), (len(name), 0, 0)).save(path, "JPEG", exif=data)
    os.utime(path, (_LONG_AGO, _LONG_AGO))
    return path


def file(desk: Desk, path: Path, folder: str, template: str = BY_MONTH, **more: Any) -> FilingResult:
    layout = FolderLayout(template, [desk.inbox])
    journal = desk.journal()
    try:
        filer = Filer(desk.output, journal=journal, layout=layout, dry_run=more.pop("dry_run", False))
        (result,) = filer.file([desk.decide(path, folder, **more)])
    finally:
        journal.close()
    return result


def places(desk: Desk) -> list[str]:
    return sorted(desk.filed())


def test_images_go_by_when_they_were_taken_and_the_journal_says_by_what(desk: Desk) -> None:
    result = file(desk, picture(desk, taken="2024:05:03 07:08:09"), "animals/dog")
    assert (result.status, result.inside) == (Status.FILED, "2024/05")
    file(desk, picture(desk, "b.jpg"), "animals/dog")
    assert places(desk) == ["animals/dog/2023/11/b.jpg", "animals/dog/2024/05/a.jpg"]
    newer, older = (row.detail for row in read_history(desk.journal_path, Wanted()))
    assert older == "taken 2024-05-03 07:08:09, by its EXIF data"
    assert newer is not None
    assert newer.startswith("taken 2023-11-1")
    assert newer.endswith(", by the time of its file")
    marked = [path.parent for path in desk.output.rglob(MARKER)]
    assert sorted(marked) == [desk.output / "animals", desk.output / "animals/dog"], "and no folder inside"


def test_other_images_and_those_above_their_class_have_no_such_folders(desk: Desk) -> None:
    file(desk, picture(desk, "a.jpg"), "others", fate=Fate.UNSURE)
    file(desk, picture(desk, "b.jpg"), "animals", fate=Fate.ROLLED_UP)
    file(desk, picture(desk, "c.jpg"), "quarantine/corrupt", reason="corrupt", label=None)
    assert places(desk) == ["animals/b.jpg", "others/a.jpg", "quarantine/corrupt/c.jpg"]


def test_a_dry_run_says_where_and_makes_nothing(desk: Desk) -> None:
    result = file(desk, picture(desk, taken="2024:05:03 07:08:09"), "dog", dry_run=True)
    assert result.destination == desk.output / "dog/2024/05/a.jpg"
    assert not desk.output.exists()


def test_undo_brings_it_back(desk: Desk) -> None:
    path = picture(desk, taken="2024:05:03 07:08:09")
    content = path.read_bytes()
    file(desk, path, "dog")
    journal = desk.journal()
    list(undo(journal, journal.history(Wanted())))
    journal.close()
    assert path.read_bytes() == content
    assert places(desk) == []


def test_names_are_numbered_where_they_are_taken(desk: Desk) -> None:
    for _ in range(2):
        file(desk, picture(desk, taken="2024:05:03 07:08:09"), "dog", "{class}/{taken:%Y}/{inbox}")
    assert places(desk) == ["dog/2024/inbox/a.jpg", "dog/2024/inbox/a_2.jpg"]


@pytest.mark.parametrize("what", ["link", "file"])
def test_what_is_in_the_way_of_such_a_folder_keeps_its_images_in_the_inbox(
    desk: Desk, tmp_path: Path, what: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = desk.output / "dog/2024"
    place.parent.mkdir(parents=True)
    if what == "link":
        place.symlink_to(elsewhere)
    else:
        place.write_bytes(b"a person's file")
    path = picture(desk, taken="2024:05:03 07:08:09")
    assert file(desk, path, "dog").status is Status.RETRY
    assert path.exists()
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(("what", "status"), [("gone", Status.GONE), ("link", Status.CHANGED), ("new", Status.CHANGED)])
def test_an_image_that_is_no_longer_there_is_not_looked_into(desk: Desk, what: str, status: Status) -> None:
    path = picture(desk, taken="2024:05:03 07:08:09")
    decision = desk.decide(path, "dog")
    path.rename(path.with_name("elsewhere.jpg"))
    if what == "link":
        path.symlink_to("elsewhere.jpg")
    elif what == "new":
        path.write_bytes(b"another picture")
    (result,) = desk.file([decision], layout=FolderLayout(BY_MONTH, [desk.inbox]))
    assert (result.status, result.error) == (status, None)
    assert places(desk) == []


_NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40)
_TEMPLATES = st.lists(
    st.sampled_from(["/", "{stem}", "{inbox}", "{top}", "{taken:%Y}", "{taken:%x}", "{filed:%c}", "..", ".", "a", " "]),
    max_size=8,
).map(lambda parts: "{class}" + "".join(parts))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    template=_TEMPLATES,
    names=st.lists(_NAMES.map(lambda name: f"{name[:40]}.jpg"), min_size=1, max_size=3),
    taken=st.none() | st.text(max_size=20) | st.datetimes().map(lambda time: f"{time:%Y:%m:%d %H:%M:%S}"),
    label=st.sampled_from(["dog", "animals/dog"]),
)
def test_nothing_leaves_its_class_folder_or_is_overwritten(
    tmp_path_factory: pytest.TempPathFactory, template: str, names: list[str], taken: str | None, label: str
) -> None:
    try:
        FolderLayout(template)
    except LayoutError:
        return
    desk = make_desk(tmp_path_factory.mktemp("layouts"))
    contents = []
    for name in names:
        if name in (".", "..") or len(name.encode()) > 200:
            continue
        path = picture(desk, name, taken)
        contents.append(path.read_bytes())
        assert file(desk, path, label, template).status is Status.FILED
    filed = images(desk.output)
    assert sorted(path.read_bytes() for path in filed) == sorted(contents)
    assert all(path.resolve().is_relative_to((desk.output / label).resolve()) for path in filed)
    assert images(desk.inbox) == []


def test_what_an_earlier_day_has_copied_is_not_copied_again(desk: Desk) -> None:
    """`sort` is run again on another day, with a layout that goes by the day."""
    path = picture(desk)
    for template in ("{class}/day {filed:%Y}", "{class}/{inbox}/{filed:%Y-%m-%d}"):
        filer = Filer(desk.output, action="copy", skip_equal=True, layout=FolderLayout(template, [desk.inbox]))
        filer.file([desk.decide(path, "dog")])
    (place,) = places(desk)
    assert place.startswith("dog/day 2")
    (desk.output / place).write_bytes(b"edited")
    filer = Filer(desk.output, action="copy", skip_equal=True, layout=FolderLayout("{class}/{filed:%Y}"))
    assert filer.file([desk.decide(path, "dog")])[0].status is Status.FILED, "another image is there now"
