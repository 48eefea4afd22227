"""The arrows of the architecture: daemon -> models <- trainer, and no backbone by name."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("daemon", "models", "trainer")

#: Whom each package may import from among ours.
ALLOWED = {"daemon": {"daemon", "models"}, "trainer": {"trainer", "models"}, "models": {"models"}}


@cache
def imports(file: Path) -> list[str]:
    """Every module a file imports, absolute, also inside functions."""
    return list(_imports(file))


def _imports(file: Path) -> Iterator[str]:
    package = list(file.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


SOURCES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def test_packages_import_only_whom_they_may() -> None:
    for file in SOURCES:
        ours = {module.split(".")[0] for module in imports(file)} & set(PACKAGES)
        assert ours <= ALLOWED[file.relative_to(ROOT).parts[0]], file


def test_nobody_imports_a_backbone_by_name() -> None:
    by_name = {file: [name for name in imports(file) if name.startswith("models.backbones.")] for file in SOURCES}
    assert {file: names for file, names in by_name.items() if names} == {}


@pytest.mark.parametrize(
    "module", ["daemon.__main__", "daemon.commands.sort", "models.__main__", "models.classifier", "trainer.__main__"]
)
def test_starting_imports_no_heavy_library(module: str) -> None:
    heavy = ["torch", "torchvision", "timm", "transformers", "sklearn", "matplotlib", "scipy"]
    code = f"import sys, {module}; print(*sorted(set({heavy}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("command", ["status", "history", "undo"])
def test_commands_that_look_at_no_image_import_nothing_for_images(command: str) -> None:
    heavy = ["numpy", "PIL", "onnxruntime", "watchdog"]
    heavy += ["models.decoding.images", "models.checkpoints.checkpoint", "models.weights.store"]
    code = f"import sys, daemon.__main__, daemon.commands.{command}; print(*sorted(set({heavy}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
