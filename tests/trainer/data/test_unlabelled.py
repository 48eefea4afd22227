from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import UserError
from models.files import markers
from models.inference.runtime import FeatureExtractor, locate_backbones, open_extractor
from models.weights.store import WeightsStore
from tests.filing_desk import bound_by_modes
from tests.trainer.conftest import draw
from trainer.data import unlabelled
from trainer.data.cache import FeatureCache
from trainer.data.dataset import File
from trainer.data.features import extract
from trainer.data.unlabelled import Unlabelled, read_unlabelled, scan_unlabelled


def put(path: Path, seed: int, shape: str = "circle") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(shape, seed).save(path)
    return path


def names(*folders: Path) -> list[str]:
    return [file.path.name for file in scan_unlabelled(folders).files]


def test_images_are_found_however_they_lie(tmp_path: Path) -> None:
    put(tmp_path / "a.png", 0)
    put(tmp_path / "deep" / "er" / "b.jpg", 1)
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    scanned = scan_unlabelled([tmp_path])
    assert [file.path.name for file in scanned.files] == ["a.png", "b.jpg"]
    assert scanned.found == 2
    assert scan_unlabelled([]).files == ()


def test_leftovers_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path / "a.png", 0)
    put(tmp_path / "@eaDir" / "a.png" / "SYNOPHOTO_THUMB_M.jpg", 0)
    put(tmp_path / "#recycle" / "gone.png", 1)
    put(tmp_path / "Trash" / "gone.png", 1)
    put(tmp_path / ".hidden" / "b.png", 2)
    put(tmp_path / ".c.png", 3)
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("kind", ["others", "quarantine"])
def test_folders_of_the_daemon_are_used_where_they_are_named(tmp_path: Path, kind: markers.Kind) -> None:
    put(tmp_path / "folder" / "a.png", 0)
    (tmp_path / "folder" / markers.MARKER).write_bytes(markers.marker_content(kind))
    assert names(tmp_path / "folder") == ["a.png"]


def test_folders_inside_each_other_count_once(tmp_path: Path) -> None:
    put(tmp_path / "inner" / "a.png", 0)
    (tmp_path / "link").symlink_to(tmp_path / "inner")
    assert names(tmp_path, tmp_path / "inner", tmp_path / "link") == ["a.png"]


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    put(tmp_path / "a.png", 0)
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    assert "a.png" in names(tmp_path)


def test_a_folder_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder .*nowhere"):
        scan_unlabelled([tmp_path / "nowhere"])
    with pytest.raises(UserError, match=r"a\.png is a file, not a folder"):
        scan_unlabelled([put(tmp_path / "a.png", 0)])


def test_folders_without_an_image_are_named(tmp_path: Path) -> None:
    put(tmp_path / "inbox" / "a.png", 0)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "notes.txt").write_text("no image", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    folders = [tmp_path / name for name in ("inbox", "texts", "empty", "empty")]
    assert scan_unlabelled(folders).empty == (tmp_path / "texts", tmp_path / "empty")


def test_a_folder_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path / "a.png", 0)
    put(tmp_path / "locked" / "b.png", 1)
    (tmp_path / "locked").chmod(0)
    try:
        with bound_by_modes():
            assert names(tmp_path) == ["a.png"]
    finally:
        (tmp_path / "locked").chmod(0o700)


def test_more_images_than_are_looked_at_are_drawn_by_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlabelled, "MOST", 5)
    for number in range(12):
        (tmp_path / f"{number}.png").write_bytes(b"")
    drawn = [[file.path.name for file in scan_unlabelled([tmp_path], seed=seed).files] for seed in (0, 0, 1)]
    assert [len(each) for each in drawn] == [5, 5, 5]
    assert drawn[0] == drawn[1] != drawn[2]
    assert scan_unlabelled([tmp_path]).found == 12


@pytest.fixture
def extractor(store: WeightsStore) -> FeatureExtractor:
    return open_extractor(locate_backbones("efficientnet_lite0", {}, store), store)


def read(folder: Path, labelled: list[Path], extractor: FeatureExtractor, store: WeightsStore) -> Unlabelled:
    files = [File(path, path.name, "some") for path in labelled]
    with FeatureCache(extractor.parts, store, size=10**7) as cache:
        samples = extract(files, extractor, cache).samples
        return read_unlabelled(scan_unlabelled([folder]), samples, extractor, cache)


def test_copies_and_unreadable_files_are_counted_and_left_out(
    tmp_path: Path, extractor: FeatureExtractor, store: WeightsStore
) -> None:
    labelled = put(tmp_path / "data" / "a.png", 0)
    folder = tmp_path / "inbox"
    for name, seed in (("copy.png", 0), ("new.png", 1), ("twin.png", 1), ("other.png", 2)):
        put(folder / name, seed)
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    found = read(folder, [labelled], extractor, store)
    assert found.counts.used == len(found.features) == 2
    assert (found.counts.copies, found.counts.undrawn) == (2, 0)
    assert found.counts.found == found.counts.used + found.counts.copies + found.counts.unreadable
    assert found.counts.unreadable >= 1


def test_an_empty_folder_gives_none(tmp_path: Path, extractor: FeatureExtractor, store: WeightsStore) -> None:
    (tmp_path / "inbox").mkdir()
    found = read(tmp_path / "inbox", [put(tmp_path / "data" / "a.png", 0)], extractor, store)
    assert found.features.shape == (0, extractor.width)
    assert (found.counts.found, found.counts.used) == (0, 0)
