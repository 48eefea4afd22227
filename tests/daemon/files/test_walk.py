from __future__ import annotations

import itertools
import os
from pathlib import Path

from daemon.files.marker import is_marked
from daemon.files.walk import walk


def never(folder: str, error: OSError) -> None:
    raise AssertionError(folder) from error


def report(path: str, what: str) -> None:
    raise AssertionError(path)


def met(*folders: Path, recursive: bool = True, left_out: tuple[str, ...] = ()) -> list[str]:
    """Paths of the candidates below the folders, sorted."""
    names = walk(
        map(str, folders),
        recursive=recursive,
        enter=lambda folder: Path(folder).name not in left_out,
        failed=never,
        not_a_file=lambda path, what: None,
    )
    return sorted(entry.path for entry in names if entry is not None)


def test_candidates_in_all_folders_are_met(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    for name in ("a.jpg", "b/b.png", "b/c/c.webp", "notes.txt", "b/.hidden.jpg", "b/a.jpg.part"):
        (tmp_path / name).touch()
    assert met(tmp_path) == [str(tmp_path / name) for name in ("a.jpg", "b/b.png", "b/c/c.webp")]
    assert met(tmp_path, recursive=False) == [str(tmp_path / "a.jpg")]


def test_only_plain_files_below_the_folder_itself(tmp_path: Path) -> None:
    inbox, elsewhere = tmp_path / "inbox", tmp_path / "elsewhere"
    for folder in (inbox, elsewhere, inbox / "folder.jpg"):
        folder.mkdir()
    (elsewhere / "a.jpg").touch()
    (inbox / "link.jpg").symlink_to(elsewhere / "a.jpg")
    (inbox / "linked").symlink_to(elsewhere)
    (inbox / "loop").symlink_to(inbox)
    os.mkfifo(inbox / "pipe.jpg")
    assert met(inbox) == []


def test_a_folder_that_becomes_a_link_before_it_is_read_is_passed_over(tmp_path: Path) -> None:
    inbox, elsewhere = tmp_path / "inbox", tmp_path / "elsewhere"
    for folder in (inbox / "a" / "b", elsewhere / "b"):
        folder.mkdir(parents=True)
        (folder / "a.jpg").touch()

    def enter(folder: str) -> bool:
        if folder.endswith("/b") and not (inbox / "a").is_symlink():
            (inbox / "a").rename(tmp_path / "aside")
            (inbox / "a").symlink_to(elsewhere)
        return True

    names = walk([str(inbox)], recursive=True, enter=enter, failed=never, not_a_file=report)
    assert [entry.path for entry in names if entry is not None] == []


def test_unfinished_and_left_out_folders_are_not_entered(tmp_path: Path) -> None:
    for name in (".rsync-partial", "album.part", "left", "album"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").touch()
    assert met(tmp_path, left_out=("left",)) == [str(tmp_path / "album" / "a.jpg")]


def test_names_of_any_bytes(tmp_path: Path) -> None:
    names = [b"caf\xe9.jpg", b"new\nline.jpg", b"-rf.jpg", b" .jpg", b"x" * 251 + b".jpg"]
    for name in names:
        (tmp_path / os.fsdecode(name)).touch()
    assert sorted(os.fsencode(path) for path in met(tmp_path)) == sorted(bytes(tmp_path) + b"/" + n for n in names)


def test_what_is_taken_away_meanwhile_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.jpg").touch()
    (tmp_path / "file").touch()
    assert met(tmp_path / "gone", tmp_path / "file", tmp_path / "here") == [str(tmp_path / "here" / "a.jpg")]


def test_trouble_in_one_folder_is_told_and_the_walk_goes_on(tmp_path: Path) -> None:
    for name in ("bad", "good"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").touch()
    failures = []

    def enter(folder: str) -> bool:
        if folder.endswith("bad"):
            raise PermissionError(13, "Permission denied")
        return True

    names = walk(
        [str(tmp_path)],
        recursive=True,
        enter=enter,
        failed=lambda folder, error: failures.append((folder, error.errno)),
        not_a_file=report,
    )
    assert [entry.path for entry in names if entry is not None] == [str(tmp_path / "good" / "a.jpg")]
    assert failures == [(str(tmp_path / "bad"), 13)]


def test_a_walk_takes_one_name_at_a_time(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number}.jpg").touch()
    names = walk([str(tmp_path)], recursive=True, enter=lambda folder: True, failed=never, not_a_file=report)
    assert len(list(itertools.islice(names, 10))) == 10
    assert len(list(names)) == 40


def test_marked_folders(tmp_path: Path) -> None:
    assert not is_marked(str(tmp_path))
    (tmp_path / ".imagesortd").touch()
    assert is_marked(str(tmp_path))
