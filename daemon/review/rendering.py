"""The files of the page in ``page/``, without a build step: templates are filled, scripts and style sheets sent."""

from __future__ import annotations

import hashlib
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.text.language import in_use, tr

#: Folder of all that a browser gets from us.
PAGE = Path(__file__).with_name("page")
#: Files of it that are served.
_SERVED = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9]+)*\.(js|css|svg|png|ico|woff2)")
_MEDIA_TYPES = {
    "js": "text/javascript",
    "css": "text/css",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "woff2": "font/woff2",
}


class PageFile(NamedTuple):
    """A file that is served; ``tag`` tells its versions apart, as a browser sends it back."""

    content: bytes
    tag: str
    media_type: str


def page_file(name: str) -> PageFile | None:
    """Return a script, a style sheet or an icon; None where there is none of this name."""
    file = PAGE / name
    if not _SERVED.fullmatch(name) or not file.is_file():
        return None
    return _read(name, file.stat().st_mtime_ns)


@lru_cache(maxsize=100)
def _read(name: str, _changed: int) -> PageFile:
    """Read a file: some dozens are asked for at once, before there is anything to see."""
    content = (PAGE / name).read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return PageFile(content, tag, _MEDIA_TYPES[name.rpartition(".")[2]])


def render_page(begun: str = "", *, prefix: str) -> str:
    """Fill the page. ``begun``: answers that it would ask for first, as a JSON object; "": it asks for them."""
    return _render("index.html", prefix=prefix, begun=begun)


def render_entrance(*, prefix: str, has_password: bool) -> str:
    """Fill what is shown to who was not let in."""
    return _render("enter.html", prefix=prefix, has_password=has_password)


def _render(template: str, **values: object) -> str:
    """Fill a template; everything is escaped, and sentences are translated by ``tr``."""
    return _environment().get_template(template).render(language=in_use(), **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals["tr"] = tr
    environment.globals["modules"] = _modules()
    return environment


def _modules() -> list[str]:
    """List the scripts of the page, which a browser would else find one behind the other."""
    return sorted(file.name for file in PAGE.glob("*.js") if file.name != "enter.js")
