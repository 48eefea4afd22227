"""A user without a home, as containers have them: one sentence that says what to set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daemon import state
from daemon.commands.unit import user_folder
from models.errors import UserError
from models.registry import entry
from models.weights.hub import HubFolder
from models.weights.store import WeightsStore, local_file


@pytest.fixture(autouse=True)
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME", "HF_HUB_CACHE", "TORCH_HOME")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", _unknown)


def _unknown(user: int) -> object:
    raise KeyError(f"getpwuid(): uid not found: {user}")


def test_the_sentence_names_what_to_set() -> None:
    whose = f"user {os.getuid()} has no home folder here: "
    with pytest.raises(UserError) as refused:
        state.state_folder(None)
    assert str(refused.value) == f"{whose}set HOME or XDG_STATE_HOME, or give --state-dir"
    with pytest.raises(UserError) as refused:
        WeightsStore()
    assert str(refused.value) == f"{whose}set HOME or XDG_CACHE_HOME, or give --cache-dir"
    with pytest.raises(UserError, match="set HOME or XDG_CONFIG_HOME"):
        user_folder()


def test_what_is_given_needs_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert state.state_folder(tmp_path) == tmp_path
    store = WeightsStore(tmp_path)
    source = entry("clip").weights
    assert isinstance(source, HubFolder)
    assert not source.is_local(store)
    assert not entry("mobilenet").weights.is_local(store)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert state.state_folder(None) == tmp_path / "imagesortd"
    assert WeightsStore().root == tmp_path / "imagesortd"


def test_a_tilde_without_a_home_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="~/w.safetensors: there is no such home folder: give the whole path"):
        local_file("~/w.safetensors", WeightsStore(tmp_path))
