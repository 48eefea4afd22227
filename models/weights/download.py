"""Download one published file: fail within seconds without a network, and resume interrupted downloads."""

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

#: How long to wait for a response, and for each further chunk of it.
TIMEOUT_S = 5.0
_CHUNK_BYTES = 1 << 18


def check_reachable(url: str) -> None:
    """Return once a server responds at ``url``, whatever the response; raise an error if none does.

    Asks in a thread, because the timeout of a socket covers neither name resolution nor a host's further addresses.
    """
    errors: list[Exception] = []

    def request() -> None:
        try:
            urlopen(Request(url, method="HEAD"), timeout=TIMEOUT_S).close()
        except HTTPError as error:  # a response
            error.close()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    if thread.is_alive():
        raise TimeoutError(tr("no answer within {seconds:g} seconds", seconds=TIMEOUT_S))
    if errors:
        raise errors[0]


def download(url: str, target: Path, sha256_prefix: str) -> None:
    """Download ``url`` to ``target``, which appears complete or not at all; resume an interrupted download.

    The caller must hold a lock for the target. Raises `OSError` (and the errors of `http.client`) if the download
    fails, and `ValueError` if the file has another sha256; it is then deleted.
    """
    check_reachable(url)
    partial = target.with_name(f".{target.name}.part")
    with partial.open("ab") as file:
        _download_rest(url, target.name, file)
        file.flush()
        os.fsync(file.fileno())
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(sha256_prefix):
        partial.unlink()
        raise ValueError(f"the downloaded file has the sha256 {digest[:8]}, expected {sha256_prefix[:8]}")
    partial.rename(target)


def _download_rest(url: str, name: str, file: IO[bytes]) -> None:
    """Append the missing bytes; start again if the server does not support range requests."""
    from tqdm import tqdm

    offset = file.tell()
    request = Request(url, headers={"Range": f"bytes={offset}-"} if offset else {})
    try:
        response = urlopen(request, timeout=TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if offset and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is missing
        raise
    with response:
        if offset and response.status != HTTPStatus.PARTIAL_CONTENT:
            file.truncate(offset := 0)
        missing = int(response.headers.get("Content-Length", 0))
        bar = tqdm(total=offset + missing, initial=offset, desc=name, unit="B", unit_scale=True, disable=None)
        with bar as progress:
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
                progress.update(len(chunk))
    if missing and file.tell() != offset + missing:
        raise ConnectionError(
            tr("the connection was lost after {received} of {size} bytes", received=file.tell(), size=offset + missing)
        )
