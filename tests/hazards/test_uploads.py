"""Pictures that come by the programs people use, with pauses, broken off and resumed: filed once, whole, or waiting.

Each is tried with the class folders on the inbox's file system and on another one, moving and copying.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from tests.daemon.conftest import Publish
from tests.filing_desk import far_folder
from tests.hazards import servers
from tests.hazards.station import Station, station
from tests.hazards.syncthing import Syncthing
from tests.pictures import draw
from tests.processes import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KIND = "fog"
#: Bytes a second; a picture takes some seconds.
RATE = 150_000
#: Seconds that a writer pauses: several times what the daemon lets a file settle.
REST = 1.5
#: Seconds that anything may take on a busy machine.
LONG = 240.0
_SEEDS = itertools.count(1)


class Uploads:
    """A station that pictures are brought to by shell commands, and the servers that these speak to."""

    def __init__(self, here: Station, action: str) -> None:
        self.here = here
        self.action = action
        self.variables: dict[str, str] = {}
        self._servers = ExitStack()

    def close(self) -> None:
        self._servers.close()

    def need(self, kind: str) -> None:
        """Start a server where it does not run yet; skip where it is not installed."""
        if kind in self.variables:
            return
        folder = self.here.folder / f"server-{kind}"
        folder.mkdir()
        if kind == "web":
            self.variables["web"] = self._servers.enter_context(servers.web(self.outside()))
        elif kind == "ssh":
            self.variables["ssh"] = " ".join(self._servers.enter_context(servers.ssh(folder)))
        else:
            begin = {"ftp": servers.ftp, "smb": servers.smb}[kind]
            self.variables[kind] = str(self._servers.enter_context(begin(folder, self.here.inbox)))

    def outside(self) -> Path:
        folder = self.here.folder / "outside"
        folder.mkdir(exist_ok=True)
        return folder

    def picture(self, suffix: str, writer: str) -> Path:
        """A new picture of some 400 kB; of megabytes for programs that gather as much before they send."""
        seed = next(_SEEDS)
        path = self.outside() / f"picture-{seed}{suffix}"
        draw(KIND, seed, 1600 if writer in ("smbclient", "syncthing") else 360).save(path)
        return path

    def start(self, command: str, source: Path) -> subprocess.Popen[bytes]:
        """Run a shell command that brings a picture into the inbox."""
        size = source.stat().st_size
        variables = {
            "source": str(source), "name": source.name, "target": str(self.here.inbox / source.name),
            "inbox": str(self.here.inbox), "outside": str(source.parent), "half": str(size * 6 // 10),
            "rest": str(REST), "rate": str(RATE), "kb": str(RATE // 1000), "kbit": str(RATE * 8 // 1000),
        }  # fmt: skip
        return subprocess.Popen(
            ["bash", "-c", command],
            env=os.environ | variables | self.variables,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )

    def begun(self, source: Path) -> bool:
        """Whether something of a picture is in the inbox, under whatever name."""
        with suppress(FileNotFoundError):  # renamed while we look
            return any(source.stem in path.name and path.stat().st_size > 0 for path in self.here.inbox.iterdir())
        return False

    def filed(self, source: Path) -> list[Path]:
        """Everything of a picture that is anywhere in the output."""
        return [path for path in self.here.output.rglob(f"*{source.stem}*") if path.is_file()]

    def arrives(self, source: Path) -> None:
        """It is filed once and whole, and is gone from the inbox where it is moved."""
        target, content = self.here.inbox / source.name, source.read_bytes()
        log = self.here.running.log
        wait_for(lambda: self.filed(source) or not target.exists(), f"{source.name} is filed:\n{log()[-2000:]}", LONG)
        if self.action == "move":
            wait_for(lambda: not target.exists(), f"{source.name} leaves the inbox:\n{log()[-2000:]}", LONG)
        else:
            assert target.read_bytes() == content
        whole = self.here.output / KIND / source.name
        wait_for(lambda: self.filed(source) == [whole], f"{self.filed(source)}:\n{log()[-2000:]}", LONG)
        assert whole.read_bytes() == content


@pytest.fixture(scope="module", params=["move, one drive", "move, two drives", "copy, one drive", "copy, two drives"])
def uploads(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, publish: Publish
) -> Iterator[Uploads]:
    action, drives = request.param.split(", ")
    folder = tmp_path_factory.mktemp("uploads")
    with ExitStack() as closing:
        output = closing.enter_context(far_folder()) / "sorted" if drives == "two drives" else folder / "sorted"
        arguments = ("--rescan-seconds", "2", "--action", action)
        here = closing.enter_context(station(folder, publish, *arguments, output=output))
        made = Uploads(here, action)
        closing.callback(made.close)
        yield made


#: Commands that bring a picture, with the program or server that each needs, and the picture's format.
WRITERS = {
    "lftp": ("ftp lftp", ".png", 'lftp -e "set net:limit-rate $rate; put $source -o $name; bye" ftp://127.0.0.1:$ftp'),
    "curl": ("ftp curl", ".png", 'curl -sS --limit-rate $rate -T "$source" ftp://127.0.0.1:$ftp/$name'),
    "curl, BMP": ("ftp curl", ".bmp", 'curl -sS --limit-rate $rate -T "$source" ftp://127.0.0.1:$ftp/$name'),
    "smbclient": (
        "smb",
        ".tif",
        '(head -c $half "$source"; sleep $rest; tail -c +$((half+1)) "$source") |'
        ' smbclient -N -p $smb //127.0.0.1/inbox -c "put - $name" 2> /dev/null',
    ),
    "sftp": ("ssh", ".png", 'echo "put $source $target" | sftp $ssh -l $kbit -b - 127.0.0.1'),
    "scp": ("ssh", ".png", "scp $ssh -l $kbit $source 127.0.0.1:$target"),
    "rsync": ("rsync", ".png", 'rsync --bwlimit=$kb "$source" "$target"'),
    "rsync --inplace": ("rsync", ".bmp", 'rsync --inplace --bwlimit=$kb "$source" "$target"'),
    "rclone": ("rclone", ".bmp", 'rclone copyto --bwlimit ${kb}k "$source" "$target"'),
    "aria2": (
        "web aria2c",
        ".bmp",
        "aria2c -q --file-allocation=prealloc -d $inbox $web/$name",
    ),
    "wget": ("web wget", ".png", "wget -q -P $inbox $web/$name"),
    "curl from the web": ("web curl", ".bmp", "curl -sS -o $target $web/$name"),
    "tar": (
        "tar",
        ".bmp",
        'tar -C "$outside" -c "$name" | (head -c $half; sleep $rest; cat) | tar -C "$inbox" -x',
    ),
    "unzip": (
        "zip unzip",
        ".png",
        'cd "$outside" && zip -q $name.zip $name && cd "$inbox" && unzip -q $outside/$name.zip',
    ),
    "the whole size first": (
        "truncate",
        ".bmp",
        'exec 3<> "$target"; truncate -s $(stat -c %s "$source") "$target"; head -c $half "$source" >&3;'
        ' sleep $rest; tail -c +$((half+1)) "$source" >&3',
    ),
}
#: Those that pause by themselves, or are done at once.
UNSTOPPED = {"smbclient", "tar", "unzip", "the whole size first"}


def ready(uploads: Uploads, needed: str) -> None:
    for each in needed.split():
        if each in ("ftp", "smb", "ssh", "web"):
            uploads.need(each)
        else:
            servers.needs(each)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_that_pauses(writer: str, uploads: Uploads) -> None:
    needed, suffix, command = WRITERS[writer]
    ready(uploads, needed)
    source = uploads.picture(suffix, writer)
    writing = uploads.start(command, source)
    if writer not in UNSTOPPED:
        wait_for(lambda: uploads.begun(source), "the upload begins", LONG)
        time.sleep(0.3)
        os.killpg(writing.pid, signal.SIGSTOP)
        time.sleep(REST)
        assert writing.poll() is None, "it ended before it could pause"
        assert uploads.filed(source) == []
        os.killpg(writing.pid, signal.SIGCONT)
    assert writing.wait(LONG) == 0
    uploads.arrives(source)


#: Uploads that are broken off, and how the same program goes on. (smbclient reads ahead: it has nothing to break off.)
RESUMED = {
    "lftp": (
        "ftp lftp",
        WRITERS["lftp"][2],
        'lftp -e "put -c $source -o $name; bye" ftp://127.0.0.1:$ftp',
    ),
    "curl": ("ftp curl", WRITERS["curl"][2], 'curl -sS -C - -T "$source" ftp://127.0.0.1:$ftp/$name'),
    "sftp": ("ssh", WRITERS["sftp"][2], 'echo "reput $source $target" | sftp $ssh -b - 127.0.0.1'),
    "rsync --partial": ("rsync", 'rsync --partial --bwlimit=$kb "$source" "$target"', 'rsync "$source" "$target"'),
    "rsync --inplace": ("rsync", WRITERS["rsync --inplace"][2], 'rsync --inplace "$source" "$target"'),
    "rclone": ("rclone", WRITERS["rclone"][2], 'rclone copyto "$source" "$target"'),
    "aria2": ("web aria2c", WRITERS["aria2"][2], "aria2c -q -c -d $inbox $web/$name"),
    "wget": ("web wget", WRITERS["wget"][2], "wget -q -c -P $inbox $web/$name"),
    "curl from the web": ("web curl", WRITERS["curl from the web"][2], "curl -sS -C - -o $target $web/$name"),
}


@pytest.mark.parametrize("writer", RESUMED)
def test_an_upload_that_is_broken_off_and_resumed(writer: str, uploads: Uploads) -> None:
    needed, first, then = RESUMED[writer]
    ready(uploads, needed)
    source = uploads.picture(".png", writer)
    writing = uploads.start(first, source)
    wait_for(lambda: uploads.begun(source), "the upload begins", LONG)
    time.sleep(0.5)
    os.killpg(writing.pid, signal.SIGTERM)
    writing.wait(LONG)
    time.sleep(REST)
    assert uploads.filed(source) == []
    assert uploads.start(then, source).wait(LONG) == 0
    uploads.arrives(source)


@pytest.fixture(scope="module")
def syncthing(uploads: Uploads) -> Iterator[Syncthing]:
    folder = uploads.here.folder / "syncthing"
    folder.mkdir()
    made = Syncthing(folder, uploads.here.inbox, RATE)
    with made.running():
        yield made


@pytest.mark.parametrize("how", ["paused", "broken off"])
def test_syncthing_between_two_folders(how: str, syncthing: Syncthing, uploads: Uploads) -> None:
    source = uploads.picture(".bmp", "syncthing")
    (syncthing.shared / source.name).write_bytes(source.read_bytes())
    wait_for(lambda: uploads.begun(source), "the upload begins", LONG)
    time.sleep(0.5)
    if how == "paused":
        os.killpg(syncthing.sender.pid, signal.SIGSTOP)
    else:
        syncthing.break_off()
    assert not (uploads.here.inbox / source.name).exists(), "it ended before it could pause"
    time.sleep(REST)
    assert uploads.filed(source) == []
    if how == "paused":
        os.killpg(syncthing.sender.pid, signal.SIGCONT)
    else:
        syncthing.send()
    wait_for(lambda: (uploads.here.inbox / source.name).exists() or uploads.filed(source), "it comes", LONG)
    uploads.arrives(source)
    time.sleep(2 * REST)
    assert len(uploads.filed(source)) == 1  # it is not sent once more because it was taken away


@pytest.mark.parametrize("scanner", ["adds a page", "writes all pages anew"])
def test_a_scanner_that_opens_its_file_again_for_each_page(scanner: str, uploads: Uploads) -> None:
    """Its pauses are longer than the daemon lets a file settle; TIFF has a quiet time of its own."""
    source = uploads.outside() / f"scan-{next(_SEEDS)}.tif"
    target, pages = uploads.here.inbox / source.name, [draw(KIND, next(_SEEDS), 240)]
    for number in range(4):
        for path in (source, target):
            if number and scanner == "adds a page":
                with AppendingTiffWriter(str(path)) as file:
                    pages[-1].save(file, "TIFF")
            else:
                pages[0].save(path, "TIFF", save_all=True, append_images=pages[1:])
        pages.append(draw(KIND, next(_SEEDS), 240))
        time.sleep(REST)
        assert uploads.filed(source) == [], number
    uploads.arrives(source)
    with Image.open(uploads.here.output / KIND / source.name) as filed:
        assert getattr(filed, "n_frames", 1) == 4
