"""``python -m models pull``: what cannot be had does not hide what else cannot, nor keep what can."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.__main__ import main
from models.text.commandline import run


@pytest.mark.parametrize("mode", ["hybrid", "clip+mobilenet", "mobilenet+efficientnet_lite0+clip"])
def test_every_part_that_cannot_be_fetched_is_named_in_one_sentence(
    mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(main, ["pull", mode, "--cache-dir", str(tmp_path)]) == 2
    *_, sentence = capsys.readouterr().err.splitlines()
    assert "2 parts are missing" in sentence
    assert "models pull mobilenet --to DIR" in sentence
    assert "models pull clip --to DIR" in sentence


def test_one_part_that_cannot_be_fetched_is_told_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, ["pull", "clip+efficientnet_lite0", "--cache-dir", str(tmp_path)]) == 2
    *_, sentence = capsys.readouterr().err.splitlines()
    assert sentence.startswith("models: the weights of clip ")
    assert "models pull clip --to DIR" in sentence


def test_a_part_that_is_here_is_fetched_though_another_is_not(
    store: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(main, ["pull", "mobilenet+efficientnet_lite0"]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("efficientnet_lite0: ")
    assert "the weights of mobilenet " in said.err.splitlines()[-1]
