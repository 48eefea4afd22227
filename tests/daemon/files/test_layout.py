"""The layout: what a template may say, and that no name, date or class leads anywhere else."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.files.candidates import is_temporary_name
from daemon.files.layout import Layout, LayoutError, LayoutValues, folder_name
from models.deciding.class_names import check_class_name
from models.files.leftovers import is_bin, is_leftover

TAKEN = datetime(2024, 5, 3, 7, 8, 9, tzinfo=timezone(timedelta(hours=9)))
FILED = datetime(2026, 11, 30, 1, 2, 3, tzinfo=UTC)


def values(**more: object) -> LayoutValues:
    given = {"label": "animals/dog", "taken": TAKEN, "filed": FILED, "inbox": "Camera", "stem": "IMG_1"}
    return LayoutValues(**(given | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("template", "inside"),
    [
        ("{class}", ""),
        ("{class}/{taken:%Y}/{taken:%m}", "2024/05"),
        ("{class}/{taken:%Y/%m}", "2024/05"),
        ("{class}/{taken}", "2024-05-03"),
        ("{class}/{taken:%H%z}", "07+0900"),
        ("{class}/{filed:%Y}년/{inbox} - {stem}", "2026년/Camera - IMG_1"),
        ("{class}/{top}/archive", "animals/archive"),
        ("{class}/{taken:%D}", "05_03_24"),
        ("{class}/{{x}}", "{x}"),
    ],
)
def test_folders_are_made_of_fields(template: str, inside: str) -> None:
    assert Layout(template).inside(values()) == inside
    assert Layout(template).is_flat == (inside == "")
    assert Layout(template).uses_taken == ("taken" in template)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("", "it must begin with {class}"),
        ("{taken:%Y}/{class}", "it must begin with {class}"),
        ("/{class}", "it must begin with {class}"),
        ("{class}-{taken:%Y}", "it must begin with {class}"),
        ("../{class}", "it must begin with {class}"),
        ("{class}/", "a folder has no name"),
        ("{class}//x", "a folder has no name"),
        ("{class}/{taken:%Y/}", "a folder has no name"),
        ("{class}/..", "'..' cannot be the name of a folder"),
        ("{class}/../../etc", "'..' cannot be the name of a folder"),
        ("{class}/.hidden", "'.hidden' cannot be"),
        ("{class}/@eaDir", "'@eaDir' cannot be"),
        ("{class}/a:b", "'a:b' cannot be"),
        ("{class}/CON", "'CON' cannot be"),
        ("{class}/x\0y", "cannot be"),
        ("{class}/{class}", "{class} stands at its beginning"),
        ("{class}/{taken:%Y", "a brace is left open"),
        ("{class}/}", "a brace is left open"),
        ("{class}/{date}", "there is no field {date}: there are {class}, {top}, {taken}"),
        ("{class}/{taken.year}", "there is no field {taken.year}"),
        ("{class}/{stem!r}", "there is no field {stem}"),
        ("{class}/{0}", "there is no field {0}"),
        ("{class}/{stem:>10}", "{stem} takes nothing behind a colon"),
        ("{class}" + "/x" * 9, "it has too many folders"),
        ("{class}/" + "x" * 300, "it is too long"),
    ],
)
def test_what_is_no_layout_is_said_in_a_sentence(template: str, why: str) -> None:
    with pytest.raises(LayoutError) as error:
        Layout(template)
    assert why in str(error.value)


_TEXT = st.text(max_size=60) | st.sampled_from(["..", ".", "", " ", "/etc", "a/../b", "\udce9", "con", "x.part", "~$x"])
_TIMES = st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=-12))]))


@given(text=_TEXT)
def test_whatever_a_field_holds_is_one_folder_of_everybodys(text: str) -> None:
    name = folder_name(text)
    assert check_class_name(name) == name
    assert "/" not in name
    assert "\0" not in name
    assert not any(is_it(name) for is_it in (is_temporary_name, is_leftover, is_bin))
    assert len(name.encode()) <= 122
    assert folder_name(name) == name


@given(
    template=st.lists(
        st.sampled_from(["{class}", "/", "..", "{taken:%Y}", "{taken:%x}", "{stem}", "{inbox}", "{top}", "a"]) | _TEXT,
        max_size=9,
    ).map("".join),
    taken=_TIMES,
    filed=_TIMES,
    stem=_TEXT,
    inbox=_TEXT,
    label=st.sampled_from(["dog", "animals/dog", "동물/개"]),
)
def test_no_template_date_or_name_leaves_the_class_folder(
    template: str, taken: datetime, filed: datetime, stem: str, inbox: str, label: str
) -> None:
    for text in (template, "{class}/" + template):
        try:
            layout = Layout(text)
        except LayoutError:
            continue
        inside = layout.inside(LayoutValues(label=label, taken=taken, filed=filed, inbox=inbox, stem=stem))
        parts = inside.split("/") if inside else []
        assert len(parts) <= 8
        assert not set(parts) & {"", ".", ".."}
        assert all(check_class_name(part) == part == unicodedata.normalize("NFC", part) for part in parts)
