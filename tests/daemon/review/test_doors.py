"""By which names and through which doors the page is reached, and what a link to it begins with."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from daemon.__main__ import main
from daemon.commands.calling import EXIT_NOT_RUNNING
from daemon.review.review import door_for
from daemon.review.serving import base_of, listen, parse_address
from models.errors import UserError
from tests.daemon.review.browser import Reviewed, open_page


def test_a_proxy_reaches_it_by_a_socket_below_a_prefix(reviewed: Reviewed, tmp_path: Path) -> None:
    path = tmp_path / "page.socket"
    with open_page(reviewed, prefix="/photos", listen_at=f"unix:{path}", hosts=["photos.example"]) as page:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert page.browser.cookie is not None
        image = page.browser.unsure()[0]
        decision = {"kind": "label", "id": image["id"], "version": image["version"], "to": "cat"}
        origin = {"Origin": "https://photos.example"}
        sent = page.browser.post("/api/decisions", {"decisions": [{**decision, "key": "by-a-proxy"}]}, **origin)
        assert sent.status == 200
        assert page.browser.settled("by-a-proxy")[0]["state"] == "done"
        assert page.browser.get("/api/unsure", Host="evil.example").status == 403
        html = page.browser.get("/").content.decode()
        assert 'data-prefix="/photos"' in html
        assert 'src="/page/' not in html
        assert page.stranger().enter(page.link()).headers["location"] == "/photos/"


def test_a_raw_request_by_the_socket_is_answered_and_its_cookie_is_for_the_prefix(
    reviewed: Reviewed, tmp_path: Path
) -> None:
    path = tmp_path / "page.socket"
    with (
        open_page(reviewed, prefix="/photos", listen_at=f"unix:{path}", hosts=["photos.example"]) as page,
        socket.socket(socket.AF_UNIX) as raw,
    ):
        raw.connect(str(path))
        head = f"GET {page.link()} HTTP/1.1\r\nHost: photos.example\r\nX-Forwarded-Proto: https\r\n\r\n"
        raw.sendall(head.encode())
        answer = raw.recv(65536).decode()
        assert answer.startswith("HTTP/1.1 303")
        assert "set-cookie: imagesortd=" in answer
        assert "Path=/photos; " in answer
        assert "; Secure" in answer


def test_a_socket_that_nobody_listens_at_is_replaced_and_another_is_not(tmp_path: Path) -> None:
    address = parse_address(f"unix:{tmp_path / 'page.socket'}")
    listen(address).close()
    with listen(address), pytest.raises(UserError, match="by a review page that runs already: .*review --link"):
        listen(address)
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(UserError, match="cannot be listened at"):
        listen(parse_address(f"unix:{file}"))
    assert file.read_text() == "kept"


def test_the_names_that_were_given_are_answered_and_no_other(reviewed: Reviewed) -> None:
    with open_page(reviewed, hosts=["photos.example", "nas.local:443", "[fd00::1]"]) as page:
        port = page.browser.port
        known = ["photos.example", f"photos.example:{port}", "PHOTOS.example", "nas.local", "[fd00::1]"]
        for host in [*known, f"[fd00::1]:{port}", f"127.0.0.1:{port}", f"localhost:{port}"]:
            assert page.browser.get("/api/session", Host=host).status == 200, host
        for host in ("photos.example:1", "a.photos.example", "photos.example.", f"nas.local:{port}", "127.0.0.1", ""):
            assert page.browser.get("/api/session", Host=host).status == 403, host
        origins = {"https://photos.example": 200, f"http://photos.example:{port}": 200, "https://nas.local": 200}
        for origin, status in (origins | {"https://photos.example.evil": 403, "https://evil": 403}).items():
            assert page.browser.post("/api/decisions", {"decisions": []}, Origin=origin).status in (status, 400), origin


def test_a_browser_that_leaves_out_the_usual_port_is_answered() -> None:
    class Listener(socket.socket):
        def getsockname(self) -> tuple[str, int]:
            return "127.0.0.1", 80

    with Listener() as listener:
        assert {"localhost", "127.0.0.1"} <= door_for(parse_address("127.0.0.1:80"), listener, [], "").hosts


BASES = [
    ("127.0.0.1:8470", [], "http://127.0.0.1:8470"),
    ("[::1]:8470", [], "http://[::1]:8470"),
    ("127.0.0.1:8470", ["photos.example"], "https://photos.example"),
    ("unix:/run/page", ["photos.example:8443"], "https://photos.example:8443"),
    ("0.0.0.0:8470", ["nas.local:8470"], "http://nas.local:8470"),
    ("192.168.0.5:8470", [], "http://192.168.0.5:8470"),
]


@pytest.mark.parametrize(("listen_at", "hosts", "base"), BASES)
def test_a_link_leads_where_a_browser_gets_an_answer(listen_at: str, hosts: list[str], base: str) -> None:
    address = parse_address(listen_at)
    assert base_of(address, address.port, hosts) == base


@pytest.mark.parametrize("listen_at", ["0.0.0.0:8470", "[::]:8470", "unix:page.socket"])
@pytest.mark.parametrize("more", [[], ["--link"]])
def test_an_address_that_no_browser_can_call_wants_a_name(reviewed: Reviewed, listen_at: str, more: list[str]) -> None:
    output = ["--output", str(reviewed.desk.output), "--state-dir", str(reviewed.state)]
    with pytest.raises(UserError, match="--host photos.example"):
        main(["review", "--listen", listen_at, *more, *output])


def test_a_new_link_has_the_name_and_the_prefix_of_a_proxy_and_leads_to_a_page_that_runs(
    reviewed: Reviewed, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["--output", str(reviewed.desk.output), "--state-dir", str(reviewed.state)]
    at = f"unix:{reviewed.state / 'page.socket'}"
    door = ["--listen", at, "--host", "Photos.example", "--prefix", "/photos"]
    with listen(parse_address(at)):
        assert main(["review", "--link", *door, *output]) == 0
    assert capsys.readouterr().out.startswith("https://photos.example/photos/enter/")
    with pytest.raises(UserError, match="no review page runs at unix:.*: start one with .* review") as refused:
        main(["review", "--link", *door, *output])
    assert refused.value.exit_code == EXIT_NOT_RUNNING
    with listen(parse_address("127.0.0.1:0")) as listener:
        at = f"127.0.0.1:{listener.getsockname()[1]}"
        assert main(["review", "--link", "--listen", at, *output]) == 0
    with pytest.raises(UserError, match=f"no review page runs at {at}"):
        main(["review", "--link", "--listen", at, *output])
