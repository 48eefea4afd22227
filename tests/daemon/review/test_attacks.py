"""Whoever should not see or decide anything does not, and no image harms the page."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from daemon.review import serving
from daemon.review.guard import LONGEST_BODY
from daemon.review.keys import LINK_SECONDS, Keys
from tests.daemon.review.browser import Browser, Page, Reviewed, open_page
from tests.pictures import KINDS, save
from tests.processes import wait_for

EVERYTHING = ["/api/session", "/api/unsure", "/api/changes?since=0", "/thumbnails/1/256", "/api/words", "/nowhere"]


def test_a_name_that_somebody_points_at_this_machine_is_refused(page: Page) -> None:
    names = ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", "[::1]:{port}", ""]
    for host in names:
        answer = page.browser.get("/api/unsure", Host=host.format(port=page.browser.port))
        assert answer.status == 403, host
        assert "one.png" not in answer.content.decode()


def test_two_hosts_are_refused(page: Page) -> None:
    with socket.create_connection(("127.0.0.1", page.browser.port)) as raw:
        raw.sendall(f"GET /api/unsure HTTP/1.1\r\nHost: {page.browser.host}\r\nHost: evil\r\n\r\n".encode())
        assert raw.recv(65536).split()[1] in (b"400", b"403")


def test_nobody_is_let_in_without_a_session(page: Page) -> None:
    stranger = page.stranger()
    name = f"imagesortd-{stranger.port}"
    for cookie in (None, "", f"{name}=", f"{name}=1999999999.abc.def", "other=1", f"{name}=..", f'{name}="\\351"'):
        stranger.cookie = cookie
        for path in EVERYTHING:
            answer = stranger.get(path)
            assert answer.status == 401, (cookie, path)
            assert b"one.png" not in answer.content


def test_nothing_is_decided_without_a_session(page: Page, reviewed: Reviewed) -> None:
    image = page.browser.unsure()[0]
    decision = {"kind": "label", "key": "k" * 8, "id": image["id"], "version": image["version"], "to": "cat"}
    assert page.stranger().post("/api/decisions", {"decisions": [decision]}).status == 401
    assert len(page.browser.unsure()) == 2


def test_a_link_is_good_once(page: Page) -> None:
    link = page.link()
    first, second = page.stranger(), page.stranger()
    assert first.enter(link).status == 303
    assert first.get("/api/session").status == 200
    second.enter(link)
    assert second.cookie is None
    assert second.get("/").status == 401


def test_a_link_is_not_good_for_long_nor_after_a_restart(tmp_path: Path) -> None:
    clock = [1_000_000.0]
    keys = Keys.load(tmp_path, lambda: clock[0])
    link = keys.new_link()
    clock[0] += LINK_SECONDS + 1
    assert keys.enter(link) is None
    link = keys.new_link()
    clock[0] += 2
    assert Keys.load(tmp_path, lambda: clock[0]).enter(link) is None
    session = keys.enter(link)
    assert session is not None
    assert Keys.load(tmp_path, lambda: clock[0]).is_session(session)
    assert not keys.is_session(link)
    assert keys.enter(session) is None
    clock[0] += 31 * 86400
    assert not keys.is_session(session)


def test_the_cookie_is_not_for_scripts_nor_other_sites(page: Page) -> None:
    cookie = page.stranger().enter(page.link()).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


def test_what_another_site_sends_is_refused(page: Page) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1", ""):
        assert page.browser.post("/api/decisions", {"decisions": []}, Origin=origin).status == 403


def test_a_form_cannot_decide(page: Page) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""):
        answer = page.browser.post("/api/decisions", b"decisions=1", **{"Content-Type": kind})
        assert answer.status == 415


def test_another_site_cannot_even_load_a_thumbnail(page: Page) -> None:
    number = page.browser.unsure()[0]["id"]
    for site in ("cross-site", "same-site"):
        answer = page.browser.get(f"/thumbnails/{number}/256", **{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})
        assert answer.status == 403
    led = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert page.browser.get("/", **led).status == 200
    assert page.browser.get("/api/unsure", **led).status == 403


def test_every_answer_says_what_a_browser_may_do_with_it(page: Page) -> None:
    number = page.browser.unsure()[0]["id"]
    for path in ("/", "/api/unsure", f"/thumbnails/{number}/256", "/nowhere", "/page/page.js"):
        for browser in (page.browser, page.stranger()):
            headers = browser.get(path).headers
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert "server" not in headers


def test_a_guessed_id_shows_nothing(page: Page) -> None:
    for number in ("0", "-1", "999999", str(1 << 64), "1e3", "..", "%2e%2e%2fetc%2fpasswd"):
        assert page.browser.get(f"/thumbnails/{number}/256").status == 404


ADDRESSES = [
    "/page/../__init__.py", "/page/..%2f__init__.py", "/page/%2e%2e/guard.py", "/page/index.html", "/page/.", "/page/",
    "/page/words.py", "/page/..%5c..%5cx.js", "//etc/passwd", "/thumbnails/1/257", "/thumbnails/1/99999999",
    "/api/class?name=../../../etc", "/api/class?name=..", "/api/class?name=/etc", "/api/class?name=cat%2f..%2fothers",
    "/api/class?name=cat%00", "/api/class?name=quarantine", "/api/unsure/group?group=../1", "/api/unsure?after=-1",
    "/api/unsure?limit=1%27--", "/api/live?minutes=..", "/enter/../api/unsure", "/api/audit?audit=../../audit",
    "/api/audit?audit=20260101T000000-../../../etc/passwd", "/api/audit?audit=%00", "/thumbnails/learnt/..%2f/256",
    "/thumbnails/learnt/0/../../1/256", "/api/quarantine?after=../1", "/api/model/cell?after=-1",
]  # fmt: skip


def test_no_parameter_leads_out(page: Page) -> None:
    for path in ADDRESSES:
        answer = page.browser.get(path)
        assert answer.status in (303, 400, 404), path
        assert b"root:" not in answer.content
        assert b"import" not in answer.content


def test_no_text_of_a_request_leads_out(page: Page, reviewed: Reviewed) -> None:
    image = page.browser.unsure()[0]
    decision = {"kind": "audit", "id": image["id"], "version": image["version"], "right": True}
    for number, name in enumerate(("../../journal", "/etc/passwd", "a\0b", "20260101T000000-..", "")):
        for more in ({**decision, "audit": name}, {"kind": "take-back", "of": name}):
            sent = {"decisions": [{"key": f"{number:012}{len(more)}", **more}]}
            answer = page.browser.post("/api/decisions", sent)
            assert answer.status == 400 or answer.json()["decisions"][0]["state"] == "refused", more
        assert page.browser.post("/api/model/task", {"task": "roll-back", "run": f"../{name}"}).status == 400
        assert page.browser.post("/api/audits", {"count": 1, "since": name}).status == 400
        cell = page.browser.get(f"/api/model/cell?actual={quote(name)}&predicted=..%2f..")
        assert cell.json()["images"] == []
    assert not list(reviewed.state.rglob("passwd*"))
    assert page.browser.get("/api/changes?since=0&keys=../../x,%00,%27").json()["decisions"][0]["state"] == "unknown"


def test_a_reason_that_is_none_finds_nothing(page: Page) -> None:
    answer = page.browser.get("/api/quarantine?reason=%27%20OR%201=1--")
    assert answer.json()["images"] == []


def test_a_body_without_end_is_refused_before_it_is_read(page: Page) -> None:
    with socket.create_connection(("127.0.0.1", page.browser.port)) as raw:
        head = f"POST /api/decisions HTTP/1.1\r\nHost: {page.browser.host}\r\nOrigin: http://{page.browser.host}\r\n"
        head += f"Cookie: {page.browser.cookie}\r\nContent-Type: application/json\r\nContent-Length: {10**9}\r\n\r\n"
        raw.sendall(head.encode())
        assert raw.recv(65536).split()[1] == b"413"


def test_a_body_in_pieces_is_limited_too(page: Page) -> None:
    with socket.create_connection(("127.0.0.1", page.browser.port)) as raw:
        head = f"POST /api/decisions HTTP/1.1\r\nHost: {page.browser.host}\r\nOrigin: http://{page.browser.host}\r\n"
        head += f"Cookie: {page.browser.cookie}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw.sendall(head.encode())
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        answer = b""
        try:
            for _ in range(LONGEST_BODY // 0x10000 + 2):
                raw.sendall(chunk)
            answer = raw.recv(65536)
        except ConnectionError:
            pass
        assert not answer or answer.split()[1] == b"413"
    assert page.browser.get("/api/session").status == 200


def test_a_slow_client_is_cut_off_and_keeps_nobody_waiting(reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.3)
    with open_page(reviewed) as page:
        slow = [socket.create_connection(("127.0.0.1", page.browser.port), timeout=300) for _ in range(20)]
        for connection in slow[:10]:
            connection.sendall(b"GET / HTTP/1.1\r\n")
        assert page.browser.get("/api/unsure").status == 200
        for connection in slow:
            with connection, suppress(ConnectionResetError):
                assert connection.recv(100) == b""


def test_a_client_that_never_reads_is_cut_off_and_keeps_nobody_waiting(
    reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "SEND_SECONDS", 0.3)
    monkeypatch.setattr(serving, "IDLE_SECONDS", 600)
    with open_page(reviewed) as page, socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(60)
        raw.connect(("127.0.0.1", page.browser.port))
        request = f"GET /page/base.css HTTP/1.1\r\nHost: {page.browser.host}\r\n\r\n".encode()
        wait_for(lambda: len(page.served.server.server_state.connections) == 1, "it is connected")
        with suppress(ConnectionError):
            while len(page.served.server.server_state.connections) == 1:
                raw.sendall(request * 100)
        assert page.browser.get("/api/session").status == 200


def test_a_body_that_does_not_come_is_given_up(reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.review.guard.BODY_SECONDS", 0.3)
    with open_page(reviewed) as page, socket.create_connection(("127.0.0.1", page.browser.port)) as raw:
        head = f"POST /api/decisions HTTP/1.1\r\nHost: {page.browser.host}\r\nOrigin: http://{page.browser.host}\r\n"
        head += f"Cookie: {page.browser.cookie}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
        raw.sendall(head.encode())
        assert raw.recv(65536).split()[1] == b"408"


HOSTILE_NAMES = [
    "<img src=x onerror=alert(1)>.png",
    "\u202egnp.exe.png",
    "a\nb\x1b[31m.png",
    os.fsdecode(b"caf\xe9.png"),
    "n" * 251 + ".png",
    "';DROP TABLE filings;--.png",
]


def test_a_name_is_only_ever_text(reviewed: Reviewed) -> None:
    rows = [reviewed.file(name) for name in HOSTILE_NAMES]
    with open_page(reviewed) as page:
        images = {image["id"]: image for image in page.browser.unsure()}
        assert page.browser.get("/api/unsure").headers["content-type"] == "application/json"
        for row in rows:
            image = images[row.id]
            assert image["name"].isprintable()
            assert page.browser.get(f"/thumbnails/{row.id}/256").status == 200
            (state,) = page.browser.decide({"kind": "label", "id": row.id, "version": image["version"], "to": "cat"})
            assert state["state"] == "done"
            assert state["says"].isprintable()
            assert (reviewed.desk.output / "cat" / (row.filed_name or "")).exists()


def test_a_class_name_is_no_path(page: Page, reviewed: Reviewed) -> None:
    image = page.browser.unsure()[0]
    for name in ("../out", "/etc", "a/b", "..", ".", "quarantine", "", "x" * 300, "a\0b", "@eaDir"):
        decision = {"kind": "label", "key": os.urandom(8).hex(), "id": image["id"], "version": image["version"]}
        answer = page.browser.post("/api/decisions", {"decisions": [{**decision, "to": name, "new": True}]})
        assert answer.status == 400 or answer.json()["decisions"][0]["state"] == "refused"
    assert len(page.browser.unsure()) == 2


def _path(reviewed: Reviewed, name: str = "one.png") -> Path:
    return reviewed.desk.output / "others" / name


def test_an_image_that_was_replaced_is_neither_shown_nor_moved(page: Page, reviewed: Reviewed) -> None:
    (image,) = [image for image in page.browser.unsure() if image["name"] == "one.png"]
    assert page.browser.get(f"/thumbnails/{image['id']}/256").status == 200
    secret = save(KINDS[1], 99, _path(reviewed, "secret.png"))
    secret.replace(_path(reviewed))
    assert page.browser.get(f"/thumbnails/{image['id']}/256").status == 409
    (state,) = page.browser.decide({"kind": "label", "id": image["id"], "version": image["version"], "to": "cat"})
    assert state["state"] == "refused"
    assert _path(reviewed).exists()


def test_an_image_with_forged_size_and_time_is_not_shown(page: Page, reviewed: Reviewed) -> None:
    (image,) = [image for image in page.browser.unsure() if image["name"] == "one.png"]
    before = _path(reviewed).stat()
    other = bytearray(_path(reviewed).read_bytes())
    other[-20] ^= 0xFF
    _path(reviewed).unlink()
    _path(reviewed).write_bytes(other)
    os.utime(_path(reviewed), ns=(before.st_atime_ns, before.st_mtime_ns))
    assert page.browser.get(f"/thumbnails/{image['id']}/256").status in (409, 415)


def test_an_image_that_vanished_is_not_shown_and_the_decision_is_refused(page: Page, reviewed: Reviewed) -> None:
    (image,) = [image for image in page.browser.unsure() if image["name"] == "one.png"]
    _path(reviewed).unlink()
    assert page.browser.get(f"/thumbnails/{image['id']}/256").status == 404
    (state,) = page.browser.decide({"kind": "label", "id": image["id"], "version": image["version"], "to": "cat"})
    assert state["state"] == "refused"


def test_a_link_in_the_place_of_an_image_or_a_folder_is_not_followed(
    page: Page, reviewed: Reviewed, tmp_path: Path
) -> None:
    images = page.browser.unsure()
    outside = save(KINDS[1], 5, tmp_path / "outside.png")
    _path(reviewed).unlink()
    _path(reviewed).symlink_to(outside)
    folder = reviewed.desk.output / "others"
    folder.rename(tmp_path / "moved")
    for image in images:
        assert page.browser.get(f"/thumbnails/{image['id']}/256").status == 404
    folder.symlink_to(tmp_path / "moved")
    for image in images:
        assert page.browser.get(f"/thumbnails/{image['id']}/256").status == 404


def test_an_old_version_is_not_decided(page: Page) -> None:
    image = page.browser.unsure()[0]
    (state,) = page.browser.decide({"kind": "label", "id": image["id"], "version": "00" * 32, "to": "cat"})
    assert state["state"] == "refused"


def test_a_hostile_picture_costs_a_decoder_and_never_the_page(reviewed: Reviewed) -> None:
    bomb = BytesIO()
    Image.new("1", (14_500, 14_500)).save(bomb, "PNG")
    torn = b"\x89PNG\r\n\x1a\n" + os.urandom(2000)
    for name, content in (("bomb.png", bomb.getvalue()), ("torn.png", torn)):
        path = reviewed.desk.put(name, content)
        reviewed.desk.file_one(path, "others", label="cat")
    with open_page(reviewed) as page:
        started = time.monotonic()
        for image in page.browser.unsure():
            expected = 415 if image["name"] in ("bomb.png", "torn.png") else 200
            assert page.browser.get(f"/thumbnails/{image['id']}/256").status == expected
        assert time.monotonic() - started < 60


def test_a_thumbnail_carries_nothing_of_the_file(reviewed: Reviewed) -> None:
    picture = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a secret place"
    Image.new("RGB", (300, 200), "red").save(picture, "JPEG", exif=exif, comment=b"a secret note")
    path = reviewed.desk.put("photo.jpg", picture.getvalue())
    row = reviewed.desk.file_one(path, "others", label="cat").row
    with open_page(reviewed) as page:
        for size in (256, 1024):
            answer = page.browser.get(f"/thumbnails/{row.id}/{size}")
            assert answer.headers["content-type"] == "image/jpeg"
            assert b"secret" not in answer.content
            thumbnail = Image.open(BytesIO(answer.content))
            assert thumbnail.size == ((171, 256) if size == 256 else (200, 300))
            assert not thumbnail.getexif()


def test_behind_a_prefix_nothing_else_answers(reviewed: Reviewed) -> None:
    with open_page(reviewed, prefix="/photos") as page:
        assert page.browser.get("/api/unsure").status == 200
        root = Browser(page.browser.port, page.browser.cookie)
        for path in ("/api/unsure", "/", "/photosx/api/unsure", "/photos", "/photos/../api/unsure"):
            assert root.get(path).status == 404
