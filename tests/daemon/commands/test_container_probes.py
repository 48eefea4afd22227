"""What doctor says of a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon import config
from daemon.commands import container_probes
from daemon.commands.container_probes import container_findings

_MOUNTS = b"""1 0 0:30 / / rw - overlay overlay rw
2 1 8:1 /photos /pictures rw - ext4 /dev/sda1 rw
3 1 0:31 / /state rw - tmpfs tmpfs rw
"""
_SETTINGS = {
    "watch": ["/pictures/inbox"],
    "output": "/pictures/sorted",
    "checkpoint": "/checkpoints",
    "state_dir": "/state",
}


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("container", "podman")
    tmp_path.joinpath("mountinfo").write_bytes(_MOUNTS)
    monkeypatch.setattr(container_probes, "MOUNTINFO", tmp_path / "mountinfo")
    tmp_path.joinpath("cmdline").write_bytes(b"python3\0-P\0-m\0daemon.container.init\0watch\0")
    monkeypatch.setattr(container_probes, "FIRST_PROCESS", tmp_path / "cmdline")


@pytest.mark.usefixtures("container")
def test_folders_that_are_lost_with_the_container_are_told() -> None:
    found = {finding.text: finding.state for finding in container_findings(config.load(_SETTINGS))}
    assert found["/pictures/inbox is a volume (ext4)"] == "fine"
    assert found["/pictures/sorted is a volume (ext4)"] == "fine"
    assert found["/checkpoints lies in the container itself (overlay), and is lost with it"] == "wrong"
    assert found["/state lies in the container itself (tmpfs), and is lost with it"] == "wrong"
    assert any("this is a container" in text for text in found)


@pytest.mark.usefixtures("container")
def test_in_a_container_of_another_kind_that_is_only_a_note(tmp_path: Path) -> None:
    tmp_path.joinpath("cmdline").write_bytes(b"sleep\0infinity\0")
    assert {finding.state for finding in container_findings(config.load(_SETTINGS))} <= {"fine", "note"}


def test_elsewhere_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("container", raising=False)
    monkeypatch.setattr(container_probes, "MARKS", ())
    assert list(container_findings(config.load(_SETTINGS))) == []
