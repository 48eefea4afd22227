"""The files of the trainer import each other in one direction."""

from __future__ import annotations

from graphlib import TopologicalSorter

from tests.test_imports import ROOT, imports


def test_no_two_files_import_each_other() -> None:
    sources = (ROOT / "trainer").rglob("*.py")
    files = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in sources}
    needs = {name: set(imports(file)) & set(files) for name, file in files.items()}
    assert "trainer.run_writer" in needs["trainer.fit"]
    assert "trainer.runs.folder" in needs["trainer.run_writer"]
    TopologicalSorter(needs).prepare()  # raises CycleError
