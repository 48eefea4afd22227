"""Sidecars go with their images, by the names they share, and come back with them."""

from __future__ import annotations

import os
import time
import unicodedata
from collections import Counter

import pytest

from daemon.files.sidecar_names import belongs, images_of
from daemon.filing import sidecars
from daemon.filing.filer import Action, Filer, Status
from daemon.filing.late_sidecars import LATEST, PAUSE, LateSidecars
from daemon.filing.undo import Undone, undo
from daemon.journal.journal import read_history
from tests.filing_desk import Desk, images

ALL = ("cat.xmp", "cat.AAE", "cat.thm", "cat.MOV", "cat.dng", "cat.jpg.xmp", "cat.xmp.bak", "cat2.xmp")
TRAVEL = ("cat.xmp", "cat.AAE", "cat.thm", "cat.MOV", "cat.dng", "cat.jpg.xmp")


def put(desk: Desk, *names: str, age: float = 60.0) -> None:
    """Files whose content is their name, unchanged for so many seconds."""
    for name in names:
        path = desk.put(name, name.encode())
        os.utime(path, (time.time() - age,) * 2)


def file(desk: Desk, name: str = "cat.jpg", *, action: Action = "move") -> None:
    assert desk.file_one(desk.inbox / name, action=action).status is Status.FILED


def late(desk: Desk, *, recursive: bool = True) -> None:
    """One whole look for sidecars that came late."""
    journal = desk.journal()
    assert not LateSidecars([desk.inbox], desk.output, journal, recursive=recursive).work(60.0)
    journal.close()


def undo_all(desk: Desk) -> list[Undone]:
    journal = desk.journal()
    try:
        return list(undo(journal, list(read_history(desk.journal_path))))
    finally:
        journal.close()


def inbox(desk: Desk) -> list[str]:
    return [path.name for path in images(desk.inbox)]


@pytest.mark.parametrize(
    ("sidecar", "image", "second"),
    [
        ("IMG_1.jpg.supplemental-metadata.json", "IMG_1.jpg", "IMG_1_2.jpg.supplemental-metadata.json"),
        ("IMG_1.JPG.Supplemental-Metad.JSON", "IMG_1.JPG", "IMG_1_2.JPG.Supplemental-Metad.JSON"),
        ("IMG_1.jpg.suppl.json", "IMG_1.jpg", "IMG_1_2.jpg.suppl.json"),
        ("IMG_1.jpg.s.json", "IMG_1.jpg", "IMG_1_2.jpg.s.json"),
        ("IMG_1.jpg..json", "IMG_1.jpg", "IMG_1_2.jpg..json"),
        ("IMG_2.jpg.supplemental-metadata(1).json", "IMG_2(1).jpg", "IMG_2(1)_2.jpg.supplemental-metadata.json"),
        ("IMG_2.jpg.suppl(1).json", "IMG_2(1).jpg", "IMG_2(1)_2.jpg.supplemental-metadata.json"),
        ("IMG_2.jpg(1).json", "IMG_2(1).jpg", "IMG_2(1)_2.jpg.supplemental-metadata.json"),
        ("IMG_2(1).jpg.supplemental-metadata.json", "IMG_2(1).jpg", "IMG_2(1)_2.jpg.supplemental-metadata.json"),
        ("IMG_3_HEVC.MOV", "IMG_3.HEIC", "IMG_3_2_HEVC.MOV"),
        ("IMG_4.MP4", "IMG_4.HEIC", "IMG_4_2.MP4"),
        ("PXL_1.MP", "PXL_1.MP.jpg", "PXL_1.MP_2.MP"),
        ("P6.rwl", "P6.jpg", "P6_2.rwl"),
        ("P6.GPR", "P6.jpg", "P6_2.GPR"),
        (f"{'x' * 46}.json", f"{'x' * 47}.jpg", f"{'x' * 47}_2.jpg.json"),
        ("IMG_O5.aae", "IMG_E5.jpg", "IMG_E5_2.aae"),
        ("DSC_1.NEF.xmp", "DSC_1.jpg", "DSC_1_2.NEF.xmp"),
        ("DSC_1.NEF.dop", "DSC_1.jpg", "DSC_1_2.NEF.dop"),
        ("DSC_1_01.jpg.xmp", "DSC_1.jpg", "DSC_1_2_01.jpg.xmp"),
        ("DSC_1_01.NEF.xmp", "DSC_1.jpg", "DSC_1_2_01.NEF.xmp"),
        ("DSC_1.jpg.pp3", "DSC_1.jpg", "DSC_1_2.jpg.pp3"),
        ("DSC_1.cos", "DSC_1.jpg", "DSC_1_2.cos"),
        ("DSC_1.WAV", "DSC_1.jpg", "DSC_1_2.WAV"),
        ("DSC_1.jpg_original", "DSC_1.jpg", "DSC_1_2.jpg_original"),
        ("IMG_1.jpg.json", "IMG_1-edited.jpg", "IMG_1-edited_2.jpg.json"),
        ("IMG_1.jpg.suppl.json", "IMG_1-수정됨.jpg", "IMG_1-수정됨_2.jpg.suppl.json"),
        ("PXL_1.MP.jpg.json", "PXL_1.MP~2.jpg", "PXL_1.MP~2_2.jpg.json"),
        ("DSC_1_MP.mp4", "DSC_1.png", "DSC_1_2_MP.mp4"),
        ("IMG_1.MOV", "IMG_1.webp", "IMG_1_2.MOV"),
    ],
)
def test_names_of_phones_and_services(desk: Desk, sidecar: str, image: str, second: str) -> None:
    """They follow, also with a number, and go back to the names they had."""
    for other in (image.replace("1", "7").replace("xx", "xy"), f"other {image}"):
        assert not belongs(sidecar, other) or other == image
    stem, _, suffix = image.rpartition(".")
    for _ in range(2):
        put(desk, image, sidecar)
        file(desk, image)
    assert sorted(desk.filed()) == sorted(f"cat/{name}" for name in (image, sidecar, f"{stem}_2.{suffix}", second))
    assert belongs(second, f"{stem}_2.{suffix}")
    assert [each.status for each in undo_all(desk)][:1] == [Status.UNDONE]
    assert {image, sidecar} <= set(inbox(desk))


@pytest.mark.parametrize("name", ["IMG_2.jpg.supplemental-metadata(1).json", "IMG_2(1)_HEVC.MOV", "IMG_2(1).mp4"])
def test_late_ones_by_names_of_today_join(desk: Desk, name: str) -> None:
    put(desk, "IMG_2(1).jpg")
    file(desk, "IMG_2(1).jpg")
    put(desk, name)
    assert str(desk.inbox / "IMG_2(1).jpg") in images_of(str(desk.inbox / name))
    late(desk)
    assert sorted(desk.filed()) == sorted(["cat/IMG_2(1).jpg", f"cat/{name}"])


def test_the_note_of_a_film_goes_with_the_film(desk: Desk) -> None:
    put(desk, "IMG_1.HEIC", "IMG_1.MP4", "IMG_1.MP4.supplemental-metadata.json", age=60)
    put(desk, "IMG_2.HEIC", age=60)
    put(desk, "IMG_2.MP4", "IMG_2.MP4.supplemental-metadata.json", age=3 * 86400)
    put(desk, "IMG_3(1).HEIC", "IMG_3.MP4.supplemental-metadata(1).json", age=60)
    for name in ("IMG_1.HEIC", "IMG_2.HEIC", "IMG_3(1).HEIC"):
        file(desk, name)
    filed = ["IMG_1.HEIC", "IMG_1.MP4", "IMG_1.MP4.supplemental-metadata.json", "IMG_2.HEIC", "IMG_3(1).HEIC"]
    assert sorted(desk.filed()) == [f"cat/{name}" for name in filed]
    put(desk, "IMG_3(1).MP4", age=60)
    for _ in range(2):
        late(desk)
    filed += ["IMG_3(1).MP4", "IMG_3.MP4.supplemental-metadata(1).json"]
    assert sorted(desk.filed()) == sorted(f"cat/{name}" for name in filed)


@pytest.mark.parametrize(
    ("sidecar", "better", "other"),
    [
        ("IMG_12.jpg.json", "IMG_12.jpg", "IMG_12-edited.jpg"), ("cat.xmp", "cat.jpg", "CAT.jpg"),
        ("cat.jpg.xmp", "cat.jpg", "cat.JPG"), ("cat.jpg.xmp", "cat.jpg", "cat.jpg.png"),
        ("DSC_1_01.jpg.xmp", "DSC_1_01.jpg", "DSC_1.jpg"), (f"{'x' * 46}.json", f"{'x' * 46}.jpg", f"{'x' * 47}.jpg"),
        ("가.xmp", "가.jpg", unicodedata.normalize("NFD", "가.jpg")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("order", ["together", "better first", "other first"])
def test_it_goes_with_the_image_that_it_names_most_exactly(
    near: Desk, sidecar: str, better: str, other: str, order: str
) -> None:
    put(near, better, other, sidecar)
    journal = near.journal()
    filer = Filer(near.output, journal=journal)
    batch = [near.decide(near.inbox / other, "other"), near.decide(near.inbox / better, "better")]
    if order == "together":
        filer.file(batch)
    else:
        for each in batch if order == "other first" else reversed(batch):
            filer.file([each])
    journal.close()
    assert sorted(near.filed()) == sorted([f"better/{better}", f"better/{sidecar}", f"other/{other}"])


def test_a_late_one_joins_the_image_that_it_names_most_exactly(near: Desk) -> None:
    put(near, "IMG_1.jpg", "IMG_1-edited.jpg", "IMG_2-edited.jpg")
    for name in ("IMG_1.jpg", "IMG_1-edited.jpg", "IMG_2-edited.jpg"):
        near.file_one(near.inbox / name, name.removesuffix(".jpg"))
    put(near, "IMG_1.jpg.json", "img_2.jpg.json", "IMG_2.jpg.json", "IMG_2.jpg")
    late(near)
    assert "IMG_1/IMG_1.jpg.json" in near.filed()
    assert inbox(near) == ["IMG_2.jpg", "IMG_2.jpg.json", "img_2.jpg.json"], "its own picture is there now"
    (near.inbox / "IMG_2.jpg").unlink()
    late(near)
    assert "IMG_2-edited/IMG_2.jpg.json" in near.filed()


@pytest.mark.parametrize("name", ["cat.mov", "cat.mp4", "cat_HEVC.MOV"])
def test_a_film_of_another_day_only_has_the_same_name(desk: Desk, name: str) -> None:
    put(desk, "cat.jpg", age=3600)
    put(desk, name, age=3 * 86400)
    put(desk, "cat.nef", age=3 * 86400)
    file(desk)
    assert sorted(desk.filed()) == ["cat/cat.jpg", "cat/cat.nef"]
    late(desk)
    assert inbox(desk) == [name]


def test_they_travel_and_come_back(desk: Desk) -> None:
    put(desk, "cat.jpg", *ALL)
    file(desk)
    assert desk.filed() == {f"cat/{name}": name.encode() for name in ("cat.jpg", *TRAVEL)}
    assert inbox(desk) == ["cat.xmp.bak", "cat2.xmp"]
    assert [row.source.name for row in read_history(desk.journal_path)] == ["cat.jpg"], "a history of images"
    assert [each.status for each in undo_all(desk)] == [Status.UNDONE]
    assert desk.filed() == {}
    assert inbox(desk) == sorted(["cat.jpg", *ALL])


def test_they_take_the_number_of_their_image(desk: Desk) -> None:
    for _ in range(2):
        put(desk, "cat.jpg", "cat.xmp", "cat.jpg.xmp")
        file(desk)
    names = ["cat.jpg", "cat.jpg.xmp", "cat.xmp", "cat_2.jpg", "cat_2.jpg.xmp", "cat_2.xmp"]
    assert sorted(desk.filed()) == [f"cat/{name}" for name in names]
    put(desk, "cat.jpg")
    undo_all(desk)
    assert inbox(desk) == ["cat.jpg", *(f"cat_{n}{end}" for n in (2, 3) for end in (".jpg", ".jpg.xmp", ".xmp"))]


@pytest.mark.parametrize("action", ["copy", "link"])
def test_of_copies_they_are_copies(desk: Desk, action: Action) -> None:
    put(desk, "cat.jpg", "cat.xmp")
    file(desk, action=action)
    assert sorted(desk.filed()) == ["cat/cat.jpg", "cat/cat.xmp"]
    assert inbox(desk) == ["cat.jpg", "cat.xmp"]
    late(desk)
    assert sorted(desk.filed()) == ["cat/cat.jpg", "cat/cat.xmp"], "copied once"
    undo_all(desk)
    assert desk.filed() == {}
    assert inbox(desk) == ["cat.jpg", "cat.xmp"]


def test_a_name_that_is_taken_stops_the_sidecar_only(near: Desk, logged: list[str]) -> None:
    (near.output / "cat").mkdir(parents=True)
    (near.output / "cat/cat.xmp").write_bytes(b"a stranger's")
    put(near, "cat.jpg", "cat.xmp", "cat.thm")
    file(near)
    assert near.filed() == {"cat/cat.jpg": b"cat.jpg", "cat/cat.thm": b"cat.thm", "cat/cat.xmp": b"a stranger's"}
    assert inbox(near) == ["cat.xmp"]
    journal = near.journal()
    now = 0.0
    late_sidecars = LateSidecars([near.inbox], near.output, journal, recursive=True, clock=lambda: now)
    for _ in range(3):
        late_sidecars.work(60.0)
        now += PAUSE
    assert len([line for line in logged if "does not follow its image" in line]) == 1
    assert journal.interrupted() == []
    journal.close()


def test_links_folders_and_fresh_ones_stay(near: Desk) -> None:
    put(near, "cat.jpg", "target")
    put(near, "cat.xmp", age=0.0)
    (near.inbox / "cat.thm").symlink_to("target")
    (near.inbox / "cat.mov").mkdir()
    file(near)
    assert list(near.filed()) == ["cat/cat.jpg"]


def test_those_of_an_unreadable_image_wait_for_it(near: Desk) -> None:
    put(near, "cat.jpg", "cat.xmp", "cat.jpg.json")
    near.file_one(near.inbox / "cat.jpg", "quarantine/corrupt", reason="corrupt", label=None)
    late(near)
    assert sorted(path.name for path in near.inbox.iterdir()) == ["cat.jpg.json", "cat.xmp"]
    undo_all(near)
    assert sorted(path.name for path in near.inbox.iterdir()) == ["cat.jpg", "cat.jpg.json", "cat.xmp"]


def test_an_edited_sidecar_comes_back_too(near: Desk) -> None:
    put(near, "cat.jpg", "cat.xmp")
    file(near)
    (near.output / "cat/new").write_bytes(b"stars: 5")
    (near.output / "cat/new").rename(near.output / "cat/cat.xmp")
    undo_all(near)
    assert near.contents() == Counter([b"cat.jpg", b"stars: 5"])
    assert inbox(near) == ["cat.jpg", "cat.xmp"]


def test_a_sidecar_that_is_gone_does_not_keep_its_image(near: Desk, logged: list[str]) -> None:
    put(near, "cat.jpg", "cat.xmp")
    file(near)
    (near.output / "cat/cat.xmp").unlink()
    assert [each.status for each in undo_all(near)] == [Status.UNDONE]
    assert inbox(near) == ["cat.jpg"]
    assert any("the sidecar" in line for line in logged)


class TestLate:
    def test_it_joins_its_image(self, desk: Desk) -> None:
        put(desk, "cat.jpg")
        file(desk)
        put(desk, "cat.jpg")
        file(desk)
        put(desk, "cat.xmp", "cat.JPG.xmp", "dog.xmp")
        late(desk)
        assert sorted(desk.filed()) == [
            "cat/cat.jpg", "cat/cat_2.jpg", "cat/cat_2.jpg.xmp", "cat/cat_2.xmp",
        ], "the newest of that name"  # fmt: skip
        assert inbox(desk) == ["dog.xmp"]
        undo_all(desk)
        assert "cat.xmp" in inbox(desk), "with its image"

    def test_below_the_inbox_but_not_in_class_folders(self, near: Desk) -> None:
        (near.inbox / "day").mkdir()
        put(near, "day/cat.jpg")
        journal = near.journal()
        Filer(near.inbox, journal=journal).file([near.decide(near.inbox / "day/cat.jpg")])
        put(near, "day/cat.xmp", "cat/day.xmp", "cat/cat.thm")
        LateSidecars([near.inbox], near.inbox, journal, recursive=True).work(60.0)
        journal.close()
        assert sorted(path.name for path in (near.inbox / "cat").glob("[!.]*")) == [
            "cat.jpg", "cat.thm", "cat.xmp", "day.xmp",
        ]  # fmt: skip
        assert list((near.inbox / "day").iterdir()) == []

    def test_folders_are_left_out_where_they_are_not_watched(self, near: Desk) -> None:
        (near.inbox / "day").mkdir()
        put(near, "day/cat.jpg")
        file(near, "day/cat.jpg")
        put(near, "day/cat.xmp")
        late(near, recursive=False)
        assert list(near.filed()) == ["cat/cat.jpg"]

    def test_not_while_another_image_of_its_name_waits(self, near: Desk) -> None:
        put(near, "cat.jpg")
        file(near)
        put(near, "cat.png", "cat.xmp")
        late(near)
        assert list(near.filed()) == ["cat/cat.jpg"]
        file(near, "cat.png")
        assert sorted(near.filed()) == ["cat/cat.jpg", "cat/cat.png", "cat/cat.xmp"]

    @pytest.mark.parametrize("what", ["undone", "replaced", "taken away", "long ago"])
    def test_not_an_image_that_is_there_no_more(self, near: Desk, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
        put(near, "cat.jpg")
        file(near)
        filed = near.output / "cat/cat.jpg"
        if what == "undone":
            undo_all(near)
            (near.inbox / "cat.jpg").unlink()
        elif what == "replaced":
            (near.output / "cat/new").write_bytes(b"new")
            (near.output / "cat/new").rename(filed)
        elif what == "taken away":
            filed.unlink()
        else:
            monkeypatch.setattr("daemon.filing.late_sidecars.LATEST", LATEST * 0)
        put(near, "cat.xmp")
        late(near)
        assert inbox(near) == ["cat.xmp"]

    def test_a_little_at_a_time_with_a_pause_after_the_last(self, near: Desk) -> None:
        put(near, "cat.jpg")
        file(near)
        put(near, "a", "b", "cat.xmp")
        journal = near.journal()
        late_sidecars = LateSidecars([near.inbox], near.output, journal, recursive=True)
        looks = 1
        while late_sidecars.work(0.0):
            looks += 1
        assert looks == 4
        assert sorted(near.filed()) == ["cat/cat.jpg", "cat/cat.xmp"]
        put(near, "cat.thm")
        assert not late_sidecars.work(60.0)
        assert inbox(near) == ["a", "b", "cat.thm"]
        journal.close()


def test_a_folder_is_listed_once_for_many_images(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecars, "PAYS_FOR_ITSELF", 1e9)
    listed: list[int] = []
    real = sidecars.list_sidecars

    def listing(folder: int) -> dict[str, list[str]]:
        listed.append(folder)
        return real(folder)

    monkeypatch.setattr(sidecars, "list_sidecars", listing)
    names = [f"{number}.jpg" for number in range(20)]
    put(near, *names, "7.xmp")
    filer = Filer(near.output)
    for name in names:
        filer.file([near.decide(near.inbox / name)])
    assert len(listed) == 1
    assert "cat/7.xmp" in near.filed()
