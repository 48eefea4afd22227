"""Cut the power while images are filed: what the disks hold afterwards is still every image, once and whole."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.files import copying
from daemon.filing.filer import Action
from tests.faults.disks import Disk, disks
from tests.faults.scenario import Scenario
from tests.faults.tracer import Point, kill_at, need_strace, points, trace
from tests.filing_desk import far_folder

pytestmark = pytest.mark.timeout(2 * 3600)


@pytest.fixture(params=[1, 2], ids=["one disk", "two disks"])
def machine(request: pytest.FixtureRequest) -> Iterator[list[Disk]]:
    need_strace()
    with far_folder() as memory, disks(memory, request.param) as made:
        yield made


def scenario_on(machine: list[Disk], action: Action = "move") -> Scenario:
    return Scenario(machine[0].folder, machine[1].folder if len(machine) > 1 else None, action)


def cut_and_check(machine: list[Disk], scenario: Scenario, point: Point | None) -> None:
    """Stop at a point (None: at the end), with the power gone in the same instant."""
    scenario.prepare()
    for disk in machine:
        disk.sync()
    kill_at(point or Point("close", 10_000), scenario.work)
    restart(machine)
    scenario.check_nothing_lost()
    scenario.recover()
    scenario.check_after_recovery()
    scenario.check_to_the_end()


def restart(machine: list[Disk]) -> None:
    for disk in machine:
        disk.cut()
        disk.unmount_unused()
        disk.mount()


def population(scenario: Scenario, log: Path) -> list[Point | None]:
    scenario.prepare()
    return [*points(trace(scenario.work, log)), None]


def test_a_power_cut_loses_nothing(machine: list[Disk], tmp_path: Path) -> None:
    scenario = scenario_on(machine)
    for point in [None, *random.Random(1).sample(population(scenario, tmp_path / "trace"), 4)]:
        cut_and_check(machine, scenario, point)


def test_a_disk_that_another_mount_name_space_holds_is_cut_too() -> None:
    """As systemd makes one for each service that it starts meanwhile."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    with far_folder() as memory, disks(memory, 1) as machine:
        file = machine[0].folder / "file"
        file.write_bytes(b"whole")
        machine[0].sync()
        holder = ["unshare", "--mount", "sh", "-c", "echo begun; sleep 0.5"]
        with subprocess.Popen(holder, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            restart(machine)
        assert file.read_bytes() == b"whole"


def test_a_disk_that_somebody_looks_at_is_cut_too() -> None:
    with far_folder() as memory, disks(memory, 1) as machine:
        file = machine[0].folder / "file"
        file.write_bytes(b"whole")
        machine[0].sync()
        looker = ["sh", "-c", 'exec < "$1"; echo begun; exec sleep 0.5', "sh", str(file)]
        with subprocess.Popen(looker, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            restart(machine)
        assert file.read_bytes() == b"whole"


@pytest.mark.slow
@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_a_power_cut_at_every_call_loses_nothing(machine: list[Disk], tmp_path: Path, action: Action) -> None:
    scenario = scenario_on(machine, action)
    all_points = population(scenario, tmp_path / "trace")
    for point in all_points:
        cut_and_check(machine, scenario, point)
    print(f"{len(all_points)} power cuts")


@pytest.mark.slow
def test_a_copy_that_is_not_flushed_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant that no kill can find.

    Nor may the writing be begun early: ext4 then has it done when the folder is flushed, other file systems need not.
    """
    need_strace()
    real = os.fsync

    def no_flush_of_files(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            real(descriptor)

    with far_folder() as memory, disks(memory, 2) as machine:
        scenario = scenario_on(machine)
        all_points = population(scenario, tmp_path / "trace")
        monkeypatch.setattr(os, "fsync", no_flush_of_files)
        monkeypatch.setattr(copying, "begin_to_flush", lambda _: None)
        lost = 0
        for point in all_points:
            try:
                cut_and_check(machine, scenario, point)
            except AssertionError:
                lost += 1
    print(f"{lost} of {len(all_points)} power cuts lose an image when copies are not flushed")
    assert lost > 0
