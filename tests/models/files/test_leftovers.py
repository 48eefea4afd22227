"""Folders of the NAS and of the system: known by name, and counted."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from models.files.leftovers import (
    Leftovers,
    is_below_leftover,
    is_bin,
    is_left_alone,
    is_leftover,
    is_leftover_image,
    pictures_in,
)


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "@EADIR", "#recycle", "@Recycle", "#snapshot", "$RECYCLE.BIN", "$Recycle.Bin",
     "System Volume Information",
     ".stversions", ".stfolder", "lost+found", "Thumbs.db", "desktop.ini", ".Trash-1000", ".Spotlight-V100", "@tmp",
     ".fseventsd", "__MACOSX", "._x.jpg", "RECYCLER", ".@__thumb", ".thumbnails", "FOUND.000", "@Recently-Snapshot",
     "Network Recycle Bin", "Network Recycle Bin 1", "Recycle Bin - Volume_1", "_NAS_Recycle_RAID", "LOST.DIR",
     "@SynoResource", "@synologydrive", "@img_bkp_cache", "@cloudsync", "@appstore", "@GMT-2024.11.01-00.00.00",
     "files_trashbin", "files_versions", "appdata_ocabc123", "Backups.backupdb", "x.sparsebundle", "[Originals]",
     "Photos Library.photoslibrary", "iPhoto Library.migratedphotolibrary", "Aperture Library.aplibrary",
     "Lightroom Catalog-v13 Smart Previews.lrdata", "Lightroom.lrlibrary", "Capture One.cocatalog", "THMBNL",
     "$WINDOWS.~BT", "$WinREAgent", "Config.Msi", "Nas_Prog"],
)  # fmt: skip
def test_it_is_left_alone(name: str) -> None:
    assert is_leftover(name)


@pytest.mark.parametrize(
    "name",
    ["thumbs", "tmp", "found", "사진", "eaDir", "snapshot", "a@eaDir", "recycling", "trash bags", "Photos Library",
     "appdata", "@GMT", "originals", "재활용", "@home", "lost", "my.lrcat"],
)  # fmt: skip
def test_a_folder_of_people_is_not(name: str) -> None:
    assert not is_left_alone(name)


@pytest.mark.parametrize(
    "name",
    [
        "recycle",
        "RECYCLED",
        "Recycle Bin",
        "Trash",
        "trashbox",
        "CaptureOne",
        "휴지통",
        unicodedata.normalize("NFD", "휴지통"),
    ],
)
def test_a_plain_word_may_be_a_bin_or_a_class(name: str) -> None:
    assert is_bin(name)
    assert is_left_alone(name)
    assert not is_leftover(name)


@pytest.mark.parametrize(
    "name",
    ["$I12345.jpg", "$RABC123.JPG", "SYNOPHOTO_THUMB_XL.jpg", "SYNOFILE_THUMB_M.png", "~syncthing~y.jpg", "Folder.jpg",
     "AlbumArtSmall.jpg", "AlbumArt_{0A}_Large.jpg", "x.part.jpg", "x.partial.jpg", "a.b.tmp.png", "~WRL0001.jpg"],
)  # fmt: skip
def test_an_image_of_a_program_is_left_alone(name: str) -> None:
    assert is_leftover_image(name)


@pytest.mark.parametrize(
    "name",
    ["part.jpg", "part 2.jpg", "IMG_1.jpg", "my folder.jpg", "folder2.jpg", "~여행.jpg", "$5.jpg", "$Income.jpg",
     "albumart.jpg", "synonym.jpg", "tmp.jpg", "x.partial_view.jpg"],
)  # fmt: skip
def test_an_image_of_people_is_not(name: str) -> None:
    assert not is_leftover_image(name)


def test_the_root_itself_may_be_one() -> None:
    assert not is_below_leftover("/vol/#recycle/mine/a", "/vol/#recycle/mine")
    assert is_below_leftover("/vol/#recycle/mine/a", "/vol")


def test_pictures_are_counted(tmp_path: Path) -> None:
    (tmp_path / "x" / "y").mkdir(parents=True)
    for name in ("a.jpg", "x/b.PNG", "x/y/c.heic", "x/y/thumb.db"):
        (tmp_path / name).touch()
    left = Leftovers()
    left.count_folder(pictures_in(str(tmp_path)), "Trash")
    left.count_folder(0, "#recycle")
    left.count_image("Folder.jpg")
    assert str(left).endswith("or a program (images: 4, folders: 1; for example Trash, Folder.jpg)")
    assert pictures_in(str(tmp_path / "gone")) == 0
