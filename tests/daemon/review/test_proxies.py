"""The page behind a reverse proxy, as the README has it: below a path prefix, by a UNIX socket."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.review.browser import Browser, Page, Reviewed, open_page
from tests.hazards.servers import free_port
from tests.processes import ROOT, wait_for

README_SOCKET = "/var/lib/imagesortd-review/page.socket"
NGINX = """daemon off; pid {folder}/pid; error_log {folder}/log; {user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; server_name photos.example; {location} }}
}}
"""
CADDY = """{{
    admin off
    auto_https off
}}
{site}
"""


def example(language: str, readme: str = "README.md") -> str:
    """What the README has of a proxy's configuration."""
    found = re.search(rf"```{language}\n(.*?)```", (ROOT / readme).read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    assert README_SOCKET in found[1]
    return found[1]


def test_both_languages_have_the_same_examples() -> None:
    for language in ("nginx", "caddy"):
        lines = [
            [line for line in example(language, readme).splitlines() if not line.startswith("#")]
            for readme in ("README.md", "README.ko.md")
        ]
        assert lines[0] == lines[1]


@contextmanager
def proxy(command: list[str], port: int) -> Iterator[Browser]:
    """Run a proxy; yields a browser that calls it by the name of the example."""
    env = os.environ | {"HOME": str(Path(command[-1]).parent), "XDG_DATA_HOME": str(Path(command[-1]).parent)}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env) as process:
        browser = Browser(port, prefix="/photos", name=f"photos.example:{port}")

        def answers() -> bool:
            assert process.poll() is None, "the proxy has ended"
            try:
                return browser.get("/").status == 401
            except ConnectionError:
                return False

        try:
            wait_for(answers, "the proxy answers")
            yield browser
        finally:
            process.terminate()


def work_through(browser: Browser, page: Page) -> None:
    """Enter by the link, look at a picture and decide, as a browser behind the proxy does."""
    assert browser.enter(page.link()).headers["location"] == "/photos/"
    assert b'data-prefix="/photos"' in browser.get("/").content
    image = browser.unsure()[0]
    assert browser.get(f"/thumbnails/{image['id']}/256").headers["content-type"] == "image/jpeg"
    (state,) = browser.decide({"kind": "label", "id": image["id"], "version": image["version"], "to": "cat"})
    assert state["state"] == "done"
    assert b".png" not in browser.get("/api/unsure", Host="evil.example").content
    assert browser.post("/api/decisions", {"decisions": []}, Origin="http://evil.example").status == 403


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def page(reviewed: Reviewed, tmp_path: Path, port: int) -> Iterator[Page]:
    listen_at = f"unix:{tmp_path / 'page.socket'}"
    with open_page(reviewed, prefix="/photos", listen_at=listen_at, hosts=[f"photos.example:{port}"]) as page:
        yield page


def test_nginx_as_in_the_readme(page: Page, tmp_path: Path, port: int) -> None:
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed here")
    folder = tmp_path / "nginx"
    folder.mkdir()
    location = example("nginx").replace(README_SOCKET, str(tmp_path / "page.socket"))
    location = "".join(line for line in location.splitlines(keepends=True) if not line.startswith("#"))
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "conf").write_text(NGINX.format(folder=folder, port=port, location=location, user=user))
    with proxy([nginx, "-p", str(folder), "-e", str(folder / "log"), "-c", str(folder / "conf")], port) as browser:
        work_through(browser, page)


def test_caddy_as_in_the_readme(page: Page, tmp_path: Path, port: int) -> None:
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("Caddy is not installed here")
    folder = tmp_path / "caddy"
    folder.mkdir()
    site = example("caddy").replace(README_SOCKET, str(tmp_path / "page.socket"))
    site = site.replace("photos.example {", f"http://photos.example:{port} {{")
    (folder / "Caddyfile").write_text(CADDY.format(site=site))
    with proxy([caddy, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")], port) as browser:
        work_through(browser, page)
