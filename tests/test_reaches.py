"""Tests use what is public, so that the rest can change without them; what is left of reaches into it is counted."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.structure import PACKAGES, ROOT

#: There may be fewer, never more: give the module a public constant, or replace what it calls.
MOST_REACHES = 2

#: What named tuples have, and the end of a child process.
PUBLIC = frozenset({"_replace", "_asdict", "_fields", "_make", "_exit"})
PATCHES = frozenset({"setattr", "delattr", "getattr", "hasattr", "object", "patch"})
REASON = "# private: "


def is_private(name: str) -> bool:
    """Whether a name, or the last of a dotted one, begins with one underscore."""
    last = name.rpartition(".")[2]
    return bool(re.fullmatch(r"_[^\W_]\w*", last)) and last not in PUBLIC


def reaches(source: str) -> Iterator[int]:
    """The lines that use a private name of something else than the test's own object: read, patched or imported."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                yield node.lineno
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PACKAGES:
            yield from (node.lineno for name in node.names if is_private(name.name))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if called in PATCHES and not (node.args and isinstance(own := node.args[0], ast.Name) and own.id == "self"):
                texts = [each.value for each in node.args[:2] if isinstance(each, ast.Constant)]
                yield from (node.lineno for text in texts if isinstance(text, str) and is_private(text))


@cache
def found() -> list[tuple[Path, int]]:
    files = sorted((ROOT / "tests").rglob("*.py"))
    return [(file, line) for file in files for line in reaches(file.read_text(encoding="utf-8"))]


def test_tests_use_what_is_public() -> None:
    places = [f"{file.relative_to(ROOT)}:{line}" for file, line in found()]
    assert len(places) <= MOST_REACHES, "\n".join(places)


def test_a_reach_has_its_reason_beside_it() -> None:
    for file, line in found():
        lines = file.read_text(encoding="utf-8").splitlines()
        assert any(REASON in each for each in lines[max(0, line - 2) : line]), f"{file.relative_to(ROOT)}:{line}"


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("from daemon.loop import _HANDFUL, WorkLoop", 1),
        ("from daemon.loop import __doc__", 0),
        ("loop._monitor.tick", 1),
        ("self._held, cls._made, row.identity._replace(ino=1), os._exit(0)", 0),
        ("self.desk._held", 1),
        ("monkeypatch.setattr(writers, '_kind', None)", 1),
        ("monkeypatch.setattr('daemon.pipeline._PATIENCE', 0.1)", 1),
        ("mock.patch('daemon.pipeline._PATIENCE', 0.1)", 1),
        ("hasattr(self, '_held'), name.endswith('_total'), setattr(writers, 'kind', '_kind')", 0),
    ],
)
def test_reaches_are_known(source: str, count: int) -> None:
    assert len(list(reaches(source))) == count
