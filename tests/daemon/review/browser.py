"""The review page's server in this process, on a port of its own, and a browser to ask it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import uuid
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from daemon.commands.calling import operate
from daemon.commands.filters import FiledOutput
from daemon.journal.history import Wanted
from daemon.journal.records import Filing
from daemon.review.place import ReviewedOutput
from daemon.review.review import Served, door_for, serving
from daemon.review.serving import listen, parse_address
from models.deciding.rule import Fate
from tests.filing_desk import Desk
from tests.pictures import KINDS, save
from tests.processes import wait_for


class Answer(NamedTuple):
    """An answer: its status, its headers and its bytes."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Browser:
    """Asks the server as a browser does that was let in; ``cookie`` None: one that was not."""

    port: int
    cookie: str | None = None
    prefix: str = ""
    #: The socket behind a reverse proxy, and the name that this proxy has.
    socket: Path | None = None
    name: str = ""

    @property
    def host(self) -> str:
        return self.name or f"127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", self.prefix + path, None, headers)

    def post(self, path: str, content: object, **headers: str) -> Answer:
        usual = {"Origin": f"http://{self.host}", "Content-Type": "application/json"}
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self._ask("POST", self.prefix + path, body, usual | headers)

    def enter(self, path: str) -> Answer:
        """Follow a link, and keep the cookie."""
        answer = self._ask("GET", path, None, {})
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return answer

    def unsure(self) -> list[dict[str, Any]]:
        """The images of the pile."""
        return [image for group in self.get("/api/unsure").json()["groups"] for image in group["images"]]

    def decide(self, *decisions: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Send decisions, and wait until they are settled."""
        sent = [{"key": uuid.uuid4().hex, **decision} for decision in decisions]
        answer = self.post("/api/decisions", {"decisions": sent})
        assert answer.status == 200, answer.content
        keys = ",".join(decision["key"] for decision in sent)
        return self.settled(keys)

    def settled(self, keys: str) -> list[dict[str, Any]]:
        states: list[dict[str, Any]] = []

        def are_settled() -> bool:
            states[:] = self.get(f"/api/changes?since=0&keys={keys}").json()["decisions"]
            return all(state["state"] != "waiting" for state in states)

        wait_for(are_settled, "the decisions are carried out")
        return states

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        if self.socket is not None:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(self.socket))
        try:
            usual = {"Host": self.host} | ({} if self.cookie is None else {"Cookie": self.cookie})
            connection.request(method, path, body, {**usual, **headers})
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()


@dataclass
class Reviewed:
    """An output with a journal, and images in it."""

    desk: Desk
    state: Path
    is_running: Callable[[], bool] = lambda: False
    operate: Any = None

    def place(self) -> ReviewedOutput:
        options = Namespace(output=str(self.desk.output), state_dir=str(self.state), config=None)
        place = FiledOutput(options)
        return ReviewedOutput(
            settings=place.settings,
            journal=place.journal,
            roots=place.roots,
            operate=self.operate or (lambda method, params: operate(place, method, params)),
            is_running=self.is_running,
        )

    def file(self, name: str, folder: str = "others", *, label: str = "cat", confidence: float = 0.4) -> Filing:
        """File one picture, as a daemon does."""
        path = save(KINDS[0], sum(map(ord, name)), self.desk.inbox / "drawn.png")
        path = path.rename(self.desk.inbox / name)
        fate = Fate.UNSURE if folder == "others" else Fate.SURE
        result = self.desk.file_one(path, folder, label=label, confidence=confidence, fate=fate, model_digest="ab" * 32)
        assert result.destination is not None, result
        return result.row

    def rows(self) -> list[Filing]:
        journal = self.desk.journal()
        try:
            return journal.history(Wanted())
        finally:
            journal.close()


class Page(NamedTuple):
    """A server that runs, and a browser that was let in."""

    served: Served
    browser: Browser

    def stranger(self) -> Browser:
        """Another browser, that was not let in."""
        return replace(self.browser, cookie=None)

    def link(self) -> str:
        return f"{self.browser.prefix}/enter/{self.served.keys.new_link()}"


@contextmanager
def open_page(
    reviewed: Reviewed, *, prefix: str = "", listen_at: str = "127.0.0.1:0", hosts: Sequence[str] = ()
) -> Iterator[Page]:
    """Run a server until the end of the block; the browser calls it by the first of the hosts, if there are any."""
    address = parse_address(listen_at)
    listener = listen(address)
    with listener, serving(reviewed.place(), door_for(address, listener, hosts, prefix)) as served:
        thread = threading.Thread(target=served.server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_for(lambda: served.server.started, "the server is started")
            port = 0 if address.path is not None else listener.getsockname()[1]
            browser = Browser(port, prefix=prefix, socket=address.path, name=hosts[0] if hosts else "")
            page = Page(served, browser)
            page.browser.enter(page.link())
            yield page
        finally:
            served.server.should_exit = True
            thread.join()
