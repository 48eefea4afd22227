"""Tags in XMP documents: what is put in can be read, taken out again, and leaves all else as it was."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.xmp.document import MOST_BYTES, XmpError
from models.xmp.tags import EMPTY, Tag, Tags, is_new, is_ours_alone, merge, read, remove
from tests.models.xmp.sidecars import (
    BY_PROGRAM,
    DARKTABLE,
    DIGIKAM,
    EXIFTOOL,
    LIGHTROOM,
    WITH_EMPTY_LISTS,
    with_subject,
)

DOG = Tag("animals/dog", 0.9312, "ab" * 32)
ALL = BY_PROGRAM | WITH_EMPTY_LISTS
each = pytest.mark.parametrize("content", ALL.values(), ids=ALL)

PATHS = {
    "digiKam:TagsList": "animals/dog",
    "MicrosoftPhoto:LastKeywordXMP": "animals/dog",
    "lr:hierarchicalSubject": "animals|dog",
    "dc:subject": "dog",
}
LEVELS = st.text(min_size=1, max_size=40).filter(lambda text: "/" not in text)
LABELS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join)


def test_new_sidecar_says_the_class_and_nothing_is_left_without_it() -> None:
    made = merge(None, DOG)
    assert read(made) == Tags(("animals", "dog"), ("animals/dog",), DOG)
    assert is_ours_alone(remove(made))


@each
def test_merging_keeps_every_byte_of_others_in_its_order(content: bytes) -> None:
    merged = iter(merge(content, DOG))
    assert all(byte in merged for byte in content.replace(b"/>", b">"))


@each
def test_tag_taken_out_gives_the_bytes_from_before(content: bytes) -> None:
    assert remove(merge(content, DOG)) == content
    assert remove(content) == content
    assert not is_ours_alone(content)


@each
def test_merging_twice_changes_nothing(content: bytes) -> None:
    merged = merge(content, DOG)
    assert merge(merged, DOG) == merged


@each
def test_another_class_replaces_our_tag_only(content: bytes) -> None:
    before, after = read(content), read(merge(merge(content, DOG), Tag("고양이")))
    assert after.own == Tag("고양이")
    assert set(after.names) == {*before.names, "고양이"}
    assert remove(merge(merge(content, DOG), Tag("고양이"))) == content


def test_tags_go_into_each_list_that_programs_read() -> None:
    assert read(merge(DARKTABLE, DOG)).names == ("holiday", "sea", "animals", "dog")
    assert read(merge(DARKTABLE, DOG)).paths == ("places/sea", "holiday", "animals/dog")
    merged = merge(DIGIKAM, DOG).decode()
    lists = {name: re.findall(rf"<{name}>.*?</{name}>", merged, re.DOTALL) for name in PATHS}
    assert all(len(found) == 1 for found in lists.values())
    assert all(f"<rdf:li>{path}</rdf:li>" in lists[name][0] for name, path in PATHS.items())


def test_new_list_of_paths_also_has_the_plain_tags_of_others() -> None:
    """digiKam reads no ``dc:subject`` where there is a list of paths."""
    assert read(merge(EXIFTOOL, DOG)).paths == ("animals/dog", "flat")
    assert read(merge(EXIFTOOL, Tag("dog"))).paths == ()


def test_tag_that_a_person_has_given_too_stays_when_ours_goes() -> None:
    own = with_subject("<dc:subject><rdf:Bag><rdf:li>dog</rdf:li></rdf:Bag></dc:subject>")
    merged = merge(own, Tag("dog"))
    assert read(merged).names == ("dog",)
    assert remove(merged) == own
    assert set(read(merge(merged, Tag("cat"))).names) == {"dog", "cat"}


def test_what_a_person_adds_to_our_list_stays_when_ours_goes() -> None:
    merged = merge(None, Tag("dog"))
    added = merged.replace(b"<rdf:li>dog</rdf:li>", b"<rdf:li>dog</rdf:li><rdf:li>mine</rdf:li>")
    left = remove(added)
    assert read(left) == Tags(("mine",))
    assert not is_ours_alone(left)


def test_our_tag_is_taken_out_of_what_another_program_has_written_anew() -> None:
    anew = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
    <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:own="urn:imagesortd:xmp:1.0:"
     xmlns:dc="http://purl.org/dc/elements/1.1/" xmp:Rating="3" own:Class="dog" own:Confidence="0.5"
     own:Model="abc"><dc:subject><rdf:Bag><rdf:li>beach</rdf:li><rdf:li>dog</rdf:li></rdf:Bag></dc:subject>
     <own:Added><rdf:Bag><rdf:li>dc:subject=dog</rdf:li></rdf:Bag></own:Added>
    </rdf:Description></rdf:RDF></x:xmpmeta>"""
    assert read(anew).own == Tag("dog", 0.5, "abc")
    left = remove(anew)
    assert read(left) == Tags(("beach",))
    assert b"urn:imagesortd" not in left
    assert b'xmp:Rating="3"' in left


def test_lists_that_cannot_be_added_to_are_refused() -> None:
    for subject in ("<dc:subject>dog</dc:subject>", "<dc:subject><rdf:Description/></dc:subject>"):
        with pytest.raises(XmpError, match="dc:subject is no list of tags"):
            merge(with_subject(subject), DOG)
    with pytest.raises(XmpError, match="dc:subject is no list of tags"):
        merge(with_subject("").replace(b'elements/1.1/"', b'elements/1.1/" dc:subject="dog"'), DOG)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_keep_theirs(encoding: str) -> None:
    content = WITH_EMPTY_LISTS["short-list"].decode().encode(encoding)
    merged = merge(content, Tag("고양이"))
    assert read(merged).names == ("고양이",)
    assert remove(merged) == content
    assert merged[:2] == content[:2]


LAUGHS = b"""<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><x>&b;</x>"""
OUTSIDE = b"""<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>"""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no xml",
        b"\x89PNG\r\n\x1a\n\0\0",
        LAUGHS,
        OUTSIDE,
        b"<x/>",
        DARKTABLE[:-40],
        DARKTABLE.replace(b'encoding="UTF-8"', b'encoding="EUC-KR"'),
        DARKTABLE.replace(b"holiday", "휴가".encode("euc-kr")),
        DARKTABLE.replace(b"holiday", b"&undefined;"),
        b"<x>" * 1000,
        b"<x>" + b"<y/>" * 60_000 + b"</x>",
        b" " * (MOST_BYTES + 1),
        b"\xff\xfe<",
    ],
    ids=[
        "empty", "text", "png", "laughs", "outside", "no-rdf", "cut", "says-euc-kr", "is-euc-kr", "entity", "deep",
        "many", "large", "half",
    ],
)  # fmt: skip
def test_what_is_no_xmp_is_refused_in_a_few_words(content: bytes) -> None:
    with pytest.raises(XmpError, match="^it ") as caught:
        merge(content, DOG)
    assert len(str(caught.value)) < 100


@settings(max_examples=50)
@given(label=LABELS, content=st.sampled_from([None, *ALL.values()]), other=LABELS)
def test_no_class_breaks_a_document(label: str, content: bytes | None, other: str) -> None:
    start = EMPTY if content is None else content
    merged = merge(content, Tag(label, 0.5, "m"))
    assert read(merged).own is not None
    assert merge(merged, Tag(label, 0.5, "m")) == merged
    assert remove(merged) == start
    assert remove(merge(merged, Tag(other))) == start


@settings(max_examples=50)
@given(names=st.lists(st.text(max_size=20), max_size=5), label=LABELS, spaces=st.text(" \n\t", max_size=3))
def test_no_tag_of_others_is_lost(names: list[str], label: str, spaces: str) -> None:
    legal = ["".join(re.findall("[\x20-\ud7ff\ue000-\ufffd]", name)) for name in names]
    escaped = [name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for name in legal]
    items = "".join(f"{spaces}<rdf:li>{name}</rdf:li>" for name in escaped)
    content = with_subject(f"<dc:subject>{spaces}<rdf:Bag>{items}{spaces}</rdf:Bag></dc:subject>")
    merged = merge(content, Tag(label))
    assert {*read(content).names} <= {*read(merged).names}
    assert remove(merged) == content


@settings(max_examples=50)
@given(content=st.binary(max_size=200))
def test_no_bytes_do_more_than_to_be_refused(content: bytes) -> None:
    with pytest.raises(XmpError):
        merge(content, DOG)


def test_place_of_our_lines_follows_those_of_others() -> None:
    assert b"\n" not in merge(LIGHTROOM, DOG).replace(b"\r\n", b"")


def test_what_was_broken_off_while_it_was_made_is_known_as_ours() -> None:
    made = merge(None, DOG)
    assert all(is_new(made[:length]) for length in range(len(made) + 1))
    assert not is_new(DARKTABLE)
    assert not is_new(merge(DARKTABLE, DOG))
    assert not is_new(made.replace(b"<rdf:li>dog</rdf:li>", b"<rdf:li>dog</rdf:li><rdf:li>mine</rdf:li>"))
