"""Nothing below a root is reached through a link, by one call for a whole path and by one for each component."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from daemon.files import roots
from daemon.files.roots import Roots
from tests.processes import opened

READ = os.O_RDONLY | os.O_CLOEXEC


@pytest.fixture(params=["one call", "a call for each folder"], autouse=True)
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "one call":
        monkeypatch.setattr(roots, "has_openat2", lambda: False)
    elif not roots.has_openat2():
        pytest.skip("this kernel has no openat2")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A folder with a file in a folder of a folder, and another one outside."""
    for folder in ("inbox/a/b", "outside/b"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "inbox/a/b/cat.jpg").write_bytes(b"inside")
    (tmp_path / "outside/b/cat.jpg").write_bytes(b"outside")
    return tmp_path / "inbox"


def read(where: Roots, path: Path) -> bytes:
    descriptor = where.open(path, READ)
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def trouble(where: Roots, path: Path, flags: int = READ) -> int | None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - any of them
        os.close(where.open(path, flags))
    return caught.value.errno


def test_files_are_opened_below_a_root_and_without_one(inbox: Path) -> None:
    for where in (Roots([inbox]), Roots(), Roots([inbox / "other"])):
        assert read(where, inbox / "a/b/cat.jpg") == b"inside"
        assert read(where, inbox / "a/./b/../b//cat.jpg") == b"inside"
        assert trouble(where, inbox / "a/b/dog.jpg") == errno.ENOENT
        assert trouble(where, inbox / "no/b/cat.jpg") == errno.ENOENT
        assert trouble(where, inbox / "a/b/cat.jpg/cat.jpg") == errno.ENOTDIR


@pytest.mark.parametrize("link", ["a", "a/b"])
@pytest.mark.parametrize("relative", [True, False])
def test_a_link_in_place_of_a_folder_is_not_followed(inbox: Path, link: str, relative: bool) -> None:
    aside = inbox.parent / "aside"
    (inbox / link).rename(aside)
    aim = inbox.parent / "outside" / link.removeprefix("a").lstrip("/")
    (inbox / link).symlink_to(os.path.relpath(aim, (inbox / link).parent) if relative else aim)
    assert (inbox / "a/b/cat.jpg").read_bytes() == b"outside"
    for where in (Roots([inbox]), Roots()):
        assert trouble(where, inbox / "a/b/cat.jpg") == errno.ENOTDIR
        assert trouble(where, inbox / "a/b", READ | os.O_DIRECTORY) == errno.ENOTDIR
        with pytest.raises(NotADirectoryError):
            where.make_folder(inbox / "a/b/c")
    assert sorted(path.name for path in (inbox.parent / "outside").rglob("*")) == ["b", "cat.jpg"]


def test_a_link_to_a_folder_inside_is_none_either(inbox: Path) -> None:
    (inbox / "again").symlink_to("a")
    assert trouble(Roots([inbox]), inbox / "again/b/cat.jpg") == errno.ENOTDIR


def test_a_link_in_place_of_the_file_is_told_apart(inbox: Path) -> None:
    (inbox / "link.jpg").symlink_to("a/b/cat.jpg")
    (inbox / "dangling.jpg").symlink_to("nowhere")
    for name in ("link.jpg", "dangling.jpg"):
        assert trouble(Roots([inbox]), inbox / name) == errno.ELOOP


def test_links_in_the_root_itself_are_the_owner_s_choice(inbox: Path) -> None:
    named = inbox.parent / "named"
    named.symlink_to(inbox)
    assert read(Roots([named]), named / "a/b/cat.jpg") == b"inside"
    os.close(Roots([named]).open_folder(named))
    os.close(Roots([named]).make_folder(named / "c/d"))
    assert (inbox / "c/d").is_dir()
    assert trouble(Roots(), named / "a/b/cat.jpg") == errno.ENOTDIR


def test_a_root_inside_another_one_is_not_trusted(inbox: Path) -> None:
    (inbox / "a").rename(inbox.parent / "aside")
    (inbox / "a").symlink_to(inbox.parent / "outside")
    assert trouble(Roots([inbox / "a", inbox]), inbox / "a/b/cat.jpg") == errno.ENOTDIR
    assert Roots([inbox / "a", inbox]).folders == [str(inbox)]
    assert Roots([inbox, inbox.parent / "inbox2"]).folders == [str(inbox), str(inbox.parent / "inbox2")]


def test_folders_are_made_where_they_are_missing(inbox: Path) -> None:
    descriptor = Roots([inbox]).make_folder(inbox / "a/b/c/d")
    assert os.path.samestat(os.fstat(descriptor), (inbox / "a/b/c/d").stat())
    os.close(descriptor)
    os.close(Roots().make_folder(inbox / "a/b/c/d"))


def test_no_descriptor_is_left_open(inbox: Path) -> None:
    (inbox / "link").symlink_to("a")
    before = opened()
    for path in ("a/b/cat.jpg", "link/b/cat.jpg", "no/b", "a/b/cat.jpg/no"):
        for where in (Roots([inbox]), Roots()):
            try:
                os.close(where.open(inbox / path, READ))
            except OSError:
                continue
    os.close(Roots([inbox]).make_folder(inbox / "x/y"))
    assert opened() <= before
