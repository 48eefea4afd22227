"""Read an XMP document with the places of its elements, so that it can be changed without being written anew.

Nothing that a document names is fetched, and no entities are expanded: one with a document type is refused, as XMP
never has any. Size, depth and number of elements are limited.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape

from models.text.language import tr

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
#: Largest sidecar that is read; those with masks of a raw converter have a few megabytes.
MOST_BYTES = 16 << 20
_MOST_DEPTH, _MOST_ELEMENTS = 200, 50_000
#: How many levels of elements below the topmost are kept: xmpmeta, RDF, Description, property, list, entry.
_LEVELS = 6
#: Byte order marks and their encodings; those of UTF-32 begin like those of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ATTRIBUTE = re.compile(rb"\s+([^\s=>/]+)\s*=\s*(\"[^\"]*\"|'[^']*')")
#: What XML has no way to write.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


_IN_VALUES = {'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


class XmpError(Exception):
    """A document that is left as it is; the message says in a few words why."""


class Attribute(NamedTuple):
    """An attribute and its place, with the white space before it. ``name`` is namespace and local name."""

    name: str
    value: str
    start: int
    end: int


@dataclass(eq=False)
class Element:
    """An element and its place. ``name`` is namespace and local name, ``tag`` how it is written.

    The start tag ends at ``opened``, the content at ``closed``; both are ``end`` of an element like ``<x/>``.
    """

    name: str
    tag: str
    start: int
    opened: int
    namespaces: dict[str, str]
    attributes: list[Attribute]
    is_short: bool
    closed: int = 0
    end: int = 0
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def attribute(self, name: str) -> str | None:
        """Return the value of an attribute."""
        return next((attribute.value for attribute in self.attributes if attribute.name == name), None)

    def __iter__(self) -> Iterator[Element]:
        yield self
        for child in self.children:
            yield from child


class Edit(NamedTuple):
    """A place, and what is to be there."""

    start: int
    end: int
    text: str = ""


class Document:
    """An XMP document: its RDF element, and the bytes (in UTF-8) that the places of elements count."""

    def __init__(self, content: bytes) -> None:
        """Raises XmpError."""
        if len(content) > MOST_BYTES:
            raise too_large(len(content))
        self._mark, self._encoding = _encoding_of(content)
        try:
            text = content[len(self._mark) :].decode(self._encoding)
            self.body = text.encode()
        except UnicodeError as error:
            raise XmpError(tr("it is not in {encoding}", encoding=self._encoding.upper())) from error
        top = _Parser(self.body, self._encoding).parse()
        rdf = next((element for element in top if element.name == name_of(RDF, "RDF")), None)
        if rdf is None:
            raise XmpError(tr("it is no XMP"))
        self.rdf = rdf

    @property
    def descriptions(self) -> list[Element]:
        """The elements that hold properties."""
        return [element for element in self.rdf.children if element.name == name_of(RDF, "Description")]

    @property
    def line_end(self) -> str:
        """How lines end in it."""
        return "\r\n" if b"\r\n" in self.body else "\n"

    def properties(self, name: str) -> list[Element]:
        """List the elements of a property."""
        return [child for element in self.descriptions for child in element.children if child.name == name]

    def space_before(self, place: int) -> int:
        """Return where the white space begins that is before a place."""
        return len(self.body[:place].rstrip(b" \t\r\n"))

    def edited(self, edits: Sequence[Edit]) -> bytes:
        """Return the document with changes, in its own encoding; none may overlap. Raises XmpError."""
        parts, place = [], 0
        for edit in sorted(edits):
            parts += [self.body[place : edit.start], edit.text.encode()]
            place = edit.end
        assert all(edit.end <= later.start for edit, later in pairwise(sorted(edits))), "they do not overlap"
        body = b"".join([*parts, self.body[place:]])
        return self._mark + (body if self._encoding == "utf-8" else body.decode().encode(self._encoding))


def name_of(namespace: str, local: str) -> str:
    """Return the name of an element or attribute, as `Element` has it."""
    return f"{namespace} {local}"


def as_text(text: str) -> str:
    """Write text for an element; what XML cannot hold becomes U+FFFD."""
    return escape(_NO_XML.sub("\ufffd", text), {"\r": "&#13;"})


def as_value(text: str) -> str:
    """Write the value of an attribute, with its quotes."""
    return '"' + escape(_NO_XML.sub("\ufffd", text), _IN_VALUES) + '"'


def too_large(size: int) -> XmpError:
    """Make the error for a document of so many bytes."""
    return XmpError(tr("it has {size} bytes, and at most {most} are read", size=size, most=MOST_BYTES))


def _encoding_of(content: bytes) -> tuple[bytes, str]:
    """Return the byte order mark and the encoding of a document."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return mark, encoding
    if content.startswith(b"<\0"):
        return b"", "utf-16-le"
    return b"", "utf-16-be" if content.startswith(b"\0<") else "utf-8"


class _Parser:
    """Reads one document."""

    def __init__(self, body: bytes, encoding: str) -> None:
        self._body, self._encoding = body, encoding
        self._parser = expat.ParserCreate("utf-8", " ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartNamespaceDeclHandler = self._declare
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.XmlDeclHandler = self._check_declaration
        self._open: list[Element] = []
        self._depth = self._count = 0
        self._declared: dict[str, str] = {}
        self._top: Element | None = None

    def parse(self) -> Element:
        """Return the topmost element. Raises XmpError."""
        try:
            self._parser.Parse(self._body, True)
        except expat.ExpatError as error:
            raise XmpError(tr("it is not XML")) from error
        assert self._top is not None, "XML has an element"
        return self._top

    def _refuse(self, *_: object) -> None:
        raise XmpError(tr("it has a document type, which XMP never has"))

    def _check_declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        family = self._encoding.partition("-le")[0].partition("-be")[0]
        if encoding is not None and encoding.casefold() != family:
            raise XmpError(tr("it says that it is in {encoding}", encoding=encoding[:40]))

    def _declare(self, prefix: str | None, uri: str | None) -> None:
        self._declared[prefix or ""] = uri or ""

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._count += 1
        if self._depth > _MOST_DEPTH or self._count > _MOST_ELEMENTS:
            raise XmpError(tr("it has too many elements"))
        declared, self._declared = self._declared, {}
        if self._depth > _LEVELS:
            return
        start = self._parser.CurrentByteIndex
        opened = _end_of_tag(self._body, start)
        outer = self._open[-1].namespaces if self._open else {"xml": "http://www.w3.org/XML/1998/namespace"}
        namespaces = {**outer, **declared} if declared else outer
        element = Element(
            name=name,
            tag=_tag(self._body[start:opened]),
            start=start,
            opened=opened,
            namespaces=namespaces,
            attributes=_attributes(self._body, start, opened, namespaces, attributes),
            is_short=self._body[opened - 2 : opened - 1] == b"/",
        )
        if self._open:
            self._open[-1].children.append(element)
        else:
            self._top = element
        self._open.append(element)

    def _end(self, _name: str) -> None:
        if self._depth <= _LEVELS:
            element = self._open.pop()
            element.closed = element.opened if element.is_short else self._parser.CurrentByteIndex
            element.end = element.closed if element.is_short else self._body.index(b">", element.closed) + 1
        self._depth -= 1

    def _characters(self, text: str) -> None:
        if 0 < self._depth <= _LEVELS:
            self._open[-1].text += text


def _end_of_tag(body: bytes, start: int) -> int:
    """Return where a start tag ends, in which values may hold ``>``."""
    place = start
    while True:
        end = body.index(b">", place)
        quotes = [(at, quote) for quote in (b'"', b"'") if (at := body.find(quote, place, end)) >= 0]
        if not quotes:
            return end + 1
        at, quote = min(quotes)
        place = body.index(quote, at + 1) + 1


def _tag(start_tag: bytes) -> str:
    match = re.match(rb"<([^\s/>]+)", start_tag)
    assert match is not None, "it is a start tag"
    return match[1].decode()


def _attributes(
    body: bytes, start: int, end: int, namespaces: dict[str, str], values: dict[str, str]
) -> list[Attribute]:
    attributes = []
    for match in _ATTRIBUTE.finditer(body, start, end):
        prefix, colon, local = match[1].decode().rpartition(":")
        if prefix == "xmlns" or (not colon and local == "xmlns"):
            name, value = name_of("xmlns", local if colon else ""), ""
        else:
            name = name_of(namespaces.get(prefix, ""), local) if colon else local
            value = values.get(name, "")
        attributes.append(Attribute(name, value, match.start(), match.end()))
    return attributes
