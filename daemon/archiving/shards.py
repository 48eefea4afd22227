"""Share an archive out among processes, and keep two of them from looking at the same images."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from daemon.files.locks import lock_descriptor
from models.errors import UserError
from models.files.ownership import make_folder, make_shared_file
from models.text.language import tr

#: In the folder of a manifest.
LOCKS = ".locks"
_NAME = re.compile(r"([0-9]+)-of-([0-9]+)\.lock")


@dataclass(frozen=True)
class Shard:
    """Part ``number`` of ``count``, from 1 on: the images whose hash says so."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/n``. Raises `UserError`."""
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        shard = cls(int(match[1]), int(match[2])) if match else cls(0)
        if not 1 <= shard.number <= shard.count:
            raise UserError(
                tr("'{text}' is not a shard: give --shard 1/4 to --shard 4/4, each to one process", text=text)
            )
        return shard

    def includes(self, uri_hash: bytes) -> bool:
        """Whether the image with that hash is of this shard."""
        return int.from_bytes(uri_hash[-8:], "big") % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def hold_shard(folder: Path, shard: Shard) -> ExitStack:
    """Keep every other process from looking at the images of a shard, until the returned stack is closed.

    Each takes its own lock first and asks for those of other numbers of shards then, so that of two at once at least
    one sees the other. Raises `UserError`.
    """
    with ExitStack() as held:
        name = f"{shard.number}-of-{shard.count}.lock"
        if not _lock(folder / LOCKS / name, held):
            raise UserError(
                tr(
                    "another process looks at the images of shard {shard} for the manifest {folder}: wait for it, or "
                    "give each process its own --shard",
                    shard=shard,
                    folder=folder,
                )
            )
        for other in sorted((folder / LOCKS).iterdir()):
            match = _NAME.fullmatch(other.name)
            if match is None or int(match[2]) == shard.count:
                continue
            with ExitStack() as asking:
                if not _lock(other, asking):
                    raise UserError(
                        tr(
                            "another process looks at the images of shard {number}/{count} for the manifest {folder}: "
                            "give all processes the same number of shards, or wait for it",
                            number=match[1],
                            count=match[2],
                            folder=folder,
                        )
                    )
        return held.pop_all()


def hold_for_applying(folder: Path) -> ExitStack:
    """Keep every other process from filing by a manifest, until the returned stack is closed. Raises `UserError`."""
    with ExitStack() as held:
        if not _lock(folder / LOCKS / "apply.lock", held):
            raise UserError(
                tr("another process files by the manifest {folder}: wait until it has finished", folder=folder)
            )
        return held.pop_all()


def _lock(path: Path, held: ExitStack) -> bool:
    """Lock a file until ``held`` is closed; False where somebody else holds it."""
    try:
        make_folder(path.parent)
        descriptor = make_shared_file(path)
    except OSError as error:
        raise UserError(
            tr(
                "the manifest {folder} cannot be written: {reason}",
                folder=path.parent.parent,
                reason=error.strerror or str(error),
            )
        ) from error
    held.callback(os.close, descriptor)
    return lock_descriptor(descriptor)
