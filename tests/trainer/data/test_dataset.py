from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from models.errors import UserError
from models.files.markers import MARKER, Kind, marker_content
from trainer.data.dataset import Sample, data_digest, divide, scan, shown


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def sample(label: str, content: str) -> Sample:
    return Sample(Path(f"{label}/{content}"), f"{label}/{content}", label, f"{content:0>64}")


def test_a_folder_name_is_the_label_of_every_image_below_it(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "cat/2024/may/b.PNG", "dog/c.webp")
    found = scan(tmp_path)
    assert [(file.name, file.label) for file in found.files] == [
        ("cat/2024/may/b.PNG", "cat"),
        ("cat/a.jpg", "cat"),
        ("dog/c.webp", "dog"),
    ]


def test_hidden_things_and_other_files_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg", "cat/.hidden.jpg", "cat/.thumbs/c.jpg", ".git/d.jpg", "dog/notes.txt")
    touch(tmp_path, "top.jpg")
    assert [file.name for file in scan(tmp_path).files] == ["cat/a.jpg", "dog/b.jpg"]


def test_class_folders_without_images_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg", "bird/notes.txt")
    found = scan(tmp_path)
    assert (found.classes, found.empty) == (("cat", "dog"), ("bird",))


def test_names_are_composed(tmp_path: Path) -> None:
    touch(tmp_path, f"{unicodedata.normalize('NFD', '고양이')}/a.jpg", "강아지/b.jpg")
    assert scan(tmp_path).classes == ("강아지", "고양이")


def test_both_spellings_of_one_name_are_one_class(tmp_path: Path) -> None:
    touch(tmp_path, f"{unicodedata.normalize('NFD', '고양이')}/a.jpg", "고양이/b.jpg", "강아지/c.jpg")
    found = scan(tmp_path)
    assert [file.label for file in found.files].count("고양이") == 2


def test_links_are_followed_and_loops_are_not_walked_twice(tmp_path: Path) -> None:
    touch(tmp_path, "data/cat/a.jpg", "data/dog/b.jpg", "elsewhere/c.jpg")
    (tmp_path / "data/bird").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/cat/again").symlink_to(tmp_path / "data/cat")
    os.mkfifo(tmp_path / "data/dog/pipe.jpg")
    assert [file.name for file in scan(tmp_path / "data").files] == ["bird/c.jpg", "cat/a.jpg", "dog/b.jpg"]


def test_links_in_a_circle_stop_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg")
    for name in ("circle", "cat/circle", "dog/circle.jpg"):
        (tmp_path / name).symlink_to(Path(name).name)
    assert [file.name for file in scan(tmp_path).files] == ["cat/a.jpg", "dog/b.jpg", "dog/circle.jpg"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((), "is empty"),
        ((".git/a.jpg", "notes.txt"), "holds neither class folders nor images"),
        (("pets/cat/a.jpg", "pets/dog/b.jpg"), "did you mean .*pets, which holds 2 folders"),
        (("a.jpg", "b.jpg"), "holds images but no class folders"),
        (("cat/notes.txt", "dog/notes.txt"), "no images in the class folders"),
        (("cat/a.jpg", "dog/notes.txt"), "only the class cat"),
        (("cat/a.jpg", "Cat/b.jpg"), "are one folder"),
        (("con/a.jpg", "cat/b.jpg"), "cannot be a folder's name"),
    ],
)
def test_what_is_no_data_set_is_said_in_a_sentence(tmp_path: Path, names: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        scan(touch(tmp_path, *names))


def test_a_missing_folder_and_a_file_are_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        scan(tmp_path / "none")
    with pytest.raises(UserError, match="is not a folder"):
        scan(touch(tmp_path, "file") / "file")


def test_max_samples_draws_per_class_by_seed(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{label}/{number:03}.jpg" for label in ("cat", "dog") for number in range(50)))
    drawn = [[file.name for file in scan(tmp_path, max_samples=5, seed=seed).files] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [name.split("/")[0] for name in drawn[0]] == ["cat"] * 5 + ["dog"] * 5
    assert drawn[0][:5] != [f"cat/{number:03}.jpg" for number in range(5)]


def test_a_larger_draw_holds_the_smaller_one(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{label}/{number:03}.jpg" for label in ("cat", "dog") for number in range(50)))
    few, many = ({file.name for file in scan(tmp_path, max_samples=limit).files} for limit in (5, 20))
    assert few < many


def test_images_are_divided_into_folds_of_about_the_asked_share(tmp_path: Path) -> None:
    samples = [sample(label, f"{label}{number}") for label in "ab" for number in range(300)]
    images = divide(tmp_path, [*samples, sample("c", "alone")], np.arange(601), [], held_out=0.2, seed=0)
    assert set(images.folds.tolist()) == {-1, 0, 1, 2, 3, 4}
    assert images.labels[images.folds == -1].tolist() == [images.classes.index("c")]
    assert len(images.held_out) == images.is_held_out.sum() == (images.folds == 0).sum()
    assert len(images.held_out) + len(images.training) == 601


def test_the_digest_is_of_pictures_and_labels_alone() -> None:
    samples = [sample("a", "1"), sample("b", "2")]
    renamed = [Sample(Path("x"), "x", s.label, s.sha256) for s in reversed(samples)]
    assert data_digest(samples) == data_digest(renamed)
    assert data_digest(samples) != data_digest([sample("b", "1"), sample("b", "2")])


def test_images_that_show_one_picture_are_in_one_fold_whatever_their_order(tmp_path: Path) -> None:
    samples = [sample(label, f"{label}{number}") for label in "ab" for number in range(100)]
    groups = np.arange(200) // 4 * 4
    images = divide(tmp_path, samples, groups, [], held_out=0.2, seed=0)
    assert (images.folds.reshape(-1, 4) == images.folds[::4, None]).all()
    turned = divide(tmp_path, samples[::-1], (196 - groups[::-1]) // 4 * 4, [], held_out=0.2, seed=0)
    assert (turned.folds[::-1] == images.folds).all()


def test_a_class_of_which_all_show_one_picture_is_never_held_out(tmp_path: Path) -> None:
    samples = [sample(label, f"{label}{number}") for label in "ab" for number in range(10)]
    groups = np.array([0] * 10 + list(range(10, 20)))
    images = divide(tmp_path, samples, groups, [], held_out=0.2, seed=0)
    assert set(images.folds[:10].tolist()) == {-1}
    assert -1 not in images.folds[10:]


def test_what_was_passed_over_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg", "cat/.hidden.jpg", "cat/.thumbs/c.jpg", ".git/d.jpg", "dog/notes.txt")
    touch(tmp_path, "top.jpg", "notes.txt", "cat/2024/e.jpg")
    found = scan(tmp_path)
    assert (found.beside, found.hidden, found.nested) == (1, 3, 1)


def test_too_few_readable_classes_are_said_with_the_reason(tmp_path: Path) -> None:
    from trainer.data.dataset import Unreadable

    lost = Unreadable("b/x.jpg", "b", "empty", "The file is empty.")
    with pytest.raises(UserError, match=r"fewer than two classes .* b/x.jpg: The file is empty"):
        divide(tmp_path, [sample("a", "1")], np.arange(1), [lost], held_out=0.2, seed=0)


def test_any_name_can_be_shown() -> None:
    assert shown(os.fsdecode(b"caf\xe9.jpg")) == "caf\\xe9.jpg"
    assert shown("고양이.jpg") == "고양이.jpg"
    assert shown("a\x1b[2Jb\n.jpg") == "a\\x1b[2Jb\\n.jpg"


def test_what_is_of_the_nas_or_the_system_is_no_class_and_nothing_to_learn(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "dog/2.jpg", "$RECYCLE.BIN/S/$R1.jpg", "cat/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    folders = scan(tmp_path)
    assert [file.name for file in folders.files] == ["cat/1.jpg", "dog/2.jpg"]
    assert (folders.classes, folders.leftovers.folders, folders.leftovers.pictures) == (("cat", "dog"), 2, 2)


def test_a_folder_with_a_plain_word_for_a_name_is_a_class_but_none_inside_a_class(tmp_path: Path) -> None:
    """A data set of litter has a class "trash"; a bin that a NAS made in a class folder is no part of the class."""
    touch(tmp_path, "cat/1.jpg", "trash/2.jpg", "cat/Trash/3.jpg", "cat/Folder.jpg", "Recycle Bin - Volume_1/cat/4.jpg")
    folders = scan(tmp_path)
    assert [file.name for file in folders.files] == ["cat/1.jpg", "trash/2.jpg"]
    assert folders.bins == ["trash"]
    assert (folders.leftovers.folders, folders.leftovers.pictures) == (2, 3)


def test_the_folders_in_which_the_daemon_files_what_has_no_class_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg", "미정/c.jpg", "broken/truncated/d.jpg", "bird/e.jpg", "twice/f.jpg")
    kinds: dict[str, Kind] = {"cat": "class", "미정": "others", "broken": "quarantine", "twice": "duplicate"}
    for folder, kind in kinds.items():
        (tmp_path / folder / MARKER).write_bytes(marker_content(kind))
    (tmp_path / "dog" / MARKER).touch()
    found = scan(tmp_path)
    assert found.classes == ("bird", "cat", "dog")
    assert sorted(found.not_classes) == ["broken", "twice", "미정"]


@pytest.mark.parametrize("marked", ["cat", "others"])
def test_older_markers_leave_out_what_has_the_usual_name(tmp_path: Path, marked: str) -> None:
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg", "others/c.jpg", "Quarantine/truncated/d.jpg")
    (tmp_path / marked / MARKER).touch()
    found = scan(tmp_path)
    assert found.classes == ("cat", "dog")
    assert sorted(found.not_classes) == ["Quarantine", "others"]


def test_where_no_daemon_has_been_others_is_a_class(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "others/c.jpg")
    assert scan(tmp_path).classes == ("cat", "others")


def test_a_data_set_of_the_daemons_own_folders_alone_is_one_sentence(tmp_path: Path) -> None:
    touch(tmp_path, "others/c.jpg")
    (tmp_path / "others" / MARKER).touch()
    with pytest.raises(UserError, match="holds only the daemon's own folders"):
        scan(tmp_path)
