"""How names are shown that a terminal would act on, or that are no UTF-8: one way, everywhere."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from daemon.monitoring import messages
from models.text.printable import quoted, shown
from trainer.data import dataset

NAMES = [
    ("개 1.jpg", "개 1.jpg", "개 1.jpg"),
    (os.fsdecode(b"caf\xe9.jpg"), r"caf\xe9.jpg", r"$'caf\351.jpg'"),
    ("caf\xe9.jpg", "café.jpg", "café.jpg"),
    ("a\nb\t\x1b[31m.jpg", r"a\nb\t\x1b[31m.jpg", r"$'a\nb\011\033[31m.jpg'"),
    ("\x9b31m.jpg", r"\u009b31m.jpg", r"$'\302\23331m.jpg'"),  # not the byte 9b
    ("x\u202egpj.exe", r"x\u202egpj.exe", r"$'x\342\200\256gpj.exe'"),
]


@pytest.mark.parametrize(("name", "text", "word"), NAMES)
def test_there_is_one_way(name: str, text: str, word: str) -> None:
    assert shown(name) == messages.shown(name) == dataset.shown(name) == dataset.shown(Path(name)) == text
    assert quoted(name) == messages.quoted(name) == word
    assert text.isprintable()


@pytest.mark.parametrize("name", [name for name, _, word in NAMES if word.startswith("$")])
def test_what_is_quoted_is_the_name_for_a_shell(name: str) -> None:
    done = subprocess.run(["bash", "-c", f"printf %s {quoted(name)}"], capture_output=True, check=True)
    assert done.stdout == os.fsencode(name)
