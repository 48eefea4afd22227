"""What the source says to people, and what the catalogue of a language makes of it.

``python -m tests.translations`` prints what is missing in the catalogue, in its own form; ``--suspects`` also prints
texts that look like sentences and are not marked for translation.
"""

from __future__ import annotations

import ast
import json
import re
import string
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from models.text.language import Language, catalogue_file

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("daemon", "models", "trainer")
#: Calls of these mark a text; of `trn` the second one is in the catalogue.
_MARKS = {"tr": 0, "trn": 1, "mark": 0}
#: Calls whose argument people read, by its place.
_READ = {
    **dict.fromkeys(("info", "success", "warning", "error", "critical", "exception"), 0),  # of the logger
    **dict.fromkeys(("print", "ArgumentTypeError", "suptitle", "set_title", "set_xlabel", "set_ylabel"), 0),
    **dict.fromkeys(("UserError", "BackboneError", "WeightsUnavailable", "CheckpointError"), 0),
    "ImageError": 1,
}
_READ_KEYWORDS = frozenset({"help", "description", "epilog", "title"})
#: Words that name something in every language are no sentence.
_WORDS = re.compile(r"[A-Za-z]{2,}[a-z',:;]* +[A-Za-z']+")


class Text(NamedTuple):
    """A text in the source."""

    file: str
    line: int
    text: str


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Every source file, by its path from the root."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


@cache
def marked() -> list[Text]:
    """The texts that are marked for translation."""
    return [
        Text(file, node.lineno, argument.value)
        for file, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (place := _MARKS.get(_name(node))) is not None and len(node.args) > place
        if isinstance(argument := node.args[place], ast.Constant) and isinstance(argument.value, str)
    ]


def unmarked() -> list[Text]:
    """Texts that are given to people as they are."""
    return [
        Text(file, argument.lineno, text)
        for file, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for argument in _read_by_people(node)
        if (text := _literal(argument)) is not None and re.search("[A-Za-z]{2}", text)
    ]


def suspects() -> list[Text]:
    """Texts that look like sentences and are neither marked nor anything that is never shown."""
    return [found for file, tree in sources() for found in _suspects(file, tree)]


def translations(language: Language = "ko") -> dict[str, dict[str, str]]:
    """The tables of a catalogue."""
    return tomllib.loads(catalogue_file(language).read_text(encoding="utf-8"))


def fields(template: str) -> set[str]:
    """The fields of a template, such as ``{path}`` and ``%(default)s``."""
    try:
        named = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError:  # braces that mean themselves
        named = set()
    return named | set(re.findall(r"%\(\w+\)s", template))


def missing() -> dict[str, list[str]]:
    """The texts that the catalogue lacks, by the file that they stand in first."""
    known = {english for table in translations().values() for english in table}
    lacking: dict[str, list[str]] = {}
    for text in marked():
        if text.text not in known:
            known.add(text.text)
            lacking.setdefault(text.file, []).append(text.text)
    return lacking


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _read_by_people(call: ast.Call) -> Iterator[ast.expr]:
    place = _READ.get(_name(call))
    if ast.unparse(call.func) == "struct.error":
        return
    if place is not None and len(call.args) > place:
        yield call.args[place]
    yield from (keyword.value for keyword in call.keywords if keyword.arg in _READ_KEYWORDS)


def _literal(node: ast.expr) -> str | None:
    """The letters that a text has by itself; None where it is none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return " ".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
    if isinstance(node, ast.IfExp):
        return " ".join(filter(None, map(_literal, (node.body, node.orelse)))) or None
    return None


def _suspects(file: str, node: ast.AST) -> Iterator[Text]:
    match node:
        case ast.Assert() | ast.Expr(value=ast.Constant()):
            return
        case ast.Raise(exc=ast.Call() as call) if _name(call) in {"ValueError", "TypeError", "AssertionError"}:
            return
        case ast.Call() if _name(node) in {*_MARKS, "debug"}:
            return
        case ast.JoinedStr() | ast.Constant() if (text := _literal(node)) is not None:
            if _WORDS.search(text):
                yield Text(file, node.lineno, text)
            return
    for child in ast.iter_child_nodes(node):
        yield from _suspects(file, child)


def _print() -> None:
    for file, lacking in missing().items():
        print(f"\n[{json.dumps(file)}]")
        for english in lacking:
            print(f"{json.dumps(english, ensure_ascii=False)} = {json.dumps('')}")
    for text in unmarked():
        print(f"# not marked: {text.file}:{text.line}: {text.text!r}")
    for text in suspects() if "--suspects" in sys.argv else ():
        print(f"# suspect: {text.file}:{text.line}: {text.text!r}")


if __name__ == "__main__":
    _print()
