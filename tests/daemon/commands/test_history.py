"""The history command: every filter, for people and as JSON."""

from __future__ import annotations

import os
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from daemon.commands.filters import end, instant
from daemon.files.source import Identity
from daemon.filing.corrections import Corrections
from daemon.journal.journal import Journal, read_history
from daemon.journal.records import Filing, State
from models.errors import UserError
from tests.command_desk import Office, make_office

DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.chdir(tmp_path)
    return make_office(tmp_path, capsys)


@pytest.fixture
def full(office: Office) -> Office:
    """Ten filings, one a day, by two runs of two checkpoints; the even ones are dogs."""
    journal = Journal(office.desk.journal_path)
    for number in range(10):
        label = "dog" if number % 2 == 0 else "cat"
        filing = Filing(
            state=State.DONE,
            action="move",
            source=office.desk.inbox / f"{number}.jpg",
            identity=Identity(1, number, 3, 4),
            folder=office.desk.output / label,
            filed_name=f"{number}_2.jpg",
            label=label,
            confidence=number / 10,
            model_digest=("aaaa" if number < 5 else "abcd") + "0" * 60,
            run="first" if number < 5 else "second",
            time=DAY + timedelta(days=number),
        )
        journal.write([filing])
    journal.close()
    return office


def test_a_class_is_found_however_its_letters_are_put_together(office: Office) -> None:
    filing = Filing(
        state=State.DONE,
        action="move",
        source=office.desk.inbox / "1.jpg",
        identity=Identity(1, 2, 3, 4),
        folder=office.desk.output / "고양이",
        filed_name="1.jpg",
        label="고양이",
        time=DAY,
    )
    journal = Journal(office.desk.journal_path)
    journal.write([filing])
    journal.close()
    assert numbers(office, "--class", unicodedata.normalize("NFD", "고양이")) == [1]


def numbers(office: Office, *options: str) -> list[int]:
    return [int(Path(str(row["source"])).stem) for row in office.json("history", *options)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (["--limit", "2"], [9, 8]),
        (["--class", "dog"], [8, 6, 4, 2, 0]),
        (["--class", "horse"], []),
        (["--since", "2026-03-09T12:00+00:00"], [9, 8]),
        (["--until", "2026-03-02T12:00+00:00"], [0]),
        (["--min-confidence", "0.8"], [9, 8]),
        (["--max_confidence", "0.1"], [1, 0]),
        (["--checkpoint", "AAAA"], [4, 3, 2, 1, 0]),
        (["--checkpoint", "abcd" + "0" * 60], [9, 8, 7, 6, 5]),
        (["--checkpoint", "abcdef"], []),
        (["--run", "first", "--class", "cat"], [3, 1]),
        (["--run", "last"], [9, 8, 7, 6, 5]),
        (["--file", "3.jpg"], [3]),
        (["--file", "3_2.jpg"], [3]),
        (["--file", "sorted/cat/3_2.jpg"], [3]),
        (["--file", "inbox/3.jpg"], [3]),
        (["--file", "sorted/dog/3_2.jpg"], []),
    ],
)
def test_filters(full: Office, options: list[str], expected: list[int]) -> None:
    assert numbers(full, *options) == expected


def test_a_day_is_a_whole_day_of_this_place(full: Office) -> None:
    assert numbers(full, "--since", "2026-03-03", "--until", "2026-03-04") == [3, 2]
    assert end("2026-03-04") - instant("2026-03-04") == timedelta(days=1)


def last_midnight() -> datetime:
    return datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.mark.parametrize(("today", "yesterday"), [("today", "yesterday"), ("Today", "YESTERDAY"), ("오늘", "어제")])
def test_days_may_be_called_by_a_word(full: Office, today: str, yesterday: str) -> None:
    midnight = days = None
    while midnight is None or midnight != last_midnight():  # another day may begin meanwhile
        midnight = last_midnight()
        days = instant(yesterday), end(yesterday), instant(today), end(today)
    assert days is not None
    assert days[1] == days[2] == midnight
    assert days[0] < midnight < days[3]
    assert numbers(full, "--until", yesterday) == numbers(full)
    assert numbers(full, "--since", today) == []


def test_a_class_has_what_was_corrected_to_it(office: Office) -> None:
    """By hand, also below its folder; what was corrected away is found by the class that the model saw, too."""
    desk = office.desk
    for name in ("cat.jpg", "dog.jpg", "deep.jpg", "gone.jpg"):
        label = "dog" if name == "dog.jpg" else "cat"
        desk.file([desk.decide(desk.put(name, name.encode()), label, label=label)])
    (desk.output / "dog" / "deep").mkdir()
    (desk.output / "cat" / "deep.jpg").rename(desk.output / "dog" / "deep" / "renamed.jpg")
    (desk.output / "cat" / "gone.jpg").rename(desk.output / "dog" / "gone.jpg")
    (desk.output / "dog" / "stranger.jpg").write_bytes(b"by hand")

    def names(*options: str) -> list[str]:
        return [Path(str(row["source"])).name for row in office.json("history", "--class", *options)]

    assert names("dog") == ["gone.jpg", "deep.jpg", "dog.jpg"]
    assert names("dog", "--limit", "2") == ["gone.jpg", "deep.jpg"]
    assert names("cat") == ["gone.jpg", "deep.jpg", "cat.jpg"]
    assert names("horse") == []
    assert office.run("history", "--class", "dog")[1].count("corrected to dog") == 2


def test_the_folder_of_the_others_has_what_lies_in_it(office: Office) -> None:
    """Whatever class it was taken for; what was moved out of it since is not in it."""
    desk = office.desk
    for name in ("unsure.jpg", "moved.jpg", "sure.jpg"):
        folder = "cat" if name == "sure.jpg" else "others"
        desk.file([desk.decide(desk.put(name, name.encode()), folder, label="cat")])
    assert office.run("history", "--class", "others")[1].count("-> others/") == 2
    (desk.output / "others" / "moved.jpg").rename(desk.output / "cat" / "moved.jpg")
    assert [Path(str(row["source"])).name for row in office.json("history", "--class", "others")] == ["unsure.jpg"]


def test_for_people(full: Office) -> None:
    code, text = full.run("history", "--limit", "1")
    assert code == 0
    when = (DAY + timedelta(days=9)).astimezone()
    assert (
        text
        == f"run second\n  {when:%Y-%m-%d %H:%M:%S}  9.jpg -> cat/9_2.jpg (cat 0.90, abcd00000000), no longer there\n"
    )
    assert full.run("history", "--class", "horse") == (0, "nothing that was filed matches\n")
    assert full.run("history", "--class", "horse", "--json") == (0, "[]\n")
    asked = "nothing that was filed matches: there is no class 'ct'; did you mean cat?\n"
    assert full.run("history", "--class", "ct") == (0, asked)


def test_unreadable_and_hostile_names(office: Office) -> None:
    desk = office.desk
    torn, hostile = desk.put("torn.jpg"), desk.put(os.fsdecode(b"\x1b[2J\xff\n.jpg"))
    desk.file([desk.decide(torn, "quarantine/truncated", reason="truncated", label=None), desk.decide(hostile)])
    _, text = office.run("history")
    assert "torn.jpg -> quarantine/truncated/torn.jpg (truncated)" in text
    assert r"$'\033[2J\377\n.jpg' -> $'cat/\033[2J\377\n.jpg'" in text
    assert [row["source"] for row in office.json("history", "--file", hostile.name)] == [str(hostile)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--since", "lately"], "neither a day like"),
        (["--until", "2026-13-01"], "neither a day like"),
        (["--min-confidence", "2"], "from 0 to 1"),
        (["--limit", "0"], "not a whole number of at least 1"),
        (["--checkpoint", "xyz"], "not how a digest begins"),
    ],
)
def test_wrong_use_is_a_sentence(full: Office, options: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        full.run("history", *options)


def test_no_journal_is_a_sentence(office: Office) -> None:
    with pytest.raises(UserError, match="there is no journal of filings into .*sorted .*nothing was filed yet"):
        office.run("history")


def test_json_has_the_letters_of_names(office: Office) -> None:
    desk = office.desk
    desk.file([desk.decide(desk.put("봄.jpg"), "고양이"), desk.decide(desk.put(os.fsdecode(b"caf\xe9.jpg")), "개")])
    _, text = office.run("history", "--json")
    assert '"class": "고양이"' in text
    assert "봄.jpg" in text
    assert r"caf\udce9.jpg" in text
    assert {Path(row["destination"]).name for row in office.json("history")} == {"봄.jpg", os.fsdecode(b"caf\xe9.jpg")}


def lines(office: Office) -> dict[str, str]:
    """What is said of each image after its time, by its name."""
    said = [line.split(maxsplit=2)[2] for line in office.run("history")[1].splitlines() if line.startswith("  ")]
    return {line.partition(" ")[0]: line for line in said}


def now(office: Office) -> dict[str, str | None]:
    return {Path(row["source"]).name: row["now"] for row in office.json("history")}


def test_where_each_image_lies_now(office: Office) -> None:
    desk = office.desk
    names = ["stays.jpg", "moved.jpg", "renamed.jpg", "sorted.jpg", "edited.jpg", "gone.jpg", "bin.jpg"]
    desk.file([desk.decide(desk.put(name, name.encode()), "dog", confidence=0.9) for name in names])
    dog = desk.output / "dog"
    for old, new in {
        "moved.jpg": "wolf/moved.jpg",
        "renamed.jpg": "늑대/회색/\N{DIGIT ONE}.jpg",
        "sorted.jpg": "dog/best/sorted.jpg",
        "edited.jpg": "wolf/edited.jpg",
        "bin.jpg": "#recycle/dog/bin.jpg",
    }.items():
        (desk.output / new).parent.mkdir(parents=True, exist_ok=True)
        (dog / old).rename(desk.output / new)
    (desk.output / "wolf" / "edited.jpg").write_bytes(b"brighter")
    (dog / "gone.jpg").unlink()
    assert now(office) == {
        "stays.jpg": str(dog / "stays.jpg"),
        "moved.jpg": str(desk.output / "wolf" / "moved.jpg"),
        "renamed.jpg": str(desk.output / "늑대" / "회색" / "1.jpg"),
        "sorted.jpg": str(dog / "best" / "sorted.jpg"),
        "edited.jpg": str(desk.output / "wolf" / "edited.jpg"),
        "gone.jpg": None,
        "bin.jpg": None,
    }
    assert lines(office) == {
        "stays.jpg": "stays.jpg -> dog/stays.jpg (dog 0.90)",
        "moved.jpg": "moved.jpg -> dog/moved.jpg (dog 0.90), corrected to wolf",
        "renamed.jpg": "renamed.jpg -> dog/renamed.jpg (dog 0.90), corrected to 늑대/회색",
        "sorted.jpg": "sorted.jpg -> dog/sorted.jpg (dog 0.90), now in dog/best",
        "edited.jpg": "edited.jpg -> dog/edited.jpg (dog 0.90), corrected to wolf",
        "gone.jpg": "gone.jpg -> dog/gone.jpg (dog 0.90), no longer there",
        "bin.jpg": "bin.jpg -> dog/bin.jpg (dog 0.90), no longer there",
    }


def test_what_a_later_command_moved_was_not_corrected(office: Office) -> None:
    desk = office.desk
    first = desk.file_one(desk.put(), "dog").destination
    assert first is not None
    second = desk.file_one(first, "wolf").destination
    assert [row["now"] for row in office.json("history")] == [str(second)] * 2
    text = office.run("history")[1]
    assert ", now in wolf\n" in text
    assert "corrected" not in text


def test_a_stranger_in_the_place_of_an_image_is_not_it(office: Office) -> None:
    desk = office.desk
    filed = desk.file_one(desk.put(), "dog").destination
    assert filed is not None
    (desk.output / "wolf").mkdir()
    filed.rename(desk.output / "wolf" / "cat.jpg")
    filed.write_bytes(b"somebody else's")
    assert now(office) == {"cat.jpg": str(desk.output / "wolf" / "cat.jpg")}


def test_an_image_that_went_back_lies_in_the_inbox(office: Office) -> None:
    path = office.desk.put()
    office.desk.file_one(path, "dog")
    office.run("undo", "--last", "1")
    assert now(office) == {"cat.jpg": str(path)}
    assert "no longer" not in office.run("history")[1]


def test_without_the_drive_of_the_output_it_is_not_known_where_an_image_is(office: Office) -> None:
    office.desk.file_one(office.desk.put(), "dog")
    office.desk.output.rename(office.desk.output.with_name("unmounted"))
    assert now(office) == {"cat.jpg": None}
    assert office.run("history")[1].endswith(", no longer there; where it is now is not known\n")


@pytest.mark.parametrize("limit", ["files", "time"])
def test_no_more_of_the_class_folders_is_read_than_the_limit(limit: str, office: Office) -> None:
    desk = office.desk
    desk.file([desk.decide(desk.put(f"{number}.jpg"), "dog") for number in range(5)])
    (desk.output / "dog" / "3.jpg").unlink()
    row = next(each for each in read_history(desk.journal_path) if each.source.name == "3.jpg")
    times = iter(range(0, 10_000, 30))
    few = Corrections(desk.output, most=2) if limit == "files" else Corrections(desk.output, clock=lambda: next(times))
    all_of_it = Corrections(desk.output)
    assert [few.find_edited(row), few.complete, all_of_it.find_edited(row), all_of_it.complete] == [
        None,
        False,
        None,
        True,
    ]
