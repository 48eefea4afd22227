"""The container as it is built and run: files belong to the user given, it needs no network, and stops when it is told.

No registry need be in reach: Debian's own packages make the base image. ``CONTAINER_BUILD_OPTIONS`` are more options
for ``buildah bud``, such as volumes with the packages that pip is to find; ``CONTAINER_IMAGE`` is an image that is
built already.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pictures import save
from tests.processes import ROOT, wait_for

pytestmark = pytest.mark.slow

_BASE = "localhost/imagesortd-test-base"
_USER = 1234
#: Without limits of its own, which not every machine lets a container have.
_RUN = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--network", "none")


def done(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=ROOT)


def podman(*words: str) -> subprocess.CompletedProcess[str]:
    runtime = ("--runtime", "runc") if shutil.which("runc") else ()
    return done("podman", *runtime, *words)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image, built as the README says but from a base of Debian's packages."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("podman", "buildah", "debootstrap"))):
        pytest.skip("it needs root, podman, buildah and debootstrap")
    if built := os.environ.get("CONTAINER_IMAGE"):
        return built
    if done("buildah", "inspect", _BASE).returncode:
        _make_base(tmp_path_factory.mktemp("base"))
    options = shlex.split(os.environ.get("CONTAINER_BUILD_OPTIONS", ""))
    words = ["--network", "host", "--isolation", "chroot", "--build-arg", f"BASE={_BASE}", *options]
    made = done("buildah", "bud", *words, "-f", "daemon/container/Containerfile", "-t", "imagesortd-test", ".")
    if made.returncode:
        pytest.skip(f"no image can be built here: {(made.stderr or made.stdout)[-2000:]}")
    return "localhost/imagesortd-test"


def _make_base(folder: Path) -> None:
    packages = "--include=python3,python3-venv,ca-certificates"
    mirror = "http://deb.debian.org/debian"
    made = done("debootstrap", "--variant=minbase", packages, "bookworm", str(folder), mirror)
    if made.returncode:
        pytest.skip(f"no base can be made here: {made.stdout[-2000:]}")
    container = done("buildah", "from", "scratch").stdout.strip()
    done("buildah", "add", container, str(folder), "/")
    done("buildah", "commit", "--rm", container, _BASE)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("pictures", "checkpoints", "state"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, _USER, _USER)
    return tmp_path


@pytest.fixture
def container(image: str, place: Path) -> Iterator[str]:
    volumes = [word for name in ("pictures", "checkpoints", "state") for word in ("-v", f"{place / name}:/{name}")]
    begun = podman("run", "-d", *_RUN, "--user", f"{_USER}:{_USER}", *volumes, image)
    if begun.returncode:
        pytest.skip(f"no container can be started here: {begun.stderr[-2000:]}")
    name = begun.stdout.strip()
    yield name
    podman("rm", "-f", name)


@pytest.mark.timeout(3600)
def test_it_files_as_the_user_given_without_a_network_and_stops_when_told(container: str, place: Path) -> None:
    wait_for(lambda: podman("exec", container, "imagesortd", "status").returncode == 0, "it is well", 900)
    save("stripes", 1, place / "spare" / "a.png").rename(place / "pictures" / "inbox" / "a.png")
    sorted_ = place / "pictures" / "sorted"
    wait_for(lambda: list(sorted_.glob("*/a.png")), podman("logs", container).stderr, 300)
    (filed,) = sorted_.glob("*/a.png")
    assert filed.parent.stat().st_uid == _USER
    doctor = podman("exec", container, "imagesortd", "doctor").stdout
    assert f"this is a container; files belong to {_USER}:{_USER}" in doctor
    assert "/pictures/inbox is a volume" in doctor
    first = podman("exec", container, "cat", "/proc/1/cmdline").stdout
    assert "daemon.container.init" in first
    orphan = "import os\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0: os._exit(0)\n os._exit(0)"
    assert podman("exec", container, "python3", "-c", orphan).returncode == 0
    zombies = "import pathlib; print(sum(') Z ' in p.read_text() for p in pathlib.Path('/proc').glob('[0-9]*/stat')))"
    wait_for(lambda: podman("exec", container, "python3", "-c", zombies).stdout.strip() == "0", "no zombie", 120)
    assert podman("stop", "--time", "90", container).returncode == 0
    code = podman("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip()
    assert code == "0", podman("logs", container).stderr
