"""How much memory is left: of the machine, and of the control groups around the process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daemon.reloading import memory
from models.errors import UserError

MB = 1 << 20


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 900 MB free, and a process in a group /system.slice/imagesortd.service of it."""
    (tmp_path / "meminfo").write_text(f"MemTotal: 2000000 kB\nMemAvailable: {900 << 10} kB\n")
    (tmp_path / "cgroup").write_text("1:name=systemd:/\n0::/system.slice/imagesortd.service\n")
    (tmp_path / "groups" / "system.slice" / "imagesortd.service").mkdir(parents=True)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "groups")
    return tmp_path


def limit(group: Path, most: str, used: int, cached: int = 0) -> None:
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")


def test_without_limits_it_is_the_machines(system: Path) -> None:
    assert memory.free_memory() == 900 * MB
    limit(system / "groups" / "system.slice" / "imagesortd.service", "max", 100 * MB)
    assert memory.free_memory() == 900 * MB
    (system / "cgroup").write_text("")
    assert memory.free_memory() == 900 * MB


def test_the_tightest_group_counts_and_cached_files_make_room(system: Path) -> None:
    inner = system / "groups" / "system.slice" / "imagesortd.service"
    limit(inner, str(500 * MB), 450 * MB, cached=100 * MB)
    assert memory.free_memory() == 150 * MB
    limit(inner.parent, str(1000 * MB), 980 * MB)
    assert memory.free_memory() == 20 * MB


def test_a_checkpoint_that_is_too_large_is_named_with_both_figures(system: Path) -> None:
    checkpoint = system / "checkpoint.safetensors"
    checkpoint.touch()
    os.truncate(checkpoint, 200 * MB)
    memory.require_room(checkpoint)
    os.truncate(checkpoint, 400 * MB)
    with pytest.raises(UserError, match=r"1200 MB are needed to load it, and 900 MB are free"):
        memory.require_room(checkpoint)


def test_a_small_one_is_not_asked_about(system: Path) -> None:
    (system / "meminfo").write_text("MemAvailable: 1 kB\n")
    checkpoint = system / "checkpoint.safetensors"
    checkpoint.write_bytes(b"a head")
    memory.require_room(checkpoint)


def test_this_machine_tells_how_much_it_has() -> None:
    assert 0 < memory.free_memory() < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
