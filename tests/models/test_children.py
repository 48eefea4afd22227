"""Child processes: what they print, what becomes of their complaints, and which plug-ins they may import."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models import allowed
from models.children import run_child
from models.errors import WeightsUnavailable


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a test puts the module that its child runs; no variable says which plug-ins are allowed."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv(allowed.PLUGINS_VARIABLE, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import sys; print('a warning\\nno such file', file=sys.stderr); sys.exit(2)", "no such file"),
        ("raise ValueError('a bug')", "child failed: ValueError: a bug"),
        ("import os; os._exit(5)", "child failed: exit code 5"),
    ],
)
def test_a_complaint_is_passed_on(modules: Path, code: str, sentence: str) -> None:
    (modules / "child.py").write_text(code)
    with pytest.raises(WeightsUnavailable) as raised:
        run_child("child")
    assert str(raised.value) == sentence


def test_the_project_comes_before_what_python_is_told_to_search(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(modules)
    (modules / "models.py").write_text("raise SystemExit('another package of that name')")
    (modules / "child.py").write_text("import sys, models.errors; print(*sys.argv[1:])")
    assert run_child("child", "one", "two") == "one two\n"


def test_a_child_may_import_what_its_parent_may(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (modules / "child.py").write_text("from models.allowed import allowed_plugins; print(allowed_plugins())")
    assert run_child("child") == "()\n"
    monkeypatch.setenv(allowed.PLUGINS_VARIABLE, " one, two,")
    assert run_child("child") == "('one', 'two')\n"
    allowed.allow_plugins(["three"])
    assert run_child("child") == "('three',)\n"
    allowed.allow_plugins([])
    assert run_child("child") == "()\n"
    assert os.environ[allowed.PLUGINS_VARIABLE] == " one, two,"
