"""Fill the templates of the page, which lie in ``page/`` with its scripts and style sheets, without a build step."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.text.language import tr

#: Folder of all that a browser gets from us.
PAGE = Path(__file__).with_name("page")


def _modules() -> list[str]:
    """List the scripts of the page, which a browser would else find one behind the other."""
    return sorted(file.name for file in PAGE.glob("*.js") if file.name != "enter.js")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals["tr"] = tr
    environment.globals["modules"] = _modules()
    return environment


def render(template: str, **values: object) -> str:
    """Fill a template; everything is escaped, and sentences are translated by ``tr``."""
    return _environment().get_template(template).render(**values)
