"""What the program asks of the kernel while it files one image, as a sequence of steps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

_PATTERNS = (
    ("flush the journal", r"fdatasync\(\d+<[^>]*journal\.db-wal>\) = 0"),
    ("make the part", r"openat\(.*\"\.part\.[^\"]*\", .*O_EXCL.* = \d"),
    ("write the part", r"write\(\d+<[^>]*/\.part\.[^>]*>.* = \d"),
    ("flush the part", r"fsync\(\d+<[^>]*/\.part\.[^>]*>\) = 0"),
    ("name the copy, replacing nothing", r"renameat2\(.*\"\.part\.[^\"]*\".*\"cat\.jpg\", RENAME_NOREPLACE\) = 0"),
    ("move the image, replacing nothing", r"renameat2\(.*/inbox>, \"cat.jpg\", .*\"cat.jpg\", RENAME_NOREPLACE\) = 0"),
    ("link the image", r"linkat\(.*/inbox>, \"cat\.jpg\", .*\"cat\.jpg\", 0\) = 0"),
    ("flush the class folder", r"fsync\(\d+<[^>]*/sorted/cat>\) = 0"),
    ("claim the original", r"rename(at)?\(.*\"cat\.jpg\".*\"\.claim\."),
    ("drop the original", r"unlink(at)?\(.*\"\.claim\."),
    ("flush the inbox", r"fsync\(\d+<[^>]*/inbox>\) = 0"),
)  # fmt: skip

RENAME = ("flush the journal", "move the image, replacing nothing", "flush the journal")
LINK = ("flush the journal", "link the image", "flush the class folder", "flush the journal")
COPY = (
    "flush the journal",
    *("make the part", "write the part", "flush the part", "flush the journal"),
    *("name the copy, replacing nothing", "flush the class folder", "flush the journal"),
)
MOVE_BY_COPY = (*COPY, "claim the original", "drop the original", "flush the inbox", "flush the journal")


def steps(lines: list[str]) -> tuple[str, ...]:
    """The steps in the lines of strace, one for several equal ones in a row."""
    return tuple(step for step, _ in groupby(_every_step(lines)))


def _every_step(lines: list[str]) -> Iterator[str]:
    for line in lines:
        for step, pattern in _PATTERNS:
            if re.search(pattern, line):
                yield step
