"""How quick the review page is: ``python -m tests.benchmarks.review``, ``--json FILE`` for the figures.

A real Chromium works off a real pile behind a real server. Measured are: from the call of the page to its first
picture; from a key to the next picture on the screen, in the grid, among thousands that were fetched, and in the large
view; two hundred pictures reviewed, each after the paint of the one before; from a decision in one page until the
picture is gone from another; and, beside pictures that arrive at a daemon which is started anew in the middle, one
decision after the other: how many are lost, and how long arriving pictures take with and without them. The browser
takes of the same processor: decisions are also sent without one, by a client that asks what a page asks. Needs
Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from daemon.state import journal_path
from models.deciding.rule import Fate
from tests.benchmarks.latency import arrive, started
from tests.daemon.review.browser import Browser
from tests.daemon.review.page.browser import KEY_TO_PAINT, TILE, chromium, context_of
from tests.filing_desk import make_desk
from tests.pictures import KINDS, draw
from tests.processes import environment, memory, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium
    from playwright.sync_api import Page

REVIEWED, BATCH = 200, 500
#: Pages of pictures that are fetched before keys are pressed among many.
PAGES = 50
#: Between two keys of those that come as a quick person presses them, seven a second. The others come thirty a second.
PAUSE_MS = 100
#: Pictures that arrive before any is measured: the first ones at a daemon take longer, decisions or not.
WARM_UP = 10
PORT = 8471
STATE = ("--state-dir", "state")


@dataclass
class Figures:
    """Milliseconds, but for what is named otherwise."""

    pile: int
    first_picture_s: float
    key_to_paint_p50: float
    key_to_paint_p95: float
    key_to_paint_of_many_p50: float
    key_to_paint_of_many_p95: float
    key_to_paint_large_p50: float
    key_to_paint_large_p95: float
    key_to_paint_paced_p50: float
    key_to_paint_paced_p95: float
    reviewed_200_s: float
    seen_in_other_page_most: float
    memory_mb: float
    decisions: int
    decisions_lost: int
    filed_p50: float
    filed_p99: float
    filed_beside_decisions_without_browser_p50: float
    filed_beside_decisions_without_browser_p99: float
    filed_beside_decisions_p50: float
    filed_beside_decisions_p99: float


#: What each figure should be at most.
GOALS = {
    "first_picture_s": 1,
    "key_to_paint_p95": 50,
    "key_to_paint_of_many_p95": 50,
    "key_to_paint_large_p95": 50,
    "key_to_paint_paced_p95": 50,
    "reviewed_200_s": 180,
    "seen_in_other_page_most": 1000,
    "memory_mb": 150,
    "decisions_lost": 0,
}


class Server(NamedTuple):
    """The server of the page; ``link`` lets one browser in."""

    process: subprocess.Popen[str]
    folder: Path

    def link(self) -> str:
        command = [sys.executable, "-m", "daemon", "review", "--link", "--listen", f"127.0.0.1:{PORT}", *STATE]
        done = subprocess.run(command, cwd=self.folder, env=environment(), capture_output=True, text=True, check=True)
        return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pile", type=int, default=10_000)
    parser.add_argument("--decisions", type=int, default=300)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as folder, chromium() as browser:
        figures = measure(Path(folder), browser, options.pile, options.decisions)
    for name, value in asdict(figures).items():
        goal = f"   (at most {GOALS[name]})" if name in GOALS else ""
        print(f"{name:>42} {value:10.2f}{goal}")
    if options.json:
        options.json.write_text(json.dumps(asdict(figures), indent=1))


def measure(folder: Path, browser: Chromium, pile: int, decisions: int) -> Figures:
    """Everything, one after the other."""
    fill(folder, pile)
    with serving(folder) as server:
        page = context_of(browser, 1280).new_page()
        first = first_picture(page, server.link())
        began = time.perf_counter()
        grid = [key_to_paint(page, "Enter") for _ in range(REVIEWED // 2)]
        page.keyboard.press("Space")
        page.wait_for_timeout(500)
        large = [key_to_paint(page, "Enter") for _ in range(REVIEWED // 2)]
        page.keyboard.press("Escape")
        reviewed = time.perf_counter() - began
        load_many(page)
        many = [key_to_paint(page, "Enter") for _ in range(REVIEWED // 4)]
        paced = [key_to_paint(page, "Enter", PAUSE_MS) for _ in range(REVIEWED // 2)]
        settle(page)
        other = context_of(browser, 1280).new_page()
        first_picture(other, server.link())
        seen = [1000 * seconds_until_seen(page, other) for _ in range(10)]
        used = memory([server.process.pid]) / (1 << 20)
        other.context.close()
        usual, beside_client = decide_without_browser(folder, server, decisions // 2, page)
        lost, beside = decide_beside_arrivals(folder, page, decisions)
    return Figures(
        pile, first, *middle_and_95(grid), *middle_and_95(many), *middle_and_95(large), *middle_and_95(paced),
        reviewed, max(seen), used, decisions, lost,
        *middle_and_99(usual), *middle_and_99(beside_client), *middle_and_99(beside),
    )  # fmt: skip


def fill(folder: Path, count: int) -> None:
    """File pictures that all differ into the pile, as a daemon does."""
    desk = make_desk(folder)
    desk.output.mkdir()
    desk = replace(desk, journal_path=journal_path(folder / "state", desk.output))
    for start in range(0, count, BATCH):
        decisions = []
        for number in range(start, min(start + BATCH, count)):
            path = desk.inbox / f"IMG_{number:05}.jpg"
            draw(KINDS[number % 3], number).save(path, quality=85)
            chance = 0.2 + number % 40 / 100
            decisions.append(
                desk.decide(
                    path, "others", label=("cat", "dog", "car")[number % 3], confidence=chance, fate=Fate.UNSURE
                )
            )
        desk.file(decisions)
    for name in ("cat", "dog", "car"):
        (desk.output / name).mkdir()


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """The server of the page, as a process of its own."""
    command = [sys.executable, "-m", "daemon", "review", "--listen", f"127.0.0.1:{PORT}", *STATE]
    process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield Server(process, folder)
    finally:
        process.terminate()
        process.wait()


def first_picture(page: Page, link: str) -> float:
    """The seconds until the first picture is there."""
    began = time.perf_counter()
    page.goto(link, wait_until="commit")
    while not page.evaluate(f"Boolean(document.querySelector('{TILE} img')?.naturalWidth)"):
        page.wait_for_timeout(5)
    return time.perf_counter() - began


def key_to_paint(page: Page, key: str, pause_ms: float = 0) -> float:
    """Press a key, and wait until the next picture has been painted, and then for a pause; milliseconds until then."""
    milliseconds: float = page.evaluate(KEY_TO_PAINT, key)
    if pause_ms:
        page.wait_for_timeout(pause_ms)
    return milliseconds


def load_many(page: Page) -> None:
    """Go to the last picture again and again, so that more are fetched each time, and back to the first."""
    for _ in range(PAGES):
        page.keyboard.press("End")
        page.wait_for_timeout(200)
    page.keyboard.press("Home")
    page.wait_for_timeout(1000)


def settle(page: Page) -> None:
    """Wait until the server has carried out all decisions."""
    page.wait_for_timeout(1500)
    while page.inner_text("#state"):
        page.wait_for_timeout(100)


def seconds_until_seen(page: Page, other: Page) -> float:
    """Decide on the first picture of both pages, and wait until it is gone from the other one."""
    number = page.get_attribute(f'{TILE}[tabindex="0"]', "data-id")
    began = time.perf_counter()
    page.keyboard.press("Enter")
    while other.query_selector(f'{TILE}[data-id="{number}"]'):
        time.sleep(0.005)
    return time.perf_counter() - began


def decide_without_browser(folder: Path, server: Server, count: int, page: Page) -> tuple[list[float], list[float]]:
    """Let pictures arrive, and again beside a decision a second of a client that is no browser; return their times."""
    page.goto("about:blank")
    client = Browser(PORT)
    client.enter(urlsplit(server.link()).path)
    over = threading.Event()
    with started(folder, *STATE):
        usual = list(arrive(folder, WARM_UP + 100, "usual"))[WARM_UP:]
        threads = [threading.Thread(target=act, args=(client, over)) for act in (decide_by_client, hear)]
        for thread in threads:
            thread.start()
        beside = list(arrive(folder, count, "beside-client"))
        over.set()
        for thread in threads:
            thread.join()
    first_picture(page, server.link())
    return usual, beside


def decide_by_client(client: Browser, over: threading.Event) -> None:
    """Decide once a second, and look at the pile and the classes as a page does after it has heard of changes."""
    while not over.wait(1):
        (image, *_) = client.unsure()
        decision = {
            "kind": "label",
            "key": uuid.uuid4().hex,
            "id": image["id"],
            "version": image["version"],
            "to": "cat",
        }
        client.post("/api/decisions", {"decisions": [decision]})
        client.get("/api/classes")


def hear(client: Browser, over: threading.Event) -> None:
    """Ask for changes, one question after another."""
    revision = 0
    while not over.is_set():
        revision = client.get(f"/api/changes?since={revision}").json()["revision"]


def decide_beside_arrivals(folder: Path, page: Page, count: int) -> tuple[int, list[float]]:
    """Decide once a second beside pictures that arrive; return how many were lost, and the times of the arrivals."""
    beside: list[float] = []
    before = in_pile(folder)
    for number, decisions in enumerate((count // 2, count - count // 2 - 5)):
        with started(folder, *STATE):
            list(arrive(folder, WARM_UP, f"warm-{number}"))
            arriving = threading.Thread(
                target=lambda n=number: beside.extend(arrive(folder, count // 2, f"beside-{n}"))
            )
            arriving.start()
            decide(page, decisions)
            arriving.join()
            if number:
                settle(page)
                is_done = lambda: before - in_pile(folder) == count or not page.inner_text("#state")  # noqa: E731
                wait_for(is_done, "all is done", seconds=60)
        if not number:
            decide(page, 5)  # nobody is there
    return count - (before - in_pile(folder)), beside


def decide(page: Page, count: int) -> None:
    for _ in range(count):
        page.keyboard.press("Enter")
        page.wait_for_timeout(1000)


def in_pile(folder: Path) -> int:
    """How many pictures of the first ones lie in the pile."""
    return sum(1 for path in (folder / "sorted" / "others").iterdir() if path.name.startswith("IMG_"))


def middle_and_95(values: list[float]) -> tuple[float, float]:
    return statistics.median(values), statistics.quantiles(values, n=20, method="inclusive")[18]


def middle_and_99(seconds: list[float]) -> tuple[float, float]:
    values = [1000 * each for each in seconds]
    return statistics.median(values), statistics.quantiles(values, n=100, method="inclusive")[98]


if __name__ == "__main__":
    main()
