"""A server of the page without a server: it answers the browser's requests in the test's own process."""

from __future__ import annotations

import io
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from daemon.review.rendering import PAGE, render_page
from daemon.review.words import words
from models.text.language import Language, speaking
from tests.processes import PATIENCE
from tests.scenes import SCENES, scene

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

HOST = "imagesortd.test"
ADDRESS = f"http://{HOST}/"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
}
_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
KINDS = tuple(SCENES)
CLASSES = (*KINDS[:-1], "나무")
#: Names as they may come, as the server escapes them.
ODD_NAMES = (
    '<img src=x onerror="document.title=1">.jpg',
    "\\u202egpj.exe",
    "이름이 아주 긴 사진 " * 12 + ".jpg",
    "</script><script>alert(1)</script>.png",
    "caf\\xe9.jpg",
)
#: Classes of the confusion matrix, at most.
MOST_IN_MATRIX = 40
#: The id of the group of images that are in none yet.
NEW = 99
NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


@cache
def picture(number: int, side: int) -> bytes:
    """Draw the thumbnail of an image."""
    content = io.BytesIO()
    scene(KINDS[number % len(KINDS)], number, side).save(content, "JPEG", quality=80)
    return content.getvalue()


@dataclass
class Stub:
    """The answers. ``decided`` keeps every decision by its key; ``is_down`` lets all requests fail.

    ``refuses_back``: why nothing can be taken back. ``loses``: batches that are lost with a server that is restarted.
    ``ungrouped``: images that have yet to be looked at before any is grouped. ``drawn``: pictures that differ.
    """

    count: int = 40
    language: Language = "en"
    is_down: bool = False
    refuses: str | None = None
    refuses_late: str | None = None
    refuses_back: str | None = None
    loses: int = 0
    classes: tuple[str, ...] = CLASSES
    odd_names: bool = True
    audits: int = 1
    model: str = "2026-03-01_093000"
    fits: int = 1
    ungrouped: int = 0
    trouble: str | None = None
    drawn: int = 60
    decided: dict[str, dict[str, Any]] = field(default_factory=dict)
    batches: list[int] = field(default_factory=list)
    revision: int = 1
    answers: dict[int, bool] = field(default_factory=dict)
    waiting_routes: list[Route] = field(default_factory=list)

    def serve(self, page: Page) -> None:
        """Answer what a page asks."""
        page.route("**/*", self._answer)

    def open(self, page: Page, view: str = "") -> None:
        """Show a view."""
        self.serve(page)
        page.goto(f"{ADDRESS}{view}")

    def decisions(self, kind: str = "label") -> list[dict[str, Any]]:
        """The decisions of a kind that were not taken back."""
        back = {decision["of"] for decision in self.decided.values() if decision["kind"] == "take-back"}
        return [d for key, d in self.decided.items() if d["kind"] == kind and key not in back]

    def tell(self, **changes: object) -> None:
        """Let the page hear of changes."""
        self.revision += 1
        usual: dict[str, object] = {"decisions": [], "decided": [], "waiting": 0, "trouble": None, "daemon": True}
        usual["model"] = self.model
        while self.waiting_routes:
            route = self.waiting_routes.pop()
            route.fulfill(status=200, json={"revision": self.revision, **usual, **changes})

    def image(self, number: int) -> dict[str, Any]:
        """Describe an image."""
        sure = random.Random(number).uniform(0.2, 0.6)
        name = ODD_NAMES[number] if self.odd_names and number < len(ODD_NAMES) else f"IMG_{number:04}.jpg"
        return {
            "id": number,
            "version": f"{number:08x}",
            "name": name,
            "folder": "others",
            "label": None if number % 11 == 10 else self.classes[number % len(self.classes)],
            "confidence": None if number % 11 == 10 else sure,
            "time": (NOW + timedelta(minutes=number)).isoformat(),
            "waiting": None,
        }

    def left(self, count: int | None = None) -> list[int]:
        """The images that no decision was made on."""
        gone = {d["id"] for kind in ("label", "undo", "retry", "audit") for d in self.decisions(kind)}
        return [number for number in range(self.count if count is None else count) if number not in gone]

    def _answer(self, route: Route) -> None:
        address = urlsplit(route.request.url)
        if self.is_down or address.netloc != HOST:
            return route.abort()
        path = address.path
        if path == "/":
            with speaking(self.language):
                html = render_page(prefix="")
            return route.fulfill(status=200, body=html, headers={"content-type": "text/html", **HEADERS})
        if path.startswith("/page/"):
            content = (PAGE / path.removeprefix("/page/")).read_bytes()
            return route.fulfill(status=200, body=content, content_type=_TYPES[path.rpartition(".")[2]])
        if path.startswith("/thumbnails/"):
            number, side = (int(part) for part in path.split("/")[-2:])
            return route.fulfill(status=200, body=picture(number % self.drawn, side), content_type="image/jpeg")
        return self._answer_api(route, path.removeprefix("/api/"), dict(parse_qsl(address.query)))

    def _answer_api(self, route: Route, name: str, query: Mapping[str, str]) -> None:
        if name == "changes":
            if int(query["since"]) >= self.revision:
                self.waiting_routes.append(route)
                return None
            self.revision -= 1
            self.waiting_routes.append(route)
            asked = [key for key in query.get("keys", "").split(",") if key]
            became = "unknown" if self.refuses_late is None else "refused"
            return self.tell(decisions=[{"key": key, "state": became, "says": self.refuses_late} for key in asked])
        if name == "decisions":
            return self._decide(route, json.loads(route.request.post_data or ""))
        answer: dict[str, Callable[[Mapping[str, str]], object]] = {
            "session": self._session,
            "words": self._words,
            "classes": lambda _: {"classes": [self._class(one) for one in self.classes], "others": "others"},
            "unsure": self._unsure,
            "unsure/group": lambda query: self._page(self._group(int(query["group"])), query),
            "class": lambda query: self._page(self._group(self.classes.index(query["name"])), query),
            "live": lambda query: self._page(self.left()[::-1], query),
            "quarantine": self._quarantine,
            "audits": lambda _: (
                {"audits": [*map(self._summary, range(self.audits))]}
                if route.request.method == "GET"
                else self._audit()
            ),
            "audit": lambda _: self._audit(),
            "model": lambda _: self._model(),
            "model/cell": lambda _: {"images": [self._learnt(n) for n in range(8)], "next": None},
            "model/task": lambda _: {"task": "learn", "state": "running", "says": "learning"},
        }
        return route.fulfill(status=200, json=answer[name](query))

    def _decide(self, route: Route, asked: dict[str, Any]) -> None:
        self.batches.append(len(asked["decisions"]))
        is_lost = self.loses > 0
        self.loses -= is_lost
        states = []
        for decision in asked["decisions"]:
            says = (self.refuses_back if decision["kind"] == "take-back" else None) or self.refuses
            if not says and not is_lost:
                self.decided.setdefault(decision["key"], decision)
            state = "refused" if says else "waiting" if self.refuses_late or is_lost else "done"
            states.append({"key": decision["key"], "state": state, "id": decision.get("id"), "says": says or ""})
        route.fulfill(status=200, json={"decisions": states, "revision": self.revision})

    def _session(self, _: Mapping[str, str]) -> object:
        return {
            "prefix": "",
            "language": self.language,
            "output": "sorted",
            "others": "others",
            "daemon": True,
            "revision": self.revision,
            "threshold": 0.6,
            "model": self.model,
            "most_decisions": 200,
        }

    def _words(self, _: Mapping[str, str]) -> object:
        with speaking(self.language):
            return words()

    def _class(self, name: str) -> object:
        return {"name": name, "count": 120 + 7 * len(name), "is_learnt": True, "is_inner": False}

    def _group(self, number: int) -> list[int]:
        if number == NEW:
            return self.left()
        return [n for n in self.left() if n % len(KINDS) == number]

    def _unsure(self, query: Mapping[str, str]) -> object:
        images = int(query["images"])
        numbers = [NEW] if self.ungrouped else range(len(KINDS))
        groups = [
            {
                "id": number,
                "kind": "new" if number == NEW else "alike",
                "count": len(self._group(number)),
                "likely": [
                    {"label": self.classes[number % 5], "share": 0.6},
                    {"label": self.classes[(number + 1) % 5], "share": 0.22},
                ],
                "images": [self.image(n) for n in self._group(number)[:images]],
            }
            for number in numbers
            if self._group(number)
        ]
        total = len(self.left())
        return {
            "total": total,
            "grouping": 0 if self.ungrouped else 1,
            "is_grouped": not self.ungrouped,
            "progress": 0.0 if self.ungrouped else 1.0,
            "left": self.ungrouped,
            "trouble": self.trouble,
            "groups": groups,
            "next": None,
        }

    def _page(self, numbers: list[int], query: Mapping[str, str]) -> dict[str, Any]:
        after, limit = query.get("after"), int(query.get("limit", 60))
        start = numbers.index(int(after)) + 1 if after and int(after) in numbers else 0
        page = numbers[start : start + limit]
        end = page[-1] if start + limit < len(numbers) else None
        images = [{**self.image(n), "folder": self.classes[n % len(self.classes)]} for n in page]
        return {"images": images, "next": end, "total": len(numbers)}

    def _quarantine(self, query: Mapping[str, str]) -> object:
        page = self._page(self.left(min(12, self.count)), query)
        for image in page["images"]:
            image |= {"reason": "truncated", "says": "it is cut short", "note": "image file is truncated (12 bytes)"}
        reasons = [
            {"reason": "truncated", "count": 9, "says": "it is cut short"},
            {"reason": "empty", "count": 3, "says": "the file is empty"},
        ]
        return {**page, "reasons": reasons}

    def _estimate(self) -> dict[str, object]:
        answers = [decision["right"] for decision in self.decisions("audit")]
        wrong = len(answers) - sum(answers)
        known = bool(answers)
        return {
            "answered": len(answers),
            "wrong": wrong,
            "share": wrong / len(answers) if known else None,
            "low": 0.5 * wrong / len(answers) if known else None,
            "high": min(1.0, 2 * wrong / len(answers) + 3 / len(answers)) if known else None,
            "confidence": 0.95,
            "promised": 0.05,
            "is_broken": wrong > 2,
        }

    def _summary(self, number: int) -> object:
        wrong = (1, 0, 4, 1, 2)[number % 5]
        found = {"answered": 60, "wrong": wrong, "share": wrong / 60, "is_broken": wrong == 4}
        found |= {"low": wrong / 200, "high": (wrong + 3) / 60, "promised": 0.015 if wrong == 4 else 0.05}
        return {
            "id": f"a{number + 1}",
            "time": (NOW - timedelta(days=9 * number)).isoformat(),
            "since": NOW.isoformat(),
            "count": 60,
            "filed": 400,
            "overall": {**self._estimate(), **found},
        }

    def _audit(self) -> object:
        right = {decision["id"]: decision["right"] for decision in self.decisions("audit")}
        images = [
            {"image": self.image(n), "id": n, "filed_as": self.classes[n % len(self.classes)], "right": right.get(n)}
            for n in range(12)
        ]
        return {
            "id": "a1",
            "time": NOW.isoformat(),
            "since": NOW.isoformat(),
            "until": NOW.isoformat(),
            "seed": 1,
            "filed": 400,
            "images": images,
            "overall": self._estimate(),
            "classes": [{**self._estimate(), "label": name, "filed": 80} for name in self.classes],
        }

    def _model(self) -> object:
        shown = self.classes[:MOST_IN_MATRIX]
        matrix = [
            [(91, 2, 0, 1, 1)[abs(i - j) % 5] + (i + j) % 3 * (i != j) for j in range(len(shown))]
            for i in range(len(shown))
        ]
        other = self.classes[2]
        lineage = [
            {
                "parent_digest": "b" * 8,
                "run": "2026-03-01_093000",
                "time": NOW.isoformat(),
                "is_in_use": True,
                "can_roll_back": False,
            },
            {
                "parent_digest": None,
                "run": "2026-02-20_181500",
                "time": NOW.isoformat(),
                "is_in_use": False,
                "can_roll_back": True,
            },
        ]
        return {
            "digest": "c" * 8,
            "run": "2026-03-01_093000",
            "says": "",
            "inner_folders": [],
            "accuracy": 0.942,
            "classes": list(shown),
            "matrix": matrix,
            "is_excerpt": len(shown) < len(self.classes),
            "lesson": {"time": NOW.isoformat(), "before": 0.91, "after": 0.942, "images": 500, "says": ""},
            "lineage": lineage,
            "likely_wrong": [
                {**self._learnt(n), "advised": other, "advice": "so are its neighbours"}
                for n in range(4)
                if n not in {decision["id"] for decision in self.decisions("learnt")}
            ],
            "task": None,
        }

    def _learnt(self, number: int) -> dict[str, object]:
        name = f"{self.classes[1]}/IMG_{self.fits * 1000 + number}.jpg"
        actual, predicted = self.classes[1:3]
        version = f"{self.fits:04x}{number:060x}"
        given = {"number": number, "version": version, "name": name, "actual": actual, "predicted": predicted}
        return {**given, "confidence": 0.7, "is_labelled": False, "said": None, "advised": None, "advice": None}


def sent(stub: Stub, page: Page, count: int, kind: str = "label") -> list[dict[str, Any]]:
    """Wait until the server has that many decisions; it only answers while the page is waited for."""
    deadline = time.monotonic() + PATIENCE
    while len(stub.decisions(kind)) != count and time.monotonic() < deadline:
        page.wait_for_timeout(25)
    decisions = stub.decisions(kind)
    assert len(decisions) == count
    return decisions
