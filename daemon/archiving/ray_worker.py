"""A worker of the Ray engine: the local engine on some cores of a node, or beside one of its GPUs."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from loguru import logger

from daemon.archiving.listing import Listing
from daemon.archiving.local_engine import LocalEngine
from daemon.archiving.manifest import table_of
from daemon.archiving.model import open_model
from daemon.archiving.rows import Listed, Row
from daemon.config import Settings
from daemon.files.descriptors import allow_open_files
from daemon.files.locks import lock_descriptor
from daemon.reloading.checkpoint_source import checkpoint_file
from models.errors import UserError
from models.text.language import Language, use

#: How the folders of workers begin, which a worker that was killed leaves behind.
_FOLDERS = "imagesortd-worker-"


@dataclass
class Looked:
    """The rows of a batch, with the columns of a manifest, and the warnings that were logged meanwhile."""

    rows: pa.Table
    warnings: list[str] = field(default_factory=list)


class Worker:
    """Looks at batches of images, one after the other."""

    def __init__(self, settings: Settings, source: str, checkpoint: bytes, language: Language) -> None:
        self._settings = settings
        self._source = source
        self._checkpoint = checkpoint
        self._language = language
        self._rows: list[Row] = []
        self._warnings: list[str] = []
        self._is_stopped = threading.Event()
        self._closing = ExitStack()

    def open(self) -> str | None:
        """Open the model and the place of the images; say what is wrong, if that is for the user to put right."""
        use(self._language)
        logger.remove()
        logger.add(lambda message: self._warnings.append(message.record["message"]), level="WARNING")
        allow_open_files()
        with ExitStack() as closing:
            folder = _own_folder(closing)
            path = folder / "checkpoint.safetensors"
            path.write_bytes(self._checkpoint)
            try:
                listing = Listing(self._source)
                place = listing.store or listing.folder
                assert place is not None
                model = open_model(self._settings, checkpoint_file(path))
                self._engine = LocalEngine(self._settings, model, place, folder / "fetched", self._rows.append)
            except UserError as error:
                return str(error)
            closing.callback(self._engine.close)
            self._closing = closing.pop_all()
        return None

    def look_at(self, images: Sequence[Listed]) -> Looked:
        """Look at a batch. Images that are gone have no row, and after `stop` those that were not come to."""
        self._engine.look_at(images, self._is_stopped.is_set)
        looked = Looked(table_of(self._rows), self._warnings.copy())
        self._rows.clear()
        self._warnings.clear()
        return looked

    def stop(self) -> None:
        """Let `look_at`, which another thread may be in, return soon."""
        self._is_stopped.set()

    def close(self) -> None:
        """End the decoders, and delete what lies here."""
        self._closing.close()


def _own_folder(closing: ExitStack) -> Path:
    """Make a folder for one worker, and delete those of workers that are gone: they may hold many images."""
    for left in Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*"):
        with ExitStack() as locked:
            if _lock(left, locked):
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="imagesortd-"))
    _lock(folder, closing)
    named = folder.rename(folder.with_name(f"{_FOLDERS}{folder.name}"))  # locked before another worker can find it
    closing.callback(shutil.rmtree, named, ignore_errors=True)
    return named


def _lock(folder: Path, held: ExitStack) -> bool:
    """Lock a folder until ``held`` is closed; False where a worker has it, or another user."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    held.callback(os.close, descriptor)
    return lock_descriptor(descriptor)
