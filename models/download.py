"""Fetching one published file: a dead network costs seconds, and a broken-off fetch is taken up where it ended."""

from __future__ import annotations

import hashlib
import os
import threading
from http import HTTPStatus
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from models.text.language import tr

#: How long to wait for an answer, and for each further piece of it.
TIMEOUT_S = 5.0
_PIECE_BYTES = 1 << 18


def ask(url: str) -> None:
    """Return when somebody answers at ``url``, whatever the answer; raise the reason when nobody does in time.

    In a thread, because the timeout of a socket covers neither the name service nor a host's further addresses.
    """
    problems: list[Exception] = []

    def request() -> None:
        try:
            urlopen(Request(url, method="HEAD"), timeout=TIMEOUT_S).close()
        except HTTPError as error:  # an answer
            error.close()
        except Exception as error:
            problems.append(error)

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    if thread.is_alive():
        raise TimeoutError(tr("no answer within {seconds:g} seconds", seconds=TIMEOUT_S))
    if problems:
        raise problems[0]


def download(url: str, target: Path, sha256_prefix: str) -> None:
    """Fetch ``url`` to ``target``, which appears complete or not at all; a broken-off fetch is taken up where it ended.

    The caller sees to it that nobody else fetches to the same target. Raises `OSError` (and what `http.client` has)
    when fetching fails, and `ValueError` when what came has another sha256; then nothing of it is kept.
    """
    ask(url)
    partial = target.with_name(f".{target.name}.part")
    with partial.open("ab") as file:
        _fetch_rest(url, target.name, file)
        file.flush()
        os.fsync(file.fileno())
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(sha256_prefix):
        partial.unlink()
        raise ValueError(f"what came has the sha256 {digest[:8]}, expected {sha256_prefix[:8]}")
    partial.rename(target)


def _fetch_rest(url: str, name: str, file: IO[bytes]) -> None:
    """Append what is still missing; from the beginning where the server cannot go on in the middle."""
    from tqdm import tqdm

    have = file.tell()
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urlopen(request, timeout=TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if have and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is missing
        raise
    with response:
        if have and response.status != HTTPStatus.PARTIAL_CONTENT:
            file.truncate(have := 0)
        missing = int(response.headers.get("Content-Length", 0))
        bar = tqdm(total=have + missing, initial=have, desc=name, unit="B", unit_scale=True, disable=None)
        with bar as progress:
            while piece := response.read(_PIECE_BYTES):
                file.write(piece)
                progress.update(len(piece))
    if missing and file.tell() != have + missing:
        raise ConnectionError(
            tr("the connection broke off after {received} of {size} bytes", received=file.tell(), size=have + missing)
        )
