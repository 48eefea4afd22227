"""Read which images lie in one folder, such as the pile of unsure ones, for people to look at."""

from __future__ import annotations

import os
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from daemon.journal.records import SELECT, TEXT_ID, Filing, as_text, decode, instant
from daemon.journal.schema import TAGGED

#: The filings that put an image into a folder.
_IN_FOLDER = f"folder = {TEXT_ID} AND state = 'done' AND image_id IS NULL AND reason IS NULL"
#: A folder, and those in it that a layout makes.
_BELOW = "SELECT id FROM texts WHERE text = ? OR (text > ? AND text < ?)"
#: Nobody has said yet what an image is.
_UNDECIDED = "NOT EXISTS (SELECT 1 FROM labels WHERE labels.sha256 = filings.sha256 AND forgotten = 0)"
#: Images of a class by how sure the model was; those that a person has brought there come last.
_SURENESS = "coalesce(confidence, 2.0)"


#: Of an image that is tagged where it lies, only the newest filing: it may have got another tag since, or its first.
_NEWEST_OF_ITS_PLACE = """(action <> 'tag' OR NOT EXISTS (SELECT 1 FROM filings AS later
    WHERE later.name = filings.name AND later.time >= filings.time AND later.id > filings.id
    AND later.inbox = filings.inbox AND later.action = 'tag' AND later.state = 'done'))"""


class PiledImage(NamedTuple):
    """A filing into the folder of a pile: its id, the content of its image and its name there.

    ``folder``: where the image lies, if it got no tag and stays; None if it lies in the folder of the pile.
    """

    id: int
    sha256: str | None
    name: str | bytes
    folder: str | bytes | None


def undecided(db: sqlite3.Connection, folder: str) -> list[PiledImage]:
    """List the filings into a folder whose images no person has given a label, newest first."""
    query = f"""SELECT id, sha256, coalesce(filed_name, name),
        iif(action = 'tag', (SELECT text FROM texts WHERE id = inbox), NULL)
        FROM filings WHERE {_IN_FOLDER} AND {_UNDECIDED} AND {_NEWEST_OF_ITS_PLACE} ORDER BY id DESC"""
    return [PiledImage(*row) for row in db.execute(query, (as_text(folder),))]


def of_class(
    db: sqlite3.Connection, label: str, folder: str, *, after: int | None, least_sure: bool, limit: int
) -> list[Filing]:
    """List filings of a class, least sure or else newest first, from ``after`` on.

    These filings are into its folder or one in it, or only gave a tag, wherever the image lies.
    """
    inside = [as_text(f"{folder}/"), as_text(f"{folder}0")]  # "0" comes after the slash
    filed = f"label = ? AND {_IN_FOLDER.replace(f'= {TEXT_ID}', f'IN ({_BELOW})')} AND action <> 'tag'"
    # Every folder is above 0: it is said to keep SQLite from taking the index of labels alone.
    tagged = f"label = ? AND folder > 0 AND {TAGGED} AND {_NEWEST_OF_ITS_PLACE}"
    conditions = [f"id IN (SELECT id FROM filings WHERE {filed} UNION ALL SELECT id FROM filings WHERE {tagged})"]
    values: list[str | bytes] = [label, as_text(folder), *inside, label]
    if after is not None and least_sure:
        conditions.append(f"({_SURENESS}, id) > (SELECT {_SURENESS}, id FROM filings WHERE id = ?)")
        values.append(str(after))
    elif after is not None:
        conditions.append("id < ?")
        values.append(str(after))
    order = f"{_SURENESS}, id" if least_sure else "id DESC"
    query = f"{SELECT} WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT ?"
    return [decode(row) for row in db.execute(query, (*values, limit))]


def filed_by_model(db: sqlite3.Connection, others: str, since: datetime, until: datetime) -> list[tuple[int, str]]:
    """List the ids and classes of what a model filed into class folders between two times, whatever became of it."""
    query = f"""SELECT id, label FROM filings WHERE time >= ? AND time < ? AND state IN ('done', 'undone')
        AND image_id IS NULL AND reason IS NULL AND label IS NOT NULL AND confidence IS NOT NULL
        AND folder IS NOT {TEXT_ID} ORDER BY id"""
    rows = db.execute(query, (instant(since), instant(until), as_text(others)))
    return [(int(number), str(label)) for number, label in rows]


def left_unsure(db: sqlite3.Connection, others: str, since: datetime, until: datetime) -> list[int]:
    """List the ids of what a model sent to the folder of the others between two times, whatever became of it."""
    query = f"""SELECT id FROM filings WHERE {_IN_FOLDER.replace("= 'done'", "IN ('done', 'undone')")}
        AND time >= ? AND time < ? AND confidence IS NOT NULL ORDER BY id"""
    return [int(number) for (number,) in db.execute(query, (as_text(others), instant(since), instant(until)))]


def counts_by_class(db: sqlite3.Connection) -> dict[tuple[str, Path], int]:
    """Count the images of each class by the folder that they were filed into. It reads an index alone."""
    query = """SELECT label, (SELECT text FROM texts WHERE id = folder), number FROM (
        SELECT label, folder, count(*) AS number FROM filings WHERE label IS NOT NULL AND folder IS NOT NULL
        AND state = 'done' AND image_id IS NULL AND reason IS NULL GROUP BY folder, label)"""
    return {(str(label), Path(os.fsdecode(folder))): int(number) for label, folder, number in db.execute(query)}


def counts_of_tagged(db: sqlite3.Connection) -> dict[tuple[str, Path], int]:
    """Count the images of each class that got a tag where they lie, by their folder."""
    query = f"""SELECT label, (SELECT text FROM texts WHERE id = folder), count(*) FROM filings
        WHERE label IS NOT NULL AND {TAGGED} AND {_NEWEST_OF_ITS_PLACE} GROUP BY label, folder"""
    return {(str(label), Path(os.fsdecode(folder))): int(number) for label, folder, number in db.execute(query)}


def counts_by_reason(db: sqlite3.Connection) -> dict[str, int]:
    """Count the unreadable images, in the quarantine or left in the inbox, by reason."""
    query = """SELECT reason, count(*) FROM filings WHERE reason IS NOT NULL AND image_id IS NULL
        AND state IN ('done', 'refused') GROUP BY reason"""
    return {str(reason): int(count) for reason, count in db.execute(query)}
