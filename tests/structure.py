"""The rooms of the source: which there are, on which floor, and what leads where.

``python -m tests.structure [FOLDER]`` prints it for this tree, or for another one beside it (an older commit's).
A *room* is a module at the front of a package, or a package in it with all its modules. An *arrow* is an import from
one room into another; it goes *up* where the room it leads to is on no lower floor by `FLOORS`, and several that lead
round are a *circle*.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("daemon", "models", "trainer")

#: The floors of a package, the topmost first: a room may import from the rooms of lower floors.
FLOORS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "daemon": (
        ("__main__",),
        ("commands",),
        ("service", "review", "archiving"),
        ("loop",),
        ("reconfigure", "control"),
        ("monitoring", "housekeeping", "alerts"),
        ("pipeline", "operations"),
        ("reloading", "correcting", "learning", "alarms"),
        ("watching", "decoding", "filing"),
        ("journal", "state", "config"),
        ("files", "container"),
    ),
    "models": (
        ("starter",),
        ("classifier",),
        ("scoring",),
        ("__main__", "backbones", "checkpoints", "cluster"),
        ("inference",),
        ("registry",),
        ("weights",),
        ("children",),
        ("allowed", "imagesortd", "deciding", "decoding", "files", "xmp"),
        ("text",),
        ("backoff", "compat", "errors", "groups"),
    ),
    "trainer": (
        ("__main__",),
        ("fit", "evaluate", "zeroshot", "learn"),
        ("run_writer",),
        ("fitted", "reports", "options"),
        ("finetuning", "learning"),
        ("heads",),
        ("measuring",),
        ("data", "runs"),
        ("arguments", "tables"),
    ),
}


class Arrow(NamedTuple):
    """An import from one module into another of the same package, by their names below it."""

    importer: str
    imported: str


class House:
    """One package of the source."""

    def __init__(self, root: Path, package: str) -> None:
        folder = root / package
        self.package = package
        self.trees = {
            ".".join(file.relative_to(folder).with_suffix("").parts): ast.parse(file.read_text(encoding="utf-8"))
            for file in sorted(folder.rglob("*.py"))
        }
        self.arrows = sorted({Arrow(module, other) for module in self.trees for other in self._imports(module)})

    @property
    def rooms(self) -> list[str]:
        """The rooms, without the package's own docstring."""
        return sorted({room_of(module) for module in self.trees} - {"__init__"})

    def ways(self) -> dict[str, set[str]]:
        """The rooms that each room imports from."""
        ways: dict[str, set[str]] = {room: set() for room in self.rooms}
        for importer, imported in self.arrows:
            here, there = room_of(importer), room_of(imported)
            if here != there and here in ways and there in ways:
                ways[here].add(there)
        return ways

    def arrows_up(self) -> list[Arrow]:
        """The imports that lead to the same floor or a higher one."""
        floor = {room: number for number, rooms in enumerate(FLOORS.get(self.package, ())) for room in rooms}
        return [
            arrow
            for arrow in self.arrows
            if (here := room_of(arrow.importer)) != (there := room_of(arrow.imported))
            if here in floor and there in floor and floor[there] <= floor[here]
        ]

    def circles(self) -> list[list[str]]:
        """The groups of rooms that lead to one another."""
        return _groups(self.ways())

    def module_circles(self) -> list[list[str]]:
        """The groups of modules that import one another, wherever in them the imports are."""
        below: dict[str, set[str]] = {module: set() for module in self.trees}
        for importer, imported in self.arrows:
            below[importer].add(imported)
        return _groups(below)

    def floors(self) -> list[list[str]]:
        """The rooms by how many lie below them one under the other, the lowest first; a circle is on one floor."""
        ways = self.ways()
        circle = {room: frozenset(group) for group in self.circles() for room in group}

        @cache
        def height(room: str) -> int:
            group = circle.get(room, frozenset({room}))
            return 1 + max((height(other) for each in group for other in ways[each] - group), default=-1)

        floors: dict[int, list[str]] = defaultdict(list)
        for room in self.rooms:
            floors[height(room)].append(room)
        return [floors[number] for number in sorted(floors)]

    def longest_chain(self) -> list[str]:
        """The longest chain of modules of which each imports the next: the way from a command to a system call."""
        below: dict[str, set[str]] = defaultdict(set)
        for importer, imported in self.arrows:
            below[importer].add(imported)

        @cache
        def chain(module: str) -> tuple[str, ...]:
            ways = [chain(other) for other in below[module]]
            return (module, *max(ways, key=len, default=()))

        longest = max([chain(module) for module in self.trees], key=len)
        return list(longest)

    def functions(self) -> Iterator[str]:
        """The names of functions and methods, without those that Python gives."""
        for tree in self.trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("__"):
                    yield node.name

    def classes(self) -> Iterator[tuple[str, str]]:
        """Every class, with its module."""
        for module, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    yield node.name, f"{self.package}.{module}"

    def _imports(self, module: str) -> Iterator[str]:
        folder = [self.package, *module.split(".")[:-1]]
        for node in ast.walk(self.trees[module]):
            if not isinstance(node, ast.ImportFrom):
                continue
            base = folder[: len(folder) - node.level + 1] if node.level else []
            path = [*base, *(node.module.split(".") if node.module else [])]
            if path[:1] != [self.package]:
                continue
            for alias in node.names:
                for name in (".".join([*path[1:], alias.name]), ".".join(path[1:])):
                    if name in self.trees and name != module:
                        yield name
                        break


def room_of(module: str) -> str:
    """The room that a module is in."""
    return module.partition(".")[0]


def classes_of_one_name(houses: list[House]) -> dict[str, list[str]]:
    """The names that several public classes have, with the modules of each."""
    modules = defaultdict(list)
    for house in houses:
        for name, module in house.classes():
            if not name.startswith("_"):
                modules[name].append(module)
    return {name: found for name, found in sorted(modules.items()) if len(found) > 1}


def _groups(ways: Mapping[str, set[str]]) -> list[list[str]]:
    reach = {start: _reachable(start, ways) for start in ways}
    groups = {tuple(sorted(b for b in reach[a] if a in reach[b])) for a in ways if a in reach[a]}
    return [list(group) for group in sorted(groups)]


def _reachable(start: str, ways: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = list(ways[start])
    while ahead:
        room = ahead.pop()
        if room not in seen:
            seen.add(room)
            ahead.extend(ways[room])
    return seen


def _print(root: Path) -> None:
    houses = [House(root, package) for package in PACKAGES]
    for house in houses:
        ways = house.ways()
        names = [name.strip("_") for name in house.functions()]
        chain = house.longest_chain()
        sizes = Counter(room_of(module) for module in house.trees)
        floors = house.floors()
        print(f"{house.package}/: {len(house.rooms)} rooms on {len(floors)} floors, {len(house.trees)} files")
        for number, rooms in reversed(list(enumerate(floors))):
            print(f"  {number:2} ", ", ".join(f"{r} ({sizes[r]})" if sizes[r] > 1 else r for r in rooms))
        print(f"  arrows between rooms: {sum(map(len, ways.values()))}")
        print(f"  arrows up: {len(house.arrows_up())}", *(f"{a} -> {b}" for a, b in house.arrows_up()))
        print(f"  circles: {len(house.circles())}", *(" <-> ".join(group) for group in house.circles()))
        print(f"  longest chain of imports: {len(chain)} files,", " > ".join(chain))
        print(f"  {len(names)} functions, {sum(map(len, names)) / len(names):.1f} letters in a name on average")
    same = classes_of_one_name(houses)
    print(f"public classes of one name: {len(same)}")
    for name, modules in same.items():
        print(f"  {name}: {', '.join(modules)}")


if __name__ == "__main__":
    _print(Path(sys.argv[1]) if sys.argv[1:] else ROOT)
