"""Sentences of the page: all that its scripts and templates say are translated, and nothing else is."""

from __future__ import annotations

import re

from daemon.review.rendering import PAGE
from daemon.review.words import WORDS
from tests import translations
from tests.translations import marked

#: Calls in scripts; of those with two sentences the second one is translated.
SINGLE = re.compile(r'\b(?:t|nodes)\(\s*"((?:[^"\\]|\\.)*)"')
COUNTED = re.compile(r'\b(?:tn|countedNodes)\(\s*"(?:[^"\\]|\\.)*",\s*"((?:[^"\\]|\\.)*)"')
IN_TEMPLATE = re.compile(r"""\btr\((?:"([^"]*)"|'([^']*)')\)""")


def said_by_scripts() -> set[str]:
    text = "\n".join(file.read_text(encoding="utf-8") for file in PAGE.glob("*.js"))
    return {*SINGLE.findall(text), *COUNTED.findall(text)}


def test_every_sentence_of_a_script_is_sent_with_the_page_and_no_other() -> None:
    assert said_by_scripts() == set(WORDS)
    assert len(WORDS) == len(set(WORDS))


def test_every_sentence_of_a_template_is_translated() -> None:
    known = {text.text for text in marked()}
    for file in PAGE.glob("*.html"):
        said = {one or other for one, other in IN_TEMPLATE.findall(file.read_text(encoding="utf-8"))}
        assert said
        assert said <= known


def test_no_sentence_of_a_script_needs_a_particle_that_depends_on_a_name() -> None:
    """Scripts fill the fields: they know nothing of particles."""
    korean = {english: text for table in translations.translations().values() for english, text in table.items()}
    assert [word for word in WORDS if re.search(r"\}\s*\(?[은는이가을를와과으]", korean[word])] == []


def test_scripts_make_no_markup_of_text() -> None:
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://")
    assert [file.name for file in PAGE.glob("*.js") if forbidden.search(file.read_text(encoding="utf-8"))] == []
    inline = re.compile(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=")
    assert [file.name for file in PAGE.glob("*.html") if inline.search(file.read_text(encoding="utf-8"))] == []
