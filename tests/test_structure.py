"""Imports lead down: from commands to system calls, floor by floor, and never round."""

from __future__ import annotations

from functools import cache

import pytest

from tests.structure import FLOORS, PACKAGES, ROOT, House


@cache
def house(package: str) -> House:
    return House(ROOT, package)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_rooms_lead_to_one_another(package: str) -> None:
    assert house(package).circles() == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_one_another(package: str) -> None:
    assert house(package).module_circles() == []


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_its_floor(package: str) -> None:
    assert sorted(room for rooms in FLOORS[package] for room in rooms) == house(package).rooms


@pytest.mark.parametrize(
    ("package", "room"), [(package, room) for package, floors in FLOORS.items() for rooms in floors for room in rooms]
)
def test_a_room_imports_from_lower_floors_only(package: str, room: str) -> None:
    assert [arrow for arrow in house(package).arrows_up() if arrow.importer.partition(".")[0] == room] == []
