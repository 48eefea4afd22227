"""Put the tag of a class into an XMP document, read tags from one, and take ours out again.

Where others read tags (after what they document and their sources):

- ``dc:subject``: plain names, which every program reads; of a nested class those of all its levels.
- ``lr:hierarchicalSubject``: paths like ``animals|dog``, of Lightroom, darktable and digiKam.
- ``digiKam:TagsList`` and ``MicrosoftPhoto:LastKeywordXMP``: paths like ``animals/dog``. digiKam reads only the
  first that is there of these two, ``lr:hierarchicalSubject`` and ``dc:subject``, in this order. So a tag goes into
  each that is there, and a new ``lr:hierarchicalSubject`` also gets what others have in ``dc:subject``.

An element of our own says which class it is, how surely and by which model, and what we have added to the lists of
others: only that is ever taken out. What is inserted is put between the bytes that are there. So taking it out gives
back the document from before, byte for byte, unless another program has written it anew meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from models.text.language import tr
from models.xmp.document import RDF, Document, Edit, Element, XmpError, as_text, as_value, name_of

#: Our namespace, and how it is written.
NAMESPACE, PREFIX = "urn:imagesortd:xmp:1.0:", "imagesortd"
_DC, _LR = "http://purl.org/dc/elements/1.1/", "http://ns.adobe.com/lightroom/1.0/"
_DIGIKAM = "http://www.digikam.org/ns/1.0/"
#: The second is how Exiv2, and so digiKam, writes it.
_MICROSOFT = "http://ns.microsoft.com/photo/1.0", "http://ns.microsoft.com/photo/1.0/"


class _List(NamedTuple):
    """A property that lists tags. ``prefixed``: what it is called in our notes, and where we make it."""

    prefixed: str
    namespace: str
    separator: str

    @property
    def name(self) -> str:
        return name_of(self.namespace, self.prefixed.partition(":")[2])


_SUBJECT, _HIERARCHY = _List("dc:subject", _DC, ""), _List("lr:hierarchicalSubject", _LR, "|")
_LISTS = (
    _SUBJECT,
    _HIERARCHY,
    _List("digiKam:TagsList", _DIGIKAM, "/"),
    *(_List("MicrosoftPhoto:LastKeywordXMP", namespace, "/") for namespace in _MICROSOFT),
)
_CONTAINERS = frozenset(name_of(RDF, kind) for kind in ("Bag", "Seq", "Alt"))
_ENTRY = name_of(RDF, "li")
_ABOUT = name_of(RDF, "about")
_EXTENSION = name_of("http://ns.adobe.com/photoshop/1.0/", "SidecarForExtension")
#: What a sidecar of our own is before a tag is put into it.
EMPTY = b"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="imagesortd">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 </rdf:RDF>
</x:xmpmeta>
"""
#: What it begins with, before the tag.
_BEGINNING = EMPTY[: EMPTY.index(b'#">') + 3]


@dataclass(frozen=True)
class Tag:
    """The class of an image, a path where it is nested; how surely a model says so (None: a person does), and which."""

    label: str
    confidence: float | None = None
    model: str | None = None


@dataclass(frozen=True)
class Tags:
    """The tags of a document: plain ones, paths with ``/`` between their levels, and our own.

    ``extension``: of the file that it is for, such as ``NEF``, where Adobe's programs have said so.
    """

    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    own: Tag | None = None
    extension: str | None = None


@dataclass(frozen=True)
class _Notes:
    """What we have written into a document: what was ``added`` to which lists, and which were ``empty`` before."""

    tag: Tag | None = None
    added: frozenset[str] = frozenset()
    empty: dict[str, str] = field(default_factory=dict)


def read(content: bytes) -> Tags:
    """Read the tags of a document. Raises XmpError."""
    document = Document(content)
    names = [text for entry in _entries(document, _SUBJECT) if (text := entry.text.strip())]
    paths = [
        "/".join(level.strip() for level in entry.text.strip().split(tags.separator))
        for tags in _LISTS[1:]
        for entry in _entries(document, tags)
        if entry.text.strip()
    ]
    return Tags(tuple(dict.fromkeys(names)), tuple(dict.fromkeys(paths)), _notes(document).tag, _extension(document))


def merge(content: bytes | None, tag: Tag) -> bytes:
    """Put a tag into a document, in place of one of ours; None for a new one. Raises XmpError."""
    document = Document(EMPTY if content is None else content)
    removals = _removals(document, _notes(document))
    return _put(Document(document.edited(removals)) if removals else document, tag)


def remove(content: bytes) -> bytes:
    """Take our tag out of a document. Raises XmpError."""
    document = Document(content)
    notes = _notes(document)
    return document.edited(_removals(document, notes))


def is_new(content: bytes) -> bool:
    """Whether this is a document that we were making, whole or not, with nothing of others in it."""
    if not EMPTY.startswith(content[: len(_BEGINNING)]):
        return False
    try:
        return EMPTY.startswith(remove(content))
    except XmpError:
        return True


def is_ours_alone(content: bytes) -> bool:
    """Whether a document without our tag is one that we made, with nothing of others in it."""
    return content == EMPTY


def _extension(document: Document) -> str | None:
    values = [description.attribute(_EXTENSION) for description in document.descriptions]
    values += [found.text.strip() for found in document.properties(_EXTENSION)]
    return next(filter(None, values), None)


def _entries(document: Document, tags: _List) -> Iterator[Element]:
    for found in document.properties(tags.name):
        for container in found.children:
            if container.name in _CONTAINERS:
                yield from (entry for entry in container.children if entry.name == _ENTRY)


# What we have written.


def _notes(document: Document) -> _Notes:
    values: dict[str, str] = {}
    added: list[str] = []
    for description in document.descriptions:
        for attribute in description.attributes:
            if attribute.name.startswith(f"{NAMESPACE} "):
                values[attribute.name.partition(" ")[2]] = attribute.value
        for child in description.children:
            local = child.name.removeprefix(f"{NAMESPACE} ")
            if local != child.name:
                entries = [entry.text for entry in child if entry.name == _ENTRY]
                if local == "Added":
                    added += entries
                values[local] = child.text.strip() or " ".join(entries)
    tag = None if "Class" not in values else Tag(values["Class"], _confidence(values), values.get("Model"))
    empty = dict(note.partition("=")[::2] for note in values.get("Empty", "").split())
    return _Notes(tag, frozenset(added), empty)


def _confidence(values: dict[str, str]) -> float | None:
    try:
        return float(values["Confidence"])
    except (KeyError, ValueError):
        return None


# Taking it out.


def _removals(document: Document, notes: _Notes) -> list[Edit]:
    edits: list[Edit] = []
    kept = 0
    for description in document.descriptions:
        removals, is_empty = _without_ours(document, description, notes)
        if removals and is_empty:
            removals = [_without(document, description)]
        else:
            kept += 1
        edits += removals
    if edits and not kept and notes.empty.get("rdf:RDF") == "short":
        rdf = document.rdf
        return [Edit(rdf.opened - 1, rdf.end, "/>")]
    return edits


def _without_ours(document: Document, description: Element, notes: _Notes) -> tuple[list[Edit], bool]:
    """List the edits that take ours out of a description; also whether nothing is left in it then."""
    edits = []
    left = 0
    for attribute in description.attributes:
        if attribute.name.startswith(f"{NAMESPACE} ") or _declares_ours(description, attribute.name):
            edits.append(Edit(attribute.start, attribute.end))
        elif attribute.name != _ABOUT and not attribute.name.startswith("xmlns "):
            left += 1
    for child in description.children:
        tags = next((tags for tags in _LISTS if tags.name == child.name), None)
        if child.name.startswith(f"{NAMESPACE} "):
            edits.append(_without(document, child))
        elif tags is not None and (removals := _entry_removals(document, child, tags, notes)) is not None:
            edits += removals
            left += removals != [_without(document, child)]
        else:
            left += 1
    return edits, not left and not description.text.strip()


def _declares_ours(description: Element, name: str) -> bool:
    kind, _, prefix = name.partition(" ")
    return kind == "xmlns" and description.namespaces.get(prefix) == NAMESPACE


def _entry_removals(document: Document, found: Element, tags: _List, notes: _Notes) -> list[Edit] | None:
    """List the edits that take our entries out of a list; None where it has none."""
    container = found.children[0] if found.children else None
    if container is None or container.name not in _CONTAINERS:
        return None
    ours = [entry for entry in container.children if f"{tags.prefixed}={entry.text}" in notes.added]
    if not ours:
        return None
    if len(ours) < len(container.children) or notes.empty.get(tags.prefixed) == "long":
        return [_without(document, entry) for entry in ours]
    match notes.empty.get(tags.prefixed):
        case "short":
            return [Edit(container.opened - 1, container.end, "/>")]
        case "none":
            return [_without(document, container)]
        case "none-short":
            return [Edit(found.opened - 1, found.end, "/>")]
    return [_without(document, found)]


def _without(document: Document, element: Element) -> Edit:
    return Edit(document.space_before(element.start), element.end)


# Putting it in.


def _put(document: Document, tag: Tag) -> bytes:
    """Put a tag into a document that has none of ours."""
    edits: list[Edit] = []
    added: list[str] = []
    empty: list[str] = []
    own_lists: list[tuple[_List, list[str]]] = []
    for tags in _LISTS:
        wanted = _wanted(document, tags, tag)
        if not document.properties(tags.name):
            _refuse_attribute(document, tags)
            if wanted:
                own_lists.append((tags, wanted))
                added += [f"{tags.prefixed}={value}" for value in wanted]
            continue
        there = {entry.text for entry in _entries(document, tags)}
        if missing := [value for value in wanted if value not in there]:
            edit, note = _insertion(document, document.properties(tags.name)[0], tags, missing)
            edits.append(edit)
            empty += [] if note is None else [f"{tags.prefixed}={note}"]
            added += [f"{tags.prefixed}={value}" for value in missing]
    empty += ["rdf:RDF=short"] if document.rdf.is_short else []
    return document.edited([*edits, _own_insertion(document, _own(document, tag, added, empty, own_lists))])


def _wanted(document: Document, tags: _List, tag: Tag) -> list[str]:
    """List what one of the lists is to have."""
    levels = tag.label.split("/")
    if tags is _SUBJECT:
        return list(dict.fromkeys(levels))
    path = tags.separator.join(levels)
    is_there = bool(document.properties(tags.name))
    if tags is _HIERARCHY and not is_there and len(levels) > 1:
        others = [entry.text for entry in _entries(document, _SUBJECT)]
        return [path, *(name for name in dict.fromkeys(others) if name.strip() and name not in levels)]
    return [path] if is_there else []


def _refuse_attribute(document: Document, tags: _List) -> None:
    if any(description.attribute(tags.name) is not None for description in document.descriptions):
        raise _no_list(tags)


def _no_list(tags: _List) -> XmpError:
    return XmpError(tr("its {property} is no list of tags", property=tags.prefixed))


def _insertion(document: Document, found: Element, tags: _List, values: Sequence[str]) -> tuple[Edit, str | None]:
    """Put values into a list; also return a note where it was empty. Raises XmpError."""
    if not found.children:
        if found.text.strip() or found.attributes:
            raise _no_list(tags)
        prefix = next((prefix for prefix, uri in found.namespaces.items() if uri == RDF and prefix), "")
        bag = f"{prefix}:Bag"
        entries = "".join(_entry(f"{prefix}:li", value) for value in values)
        if found.is_short:
            return Edit(found.opened - 2, found.opened, f"><{bag}>{entries}</{bag}></{found.tag}>"), "none-short"
        return Edit(found.opened, found.opened, f"<{bag}>{entries}</{bag}>"), "none"
    container = found.children[0]
    if container.name not in _CONTAINERS or len(found.children) > 1:
        raise _no_list(tags)
    prefix, colon, _ = container.tag.rpartition(":")
    li = f"{prefix}{colon}li"
    if not container.children:
        text = "".join(_entry(li, value) for value in values)
        if container.is_short:
            return Edit(container.opened - 2, container.opened, f">{text}</{container.tag}>"), "short"
        return Edit(container.opened, container.opened, text), "long"
    last = container.children[-1]
    space = document.body[document.space_before(last.start) : last.start].decode()
    return Edit(last.end, last.end, "".join(space + _entry(li, value) for value in values)), None


def _entry(tag: str, value: str) -> str:
    return f"<{tag}>{as_text(value)}</{tag}>"


def _own(
    document: Document, tag: Tag, added: Sequence[str], empty: Sequence[str], lists: Sequence[tuple[_List, list[str]]]
) -> list[str]:
    """Write the description of our own, by lines; all its prefixes are declared in it."""
    about = next(
        (about for description in document.descriptions if (about := description.attribute(_ABOUT)) is not None), ""
    )
    namespaces = [("rdf", RDF), (PREFIX, NAMESPACE)]
    namespaces += [(tags.prefixed.partition(":")[0], tags.namespace) for tags, _ in lists]
    attributes = [f"xmlns:{prefix}={as_value(uri)}" for prefix, uri in namespaces]
    attributes.append(f"{PREFIX}:Class={as_value(tag.label)}")
    if tag.confidence is not None:
        attributes.append(f'{PREFIX}:Confidence="{tag.confidence:.6g}"')
    if tag.model is not None:
        attributes.append(f"{PREFIX}:Model={as_value(tag.model)}")
    if empty:
        attributes.append(f"{PREFIX}:Empty={as_value(' '.join(empty))}")
    lines = [f"<rdf:Description rdf:about={as_value(about)}", *(f"    {attribute}" for attribute in attributes)]
    lines[-1] += ">"
    for name, values in [*((tags.prefixed, values) for tags, values in lists), (f"{PREFIX}:Added", added)]:
        if values:
            lines += [f" <{name}>", "  <rdf:Bag>"]
            lines += [f"   {_entry('rdf:li', value)}" for value in values]
            lines += ["  </rdf:Bag>", f" </{name}>"]
    return [*lines, "</rdf:Description>"]


def _own_insertion(document: Document, lines: Sequence[str]) -> Edit:
    """Put our description behind the others."""
    rdf = document.rdf
    last = rdf.children[-1] if rdf.children else None
    if last is None:
        space = f"{document.line_end}  "
    else:
        space = document.body[document.space_before(last.start) : last.start].decode()
    text = space + (space or document.line_end).join(lines)
    if rdf.is_short:
        return Edit(rdf.opened - 2, rdf.opened, f">{text}</{rdf.tag}>")
    place = rdf.opened if last is None else last.end
    return Edit(place, place, text)
