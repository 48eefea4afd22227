"""Make and read the hidden names that files have for a moment of a transfer."""

from __future__ import annotations

import re
from typing import NamedTuple

from daemon.files.names import numbered, simpler_name
from daemon.journal.records import Filing

#: In bytes, the most that eCryptfs allows: every file must be able to get a private name, whatever its file system.
_LONGEST = 143
#: The purposes of copies whose original is still where it was.
COPIES = frozenset({"part", "place"})
_OURS = re.compile(r"\.(part|place|drop|claim)\.(\d{8}T\d{6}-[0-9a-f]{8}-\d+)\.(.+)", re.DOTALL)


class PrivateName(NamedTuple):
    """Parts of a private name: its purpose, its filing, and the name that the file has otherwise.

    ``own_name`` is shortened where it is long, and plain for COPIES.
    """

    purpose: str
    filing: str
    own_name: str

    @classmethod
    def parse(cls, name: str) -> PrivateName | None:
        """Read a name; None if it is none of ours."""
        match = _OURS.fullmatch(name)
        return None if match is None else cls(*match.groups())


def private_name(purpose: str, row: Filing) -> str:
    """Make a hidden name that no other file has, for a moment of a transfer; recovery knows it from the journal.

    In the folder of the destination: ``part``, a copy being made; ``place``, a copy being renamed to its final name;
    ``drop``, a copy being removed. In the folder of the source: ``claim``, an original being removed. It ends
    with the name of the file, for a later run that finds no journal; of a ``part`` or ``place``, whose file system may
    not hold that name, as `plain_name` has it.
    """
    name = (row.filed_name if purpose == "drop" else None) or row.source.name
    beginning = f".{purpose}.{filing_of(row)}."
    return beginning + shortened(plain_name(name) if purpose in COPIES else name, len(beginning))


def filing_of(row: Filing) -> str:
    """Return the part of a private name that tells its filing from all others."""
    return f"{row.run}-{row.id}"


def plain_name(name: str) -> str:
    """Simplify a name until every file system can hold it; several names may become the same."""
    while (simpler := simpler_name(name)) != name:
        name = simpler
    return name


def shortened(name: str, beginning: int) -> str:
    """Shorten a name to what a private one has room for, behind so many bytes."""
    return numbered(name, 1, _LONGEST - beginning)
