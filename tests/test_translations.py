"""The catalogue: whole, without what nobody says any more, and with the fields of the English sentences."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from models.text.particles import PARTICLES
from tests import translations
from tests.translations import fields, marked, missing, unmarked

#: Where sentences are marked; what stands elsewhere is English only.
MARKED_PACKAGES = ("daemon/", "models/", "trainer/")

#: Tables of what others say: argparse, the reader of TOML, and the system of its errors.
OTHERS = ("argparse", "system", "tomllib")


def test_it_has_every_sentence() -> None:
    assert missing() == {}


def test_it_has_no_sentence_that_nobody_says() -> None:
    tables = translations.translations()
    said = {text.text for text in marked()}
    stale = [
        english for file, table in tables.items() if file not in OTHERS for english in table if english not in said
    ]
    assert stale == []


def test_no_sentence_is_translated_twice() -> None:
    every = [english for table in translations.translations().values() for english in table]
    assert len(every) == len(set(every))


def test_a_sentence_keeps_its_fields() -> None:
    wrong = []
    for table in translations.translations().values():
        for english, korean in table.items():
            is_korean = re.search("[가-힣]", korean) or not re.search("[a-z]{2} [a-z]{2}", english)
            if fields(korean) != fields(english) or not is_korean:
                wrong.append(english)
    assert wrong == []


def test_what_people_read_is_marked() -> None:
    assert [text for text in unmarked() if text.file.startswith(MARKED_PACKAGES)] == []


def test_no_name_is_shown_as_python_writes_it() -> None:
    """`tr` shows names by the rule of `models.text.printable`; ``!r`` would show what cannot be printed otherwise."""
    assert [f"{file}:{line}" for file, tree in translations.sources() for line in _quoting(tree)] == []


#: Raised by a fault of ours, and never shown.
_FAULTS = frozenset({"ValueError", "TypeError", "AssertionError", "LookupError"})


def _quoting(node: ast.AST) -> Iterator[int]:
    """The lines where a text has a field that is written as by `repr`."""
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in _FAULTS:
            return
        case ast.FormattedValue(conversion=conversion) if conversion == ord("r"):
            yield node.lineno
        case ast.Constant(value=str(text)) if "!r}" in text:
            yield node.lineno
    for child in ast.iter_child_nodes(node):
        yield from _quoting(child)


def test_a_particle_with_both_forms_stands_where_the_one_that_fits_is_chosen() -> None:
    both = re.compile(r"[가-힣]?\((으|이|가|를|을|는|은|와|과)\)[로라가-힣]?")
    lost = []
    for table in translations.translations().values():
        for korean in table.values():
            for found in both.finditer(korean):
                before = korean[: found.start()].rstrip("'\"")
                if found[0] not in PARTICLES or not before.endswith("}"):
                    lost.append(korean)
    assert lost == []
