"""The manifest of an archive: a folder of Parquet files, each of which is there as a whole or not at all.

Blocks are only ever added. Where an image has changed, or another model looks at it, its newer row supersedes the
older; readers see the newest.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from daemon.archiving.rows import HASH_BYTES, Row
from models.errors import UserError
from models.files.atomic import atomic_file
from models.text.language import tr

#: Version of the format, in the metadata of each block.
_VERSION = 1
_VERSION_KEY = b"imagesortd_manifest"

_NAME = pa.dictionary(pa.int32(), pa.string())
_GROUP = pa.struct([("folder", pa.string()), ("probability", pa.float32()), ("depth", pa.int8())])

#: The columns, in the order of the fields of `Row`.
SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("uri_hash", pa.binary(HASH_BYTES)),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("sha256", pa.string()),
        ("taken", pa.timestamp("us")),
        ("taken_by", _NAME),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("class_name", _NAME),
        ("confidence", pa.float32()),
        ("second", _NAME),
        ("second_confidence", pa.float32()),
        ("third", _NAME),
        ("third_confidence", pa.float32()),
        ("strangeness", pa.float32()),
        ("groups", pa.list_(_GROUP)),
        ("outcome", _NAME),
        ("label", _NAME),
        ("reason", _NAME),
        ("detail", pa.string()),
        ("model", _NAME),
        ("looked_at", pa.timestamp("us", tz="UTC")),
        ("supersedes", pa.bool_()),
    ],
    metadata={_VERSION_KEY: str(_VERSION).encode()},
)

#: Rows and seconds after which a block is written: what a job that is killed loses at most.
BLOCK_ROWS, BLOCK_SECONDS = 10_000, 60.0


def table_of(rows: Iterable[Row]) -> pa.Table:
    """Make a table of rows, with the columns of a block."""
    return pa.Table.from_pylist([vars(row) for row in rows], schema=SCHEMA)


def write_block(folder: Path, table: pa.Table) -> None:
    """Add a block to a manifest: it appears complete and durable under its name, or not at all. Raises OSError."""
    with atomic_file(folder / f"block-{time.time_ns():020}-{secrets.token_hex(4)}.parquet") as file:
        pq.write_table(table, file, compression="zstd")


class BlockWriter:
    """Collects rows and writes them as blocks; `flush` writes those that are left."""

    def __init__(self, folder: Path, rows: int = BLOCK_ROWS, seconds: float = BLOCK_SECONDS) -> None:
        self._folder = folder
        self._most_rows, self._most_seconds = rows, seconds
        self._rows: list[Row] = []
        self._tables: list[pa.Table] = []
        self._count = 0
        self._since = 0.0

    def add(self, row: Row) -> None:
        """Add a row; write a block if it is time. Raises `UserError`."""
        self._rows.append(row)
        self._added(1)

    def add_table(self, rows: pa.Table) -> None:
        """Add the rows of a table that `table_of` made, likewise."""
        self._tables.append(rows)
        self._added(len(rows))

    def _added(self, count: int) -> None:
        if not self._count:
            self._since = time.monotonic()
        self._count += count
        if self._count >= self._most_rows or time.monotonic() - self._since >= self._most_seconds:
            self.flush()

    def flush(self) -> None:
        """Write what was added since the last block. Raises `UserError`; then the rows are kept for another try."""
        if not self._count:
            return
        try:
            write_block(self._folder, pa.concat_tables([*self._tables, table_of(self._rows)]).unify_dictionaries())
        except OSError as error:
            raise UserError(
                tr(
                    "the manifest {folder} cannot be written: {reason}",
                    folder=self._folder,
                    reason=error.strerror or str(error),
                )
            ) from error
        self._rows, self._tables, self._count = [], [], 0


def blocks(folder: Path) -> list[Path]:
    """List the blocks of a manifest, the oldest first. Raises `UserError` where the folder cannot be read."""
    try:
        return sorted(folder.glob("block-*.parquet"))
    except OSError as error:
        raise UserError(
            tr("{folder} cannot be read: {reason}", folder=folder, reason=error.strerror or str(error))
        ) from error


def require_manifest(folder: Path) -> None:
    """Raise `UserError` where a folder holds no manifest."""
    if not folder.is_dir() or not blocks(folder):
        raise UserError(
            tr(
                "there is no manifest in {folder}: make one first, with python -m daemon archive INPUT --manifest DIR",
                folder=folder,
            )
        )


def read_block(path: Path, columns: Sequence[str]) -> pa.Table:
    """Read some columns of a block. Raises `UserError` where it is damaged, or of a newer version."""
    try:
        with pq.ParquetFile(path) as file:
            version = (file.schema_arrow.metadata or {}).get(_VERSION_KEY, b"")
            if version != str(_VERSION).encode():
                raise UserError(
                    tr("{path} was written by another version of this program: use that version", path=path)
                )
            return file.read(columns=list(columns))
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(tr("{path} is damaged: delete it, and archive again what it was about", path=path)) from error


def read_newest(folder: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the newest row of each image, a table for each block; memory grows with the superseded rows only."""
    newest = _newest_of_superseded(folder)
    wanted = list(dict.fromkeys([*columns, *(("uri_hash", "looked_at") if newest is not None else ())]))
    for path in blocks(folder):
        table = read_block(path, wanted)
        if newest is not None:
            at = pc.index_in(table["uri_hash"], value_set=newest["uri_hash"])
            table = table.filter(
                pc.or_(pc.is_null(at), pc.equal(table["looked_at"], newest["looked_at"].take(pc.fill_null(at, 0))))
            )
        yield table.select(list(columns))


def _newest_of_superseded(folder: Path) -> Mapping[str, pa.Array] | None:
    """Return when the newest row was written of each image that has several; None where none has."""
    flagged = []
    for path in blocks(folder):
        if pc.any(read_block(path, ["supersedes"])["supersedes"]).as_py():
            table = read_block(path, ["uri_hash", "supersedes"])
            flagged.append(table.filter(table["supersedes"])["uri_hash"].combine_chunks())
    hashes = pa.concat_arrays(flagged).unique() if flagged else None
    if hashes is None:
        return None
    rows = []
    for path in blocks(folder):
        table = read_block(path, ["uri_hash", "looked_at"])
        rows.append(table.filter(pc.is_in(table["uri_hash"], value_set=hashes)))
    newest = pa.concat_tables(rows).group_by("uri_hash").aggregate([("looked_at", "max")]).combine_chunks()
    return {
        "uri_hash": newest["uri_hash"].combine_chunks(),
        "looked_at": newest["looked_at_max"].combine_chunks(),
    }
