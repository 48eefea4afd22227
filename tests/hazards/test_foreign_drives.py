"""Drives as cameras, Windows and NAS boxes format them, mounted for another user: exFAT and NTFS, by FUSE."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.filing.class_paths import ClassPaths
from daemon.filing.filer import Status
from daemon.filing.undo import undo
from daemon.journal.journal import read_history
from tests.daemon.correcting.conftest import Scene
from tests.filing_desk import Desk, images, make_desk

NAMES = ["what?.jpg", "cam 10:11:12.jpg", "new\nline.jpg", "CON.jpg", "고양이.jpg", "e\u0301.jpg", "\u00e9.jpg",
         "Cat.jpg", "cat.jpg", "ok.jpg"]  # fmt: skip
_DRIVES = {
    "exfat": (["mkfs.exfat"], ["mount.exfat-fuse", "-o", "uid=1000,gid=1000,umask=000"]),
    "ntfs": (["mkfs.ntfs", "-q", "-F"], ["ntfs-3g", "-o", "uid=1000,gid=1000,umask=000,windows_names"]),
}


@pytest.fixture(params=sorted(_DRIVES))
def drive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """A desk whose output is on such a drive."""
    make, mount = _DRIVES[request.param]
    if os.geteuid() != 0 or not all(map(shutil.which, (make[0], mount[0], "losetup"))):
        pytest.skip(f"needs root, {make[0]} and {mount[0]}")
    image, folder = tmp_path / "image", tmp_path / "drive"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    folder.mkdir()
    loop = ""
    try:
        call(*make, str(image))
        loop = call("losetup", "-f", "--show", str(image))
        call(*mount, loop, str(folder))
    except subprocess.CalledProcessError as error:
        if loop:
            call("losetup", "-d", loop)
        pytest.skip(f"no such drive can be mounted here: {error.stderr}")
    try:
        yield make_desk(tmp_path, folder)
    finally:
        call("umount", str(folder))
        call("losetup", "-d", loop)


def call(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_every_name_arrives_and_goes_back(drive: Desk) -> None:
    for number, name in enumerate(NAMES):
        drive.put(name, str(number).encode())
    filed = drive.file([drive.decide(path, "고양이") for path in images(drive.inbox)])
    assert [each.status for each in filed] == [Status.FILED] * len(NAMES), [each.error for each in filed]
    assert images(drive.inbox) == []
    assert sorted(drive.filed().values()) == sorted(str(number).encode() for number in range(len(NAMES)))
    journal = drive.journal()
    assert {each.status for each in undo(journal, list(read_history(drive.journal_path)))} == {Status.UNDONE}
    journal.close()
    assert {path.name: path.read_bytes() for path in images(drive.inbox)} == {
        name: str(number).encode() for number, name in enumerate(NAMES)
    }


def test_a_folder_in_capitals_is_that_of_its_class(drive: Desk, tmp_path: Path) -> None:
    """A person's ``Dog`` is the folder that the daemon files dogs into, where the drive tells no capitals apart."""
    (drive.output / "Dog").mkdir(parents=True)
    if not (drive.output / "dog").exists():
        pytest.skip("this drive tells capitals apart")
    scene = Scene(drive, poll=True)
    scene.classes = ("dog", "cat")
    scene.start()
    dog, cat = scene.file("a.jpg", "dog"), scene.file("b.jpg", "cat")
    scene.look(300)
    assert [folder.name for folder in sorted(drive.output.iterdir()) if folder.is_dir()] == ["Dog", "cat"]
    assert scene.labels == {}, "nobody has moved any"
    cat.rename(drive.output / "Dog" / cat.name)
    dog.rename(drive.output / "cat" / dog.name)
    scene.look(300)
    assert {label for label, _ in scene.labels.values()} <= {"dog", "cat"}, (
        "times are so coarse that it may see none yet"
    )
    scene.stop()
    scene.journal.close()
    paths = ClassPaths(drive.output, lambda: scene.classes)
    assert paths.of_image(drive.output / "Dog" / "b.jpg") == "dog"


_AS_NOBODY = """
import os, sys
from pathlib import Path
from daemon.files.output_mark import OutputMark
from daemon.commands.probes import folder_findings
from tests.filing_desk import Desk
desk = Desk(*map(Path, sys.argv[1:]))
os.setgid(65534), os.setuid(65534)
paths = sorted(desk.inbox.iterdir())
for _ in range(2):  # made, and met again
    with OutputMark(desk.output, desk.journal_path.parent).at_work():
        pass
print([each.status.value for each in desk.file([desk.decide(path) for path in paths])])
found = list(folder_findings("output", desk.output))
print([each.text for each in found if each.state == "note" and "times" in each.text])
print([each.text for each in found if each.state == "wrong" and "written" in each.text])
"""


def test_a_drive_that_is_mounted_for_another_user(drive: Desk, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        drive.put(name, name.encode())
    for path in (tmp_path, *tmp_path.parents[:3]):
        path.chmod(path.stat().st_mode | 0o711)
    drive.output.mkdir()
    for folder in (drive.inbox, drive.journal_path.parent):
        folder.mkdir(exist_ok=True)
        call("chown", "-R", "65534:65534", str(folder))
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", "import PIL"]
    if subprocess.run(as_nobody, check=False, capture_output=True).returncode != 0:
        pytest.skip("another user may not run this Python")
    places = map(str, (drive.inbox, drive.output, drive.journal_path))
    said = call(sys.executable, "-c", _AS_NOBODY, *places).splitlines()
    assert said[0] == "['filed', 'filed']"
    assert said[2] == "[]"
    filed = {name: content for name, content in drive.filed().items() if not name.startswith(".")}
    assert filed == {"cat/a.jpg": b"a.jpg", "cat/b.jpg": b"b.jpg"}
    assert images(drive.inbox) == []
    assert said[1].endswith("do not keep their times (Operation not permitted): it is mounted for another user']")
