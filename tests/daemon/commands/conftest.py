"""Folders of the tests of commands."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.commands import container_probes


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder with a short path, since that of a socket in it may have no more than 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="daemon-") as folder:
        yield Path(folder).resolve()


@pytest.fixture(autouse=True)
def no_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that the tests run on may be a container, which `doctor` would speak of."""
    monkeypatch.delenv("container", raising=False)
    monkeypatch.setattr(container_probes, "MARKS", ())
