"""Imports lead down: from commands to system calls, floor by floor, and never round."""

from __future__ import annotations

import pytest

from tests.structure import FLOORS, PACKAGES, ROOT, House

HOUSES = {package: House(ROOT, package) for package in PACKAGES}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_rooms_lead_to_one_another(package: str) -> None:
    assert HOUSES[package].circles() == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_one_another(package: str) -> None:
    assert HOUSES[package].module_circles() == []


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_its_floor(package: str) -> None:
    assert sorted(room for rooms in FLOORS[package] for room in rooms) == HOUSES[package].rooms


@pytest.mark.parametrize(
    ("package", "room"), [(package, room) for package, floors in FLOORS.items() for rooms in floors for room in rooms]
)
def test_a_room_imports_from_lower_floors_only(package: str, room: str) -> None:
    assert [arrow for arrow in HOUSES[package].arrows_up() if arrow.importer.partition(".")[0] == room] == []
