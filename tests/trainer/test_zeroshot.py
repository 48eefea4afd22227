from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from models import registry
from models.checkpoints import checkpoint as checkpoints
from models.classifier import Classifier, open_classifier
from models.text.commandline import run
from models.weights.store import WeightsStore
from tests.trainer.conftest import draw
from trainer.__main__ import main
from trainer.fit import fit
from trainer.fitted import FitOptions
from trainer.heads.prompts import text_embeddings
from trainer.runs.listing import as_rows, list_runs


def zero_shot(*arguments: str | Path) -> int:
    return run(main, ["zero-shot", *map(str, arguments)])


def crops_of(classifier: Classifier, count: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    return [
        np.stack([np.asarray(draw("circle", seed).resize((each.crop, each.crop))) for seed in range(count)])
        for each in classifier.transforms
    ]


@pytest.mark.parametrize("family", ["tiny_clip", "tiny_siglip"])
def test_probabilities_are_the_models_own(
    family: str, tmp_path: Path, store: WeightsStore, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(family)
    command = ("--classes", "dog", "cat", "car", "--clip-model", folder, "--output-dir", tmp_path, "--threshold", "0.4")
    assert zero_shot(*command) == 0
    classifier = open_classifier(tmp_path, store)  # proves the golden samples
    assert classifier.classes == ["car", "cat", "dog"]
    assert classifier.metadata.threshold == 0.4
    assert classifier.metadata.temperature == 1

    backbone = registry.locate("clip", str(folder), store)
    assert backbone.text is not None
    (texts,) = text_embeddings([backbone], classifier.classes)
    assert texts is not None
    crops = crops_of(classifier, 5)
    features = classifier.extractor.features(crops)
    cosines = features / np.linalg.norm(features, axis=1, keepdims=True) @ texts.T
    expected = np.exp(backbone.text().scale * cosines)
    np.testing.assert_allclose(
        classifier.probabilities(crops), expected / expected.sum(axis=1, keepdims=True), atol=1e-4
    )


def test_the_run_is_listed_and_keeps_what_it_was_made_of(
    tiny_siglip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos" / "개").mkdir(parents=True)
    (tmp_path / "photos" / "hot_dog").mkdir()
    (tmp_path / "photos" / ".hidden").mkdir()
    runs = tmp_path / "runs"
    command = ("--classes-from", tmp_path / "photos", "--clip-model", tiny_siglip, "--output-dir", runs, "--json")
    assert zero_shot(*command) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["classes"] == ["hot_dog", "개"]
    assert said["published"]
    folder = Path(said["run"])
    assert "hot_dog: a photo of a hot dog." in (folder / "prompts.txt").read_text().splitlines()
    assert {path.name for path in folder.iterdir()} == {
        "checkpoint.safetensors",
        "metrics.json",
        "prompts.txt",
        "settings.toml",
    }
    (row,) = as_rows(list_runs(runs))
    assert (row["current"], row["classes"], row["accuracy"], row["problem"]) == (True, 2, None, "")
    assert checkpoints.load(runs).metadata.data_digest == ""


def test_nested_names_are_paths_that_are_called_by_their_last_name(
    tiny_siglip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("animals/개", "animals/hot_dog", "car", ".hidden"):
        (tmp_path / "photos" / folder).mkdir(parents=True)
    runs = tmp_path / "runs"
    command = ("--classes-from", tmp_path / "photos", "--nested", "--clip-model", tiny_siglip, "--output-dir", runs)
    assert zero_shot(*command, "--threshold", "0.6", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["classes"] == ["animals/hot_dog", "animals/개", "car"]
    prompts = (Path(said["run"]) / "prompts.txt").read_text(encoding="utf-8").splitlines()
    assert "animals/hot_dog: a photo of a hot dog." in prompts
    assert "animals/개: 개 사진" in prompts
    assert checkpoints.load(runs).metadata.served_levels == {1: 0.6}


def test_a_korean_name_and_an_english_model_are_warned_of_and_prompts_help(
    tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], store: WeightsStore
) -> None:
    common = ("--classes", "강아지", "cat", "--clip-model", tiny_clip, "--output-dir", tmp_path / "runs")
    assert zero_shot(*common, "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["unread"] == ["강아지"]
    assert "does not know the letters of 강아지: such a name may mean nothing" in said.err
    assert "강아지: a dog" in said.err

    prompts = tmp_path / "prompts.txt"
    prompts.write_text("강아지: dog\ncat: cat\n")
    assert zero_shot(*common, "--prompts", prompts) == 0
    assert "warning" not in capsys.readouterr().out
    (texts,) = text_embeddings(
        [registry.locate("clip", str(tiny_clip), store)], ["cat", "강아지"], {"cat": ["cat"], "강아지": ["dog"]}
    )
    assert texts is not None
    found = checkpoints.load(tmp_path / "runs")
    np.testing.assert_allclose(
        found.head.weight / np.linalg.norm(found.head.weight, axis=1, keepdims=True), texts, rtol=1e-4, atol=1e-6
    )


def test_what_was_fitted_on_images_is_not_given_up_for_names(
    shapes: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {"clip": str(tiny_clip)}
    fitted = fit(
        FitOptions(
            data_dir=shapes,
            mode="clip",
            output_dir=tmp_path,
            weights=weights,
            epochs=1,
            max_samples=6,
            publish="always",
        )
    )
    common = ("--classes-from", shapes, "--clip-model", tiny_clip, "--output-dir", tmp_path)
    pointers = []
    for more in ((), ("--publish", "always"), (), ("--publish", "never")):
        assert zero_shot(*common, *more) == 0
        pointer = checkpoints.read_pointer(tmp_path)
        assert pointer is not None
        pointers.append(pointer.run)
    assert pointers[0] == fitted.run.name
    assert pointers[1] != pointers[0]
    assert pointers[2] not in pointers[:2]
    assert pointers[3] == pointers[2]
    assert "was fitted on images of the same classes" in capsys.readouterr().out
    out = tmp_path / "report"
    command = ["evaluate", "--data-dir", shapes, "--checkpoint", tmp_path, "--output-dir", out, "--json"]
    assert run(main, list(map(str, command))) == 0
    assert json.loads(capsys.readouterr().out)["figures"]["images"] == 72


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "one of the arguments --classes --classes-from is required"),
        (("--classes", "dog", "cat", "--classes-from", "x"), "not allowed with"),
        (("--classes", "dog"), "give at least two"),
        (("--classes", "dog", "dog"), "give at least two"),
        (("--classes", "dog", "a//b"), "cannot be a folder's name"),
        (("--classes", "dog", "dog/small"), "lies in the folder of the class 'dog'"),
        (("--classes", "dog", ".."), "cannot be a folder's name"),
        (("--classes", "dog", "Dog"), "upper and lower case"),
        (("--classes-from", "no/folder"), "no/folder cannot be read"),
        (("--classes", "dog", "cat", "--threshold", "2"), "--threshold: it must be between 0 and 1"),
        (("--classes", "dog", "cat", "--prompts", "no.txt"), "no.txt cannot be read"),
        (("--classes", "dog", "cat", "--mode", "efficientnet_lite0"), "of mode .* does not read text"),
        (("--classes", "dog", "cat", "--clip-model", "/no/such"), "/no/such"),
    ],
)
def test_wrong_use_is_one_sentence_and_leaves_nothing(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert zero_shot(*arguments, "--output-dir", tmp_path) == 2
    said = capsys.readouterr().err
    assert re.search(sentence, said)
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
