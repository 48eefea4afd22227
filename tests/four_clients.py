"""Four people who correct what a running daemon files, all at once, while pictures keep coming."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyEvent, InotifyFD, Mask

from daemon.control.client import ControlClient
from daemon.journal.history import Wanted
from daemon.journal.journal import read_history
from daemon.journal.records import State
from daemon.state import control_paths, journal_path
from models.errors import UserError
from tests.pictures import KINDS, save
from tests.processes import wait_for

CLIENTS = 4
#: The class that people move images to, beside those of the model.
NEW_CLASS = "검토"
#: Digest of a checkpoint that nobody has: resort only writes it down.
_DIGEST = "0" * 64
#: One picture of so many is cut short, and goes to the quarantine.
_CUT_SHORT = 20


@dataclass
class Station:
    """Folder with an inbox and an output in which a daemon runs, and the names of its pictures by their content."""

    folder: Path
    names: dict[str, str] = field(default_factory=dict)

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    @property
    def output(self) -> Path:
        return self.folder / "sorted"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def journal(self) -> Path:
        return journal_path(self.state, self.output)

    def connect(self) -> ControlClient:
        for path in control_paths(self.state, self.output):
            if path.exists():
                return ControlClient(path)
        raise AssertionError("the daemon has no socket")

    def put(self, number: int) -> float:
        """Rename a picture into the inbox; returns when that was."""
        name = f"{number}.jpg"
        picture = save(KINDS[number % len(KINDS)], number, self.folder / "outside" / name)
        if _is_cut_short(number):
            picture.write_bytes(picture.read_bytes()[:-200])
        self.names[sha256(picture.read_bytes()).hexdigest()] = name
        picture.rename(self.inbox / name)
        return time.perf_counter()

    def places(self) -> dict[str, list[Path]]:
        """Where each content lies now, in the inbox and below the output."""
        found: dict[str, list[Path]] = {}
        for folder in (self.inbox, self.output):
            for path in sorted(folder.rglob("*")):
                if path.is_file() and not path.name.startswith(".") and path.suffix != ".json":
                    found.setdefault(sha256(path.read_bytes()).hexdigest(), []).append(path)
        return found


class Arrivals:
    """Lets pictures come, and hears when each leaves the inbox for the first time."""

    def __init__(self, station: Station, pause: tuple[float, float] = (0.15, 0.45)) -> None:
        self._station = station
        self._pause = pause
        self._put: dict[str, float] = {}
        self._gone: dict[str, float] = {}
        self._chance = random.Random(1)
        self.count = 0
        station.inbox.mkdir(parents=True, exist_ok=True)
        self._reader = InotifyFD()
        self._reader.start()
        self._reader.add_callback(os.fsencode(station.inbox), Mask(InotifyConstants.IN_MOVED_FROM), self, CallbackId(1))

    def on_event(self, event: InotifyEvent) -> None:
        self._gone.setdefault(os.fsdecode(event.name), time.perf_counter())

    def on_queue_overflow(self) -> None:
        raise AssertionError("a few pictures a second")

    def on_watch_deleted(self, _: object) -> None:
        """At the end."""

    def come(self, count: int) -> list[str]:
        """Let so many come, one after the other, and wait until they are filed; returns their names."""
        names = []
        for _ in range(count):
            time.sleep(self._chance.uniform(*self._pause))
            name = f"{self.count}.jpg"
            self._put[name] = self._station.put(self.count)
            self.count += 1
            names.append(name)
        wait_for(lambda: all(name in self._gone for name in names), f"filed: {names}")
        return names

    def seconds(self, names: list[str]) -> list[float]:
        """How long each was in the inbox; those cut short are left out, which the daemon gives time to be completed."""
        return [self._gone[name] - self._put[name] for name in names if not _is_cut_short(int(Path(name).stem))]

    def close(self) -> None:
        self._reader.stop()
        self._reader.join()


class Client:
    """One person, who deals with every fourth picture, and checks each answer on the disk."""

    def __init__(self, station: Station, number: int) -> None:
        self._station = station
        self._number = number
        self._chance = random.Random(number)
        self._held: dict[str, Path] = {}
        self.wrong: list[str] = []
        self.calls: Counter[str] = Counter()
        self.slowest = 0.0

    def work(self, calls: int, until: threading.Event) -> None:
        """Make so many calls, or as many as there is time for."""
        while sum(self.calls.values()) < calls and not until.is_set():
            try:
                self._call_something()
            except UserError as error:
                self.wrong.append(str(error))
            time.sleep(self._chance.uniform(0.0, 0.4))

    def _call_something(self) -> None:
        what = self._chance.choice(["undo", "undo", "release", "relabel", "relabel", "resort", "retry"])
        if what == "retry":
            self._ask("retry", {})
        elif what == "release" and self._held:
            name, path = self._held.popitem()
            (item,) = self._ask("release", {"files": [_given(path)]})
            self._expect(item["outcome"] == "released", f"release {name}: {item}")
        else:
            image = self._filed()
            if image is None:
                return
            if what == "undo":
                self._undo(image)
            elif what == "relabel":
                self._relabel(image)
            elif what == "resort":
                self._resort(image)

    def _filed(self) -> Path | None:
        """Choose a filed picture of this person's."""
        paths = [
            path
            for path in self._station.output.glob("*/*.jpg")
            if path.stem.isdigit() and int(path.stem) % CLIENTS == self._number
        ]
        return self._chance.choice(paths) if paths else None

    def _undo(self, path: Path) -> None:
        content = path.read_bytes()
        items = self._ask("undo", {"file": str(path), "path": str(path)})
        for item in items:
            if item["outcome"] != "undone":
                continue
            back = Path(str(item["back"]))
            self._expect(back.read_bytes() == content, f"undo {path}: {item}")
            if back.parent == self._station.inbox:
                self._held[back.name] = back
        self._expect(any(item["outcome"] == "undone" for item in items), f"undo {path}: {items}")

    def _relabel(self, path: Path) -> None:
        content = path.read_bytes()
        (item,) = self._ask("relabel", {"files": [_given(path)], "to": NEW_CLASS, "new": True})
        lies = Path(str(item["destination"]))
        self._expect(lies.parent.name == NEW_CLASS and lies.read_bytes() == content, f"relabel {path}: {item}")

    def _resort(self, path: Path) -> None:
        content = path.read_bytes()
        wanted = Wanted(name=str(path), states=[State.DONE], as_written=True)
        filing = next((row for row in read_history(self._station.journal, wanted, 1) if row.destination == path), None)
        if filing is None:
            return  # only its return was written
        move = {"filing": filing.id, "label": self._chance.choice(["개", "wolf"]), "confidence": 0.5}
        (item,) = self._ask(
            "resort", {"moves": [move], "digest": _DIGEST, "run": f"20260101T000000-{self._number:08x}"}
        )
        if item["outcome"] == "labelled otherwise":
            self._expect(path.read_bytes() == content, f"resort {path}: {item}")
        else:
            lies = Path(str(item["destination"]))
            self._expect(lies.parent.name == move["label"] and lies.read_bytes() == content, f"resort {path}: {item}")

    def _ask(self, method: str, params: dict[str, object]) -> list[dict[str, object]]:
        begun = time.perf_counter()
        with self._station.connect() as daemon:
            items = [item for item in daemon.call(method, params) if item]
        self.slowest = max(self.slowest, time.perf_counter() - begun)
        self.calls[method] += 1
        return items

    def _expect(self, is_true: bool, answer: str) -> None:
        if not is_true:
            self.wrong.append(answer)


def work_at_once(clients: list[Client], calls: int, until: threading.Event) -> list[threading.Thread]:
    """Start all clients, each with its share of the calls; returns their threads."""
    threads = [
        threading.Thread(target=client.work, args=(calls // len(clients), until), name="client") for client in clients
    ]
    for thread in threads:
        thread.start()
    return threads


def release_all(station: Station) -> None:
    """Let all that is held be filed again."""
    with station.connect() as daemon:
        for _ in daemon.call("release", {"all": True}):
            pass
    wait_for(lambda: not list(station.inbox.glob("*.jpg")), "an empty inbox")


def losses(station: Station) -> dict[str, list[Path]]:
    """The pictures that lie nowhere, or twice, by name."""
    places = station.places()
    return {name: found for content, name in station.names.items() if len(found := places.get(content, [])) != 1}


def _is_cut_short(number: int) -> bool:
    return number % _CUT_SHORT == 7


def _given(path: Path) -> dict[str, str]:
    return {"name": str(path), "path": str(path)}
