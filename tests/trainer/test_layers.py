"""The files of the trainer import each other in one direction."""

from __future__ import annotations

from graphlib import TopologicalSorter

from tests.test_imports import ROOT, imports


def test_no_two_files_import_each_other() -> None:
    files = {f"trainer.{file.stem}": file for file in (ROOT / "trainer").glob("*.py")}
    needs = {name: set(imports(file)) & set(files) for name, file in files.items()}
    assert "trainer.write" in needs["trainer.fit"]
    TopologicalSorter(needs).prepare()  # raises CycleError
