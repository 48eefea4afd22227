"""Fetching one published file: a dead network costs seconds, and nothing half-fetched is left behind."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from .atomic import atomic_file

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
        raise TimeoutError(f"no answer within {TIMEOUT_S:g} seconds")
    if problems:
        raise problems[0]


def download(url: str, target: Path, sha256_prefix: str) -> None:
    """Fetch ``url`` to ``target``. Raises `OSError` (and what `http.client` has) when that fails.

    Raises `ValueError` when what came has another sha256.
    """
    from tqdm import tqdm

    ask(url)
    digest = hashlib.sha256()
    with urlopen(url, timeout=TIMEOUT_S) as response, atomic_file(target) as file:
        size = int(response.headers.get("Content-Length", 0)) or None
        with tqdm(total=size, desc=target.name, unit="B", unit_scale=True, disable=None) as progress:
            while piece := response.read(_PIECE_BYTES):
                digest.update(piece)
                file.write(piece)
                progress.update(len(piece))
        if not digest.hexdigest().startswith(sha256_prefix):
            raise ValueError(f"what came has the sha256 {digest.hexdigest()[:8]}, expected {sha256_prefix[:8]}")
