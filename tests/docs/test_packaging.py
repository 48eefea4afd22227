"""The wheel: every package of the tree, nothing that a build before left, and nothing left in the tree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("daemon", "models", "trainer")


def test_every_package_of_the_tree_is_found() -> None:
    find = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"][
        "find"
    ]
    there = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for package in PACKAGES
        for file in (ROOT / package).rglob("__init__.py")
    }
    find_packages = pytest.importorskip("setuptools").find_packages
    assert set(find_packages(str(ROOT), include=find["include"])) == there


def test_every_extra_that_people_are_told_to_install_is_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    files = [*ROOT.glob("*.md"), *(file for package in PACKAGES for file in (ROOT / package).rglob("*.*"))]
    told = {
        extra
        for file in files
        if file.suffix in {".md", ".py", ".toml"}
        for names in re.findall(r"pip install '\.\[([\w,-]+)\]'", file.read_text(encoding="utf-8"))
        for extra in names.split(",")
    }
    assert told >= {"test", "archive"}
    assert told <= set(extras)


def test_what_an_earlier_build_left_does_not_get_into_the_wheel(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="without a network, building needs setuptools here")
    pytest.importorskip("wheel", reason="older setuptools builds with it")
    source = tmp_path / "source"
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        source.mkdir(exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.*"):
            if file.suffix in {".py", ".toml"}:
                copy = source / file.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(file.read_bytes())
    stale = source / "build" / "lib" / "daemon" / "gone.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    before = {path.relative_to(source) for path in source.rglob("*")}
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        ".",
    ]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("imagesortd-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "daemon/gone.py" not in names
    assert {str(path) for path in before if path.suffix == ".py"} - {"setup.py", "build/lib/daemon/gone.py"} <= names
    assert {"models/text/messages.ko.toml", "models/starter_groups.toml"} <= names
    assert {path.relative_to(source) for path in source.rglob("*")} == before
