"""Weights from the Hugging Face hub: in its cache on this machine, else fetched; safetensors only, digests checked.

The layout of the cache is documented: https://huggingface.co/docs/huggingface_hub/guides/manage-cache. It is read
without the hub's library, which takes a quarter of a second to import; only fetching needs it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from models.atomic import file_digest
from models.download import TIMEOUT_S, ask
from models.errors import UserError, WeightsUnavailable
from models.homes import base_folder, expanded
from models.text.language import tr
from models.weights import Weights, WeightsStore, check_safetensors, how_to_get, local_file, reason

_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
#: The hub's cache names a large file by its sha256, and a small one by another, shorter digest.
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelRevision:
    """A model repository at one revision. ``sha256`` is that of its ``model.safetensors``."""

    repository: str
    revision: str
    sha256: str
    megabytes: int
    licence: str


@dataclass(frozen=True)
class HubFolder:
    """A model repository on the hub: one of ``known`` by its short name, else any, at a revision or its newest.

    What came from the newest revision is recorded with the revision that it had, and is asked for by it from then on.
    """

    name: str
    default: str
    known: Mapping[str, ModelRevision] = field(default_factory=dict)
    required: tuple[str, ...] = ("config.json", "preprocessor_config.json")
    file_alone: bool = False  # a weights file without its folder is enough, too
    option: str = ""  # with which ``python -m models pull`` takes another repository

    @property
    def label(self) -> str:
        repository, revision = self._wanted(self.default)
        return f"hub {repository}" + (f"@{revision[:8]}" if revision else "")

    def published(self, given: str | None) -> ModelRevision | None:
        """What is known about the repository that ``given`` names, before it is fetched."""
        repository, revision = self._wanted(given or self.default)
        return next(
            (one for one in self.known.values() if one.repository == repository and one.revision == revision), None
        )

    def here(self, store: WeightsStore) -> bool:
        return self._cached(*self._wanted(self.default), store) is not None

    def locate(self, given: str | None, store: WeightsStore) -> Weights:
        if given is not None and given not in self.known:
            path = expanded(given)
            if path.is_dir():
                return _local_folder(path, self.required)
            if self.file_alone and path.is_file():
                return local_file(given, store)
        repository, revision = self._wanted(given or self.default)
        if not _REPOSITORY.fullmatch(repository) or ".." in revision:
            names = tr(", or one of {names}", names=", ".join(self.known)) if self.known else ""
            raise WeightsUnavailable(
                tr(
                    "there is no folder {given} with weights for {name}: give an existing one, the id of a "
                    "model on the hub (owner/name){names}",
                    given=given,
                    name=self.name,
                    names=names,
                )
            )
        folder = self._cached(repository, revision, store) or self._fetch(repository, revision, store)
        published = self.published(f"{repository}@{folder.name}")
        found = _local_folder(folder, self.required, published.sha256 if published else None)
        return Weights(found.path, found.digest, f"{repository}@{folder.name}")

    def _wanted(self, given: str) -> tuple[str, str]:
        """The repository and the revision (empty: the newest) that a short name or an id stands for."""
        if given in self.known:
            return self.known[given].repository, self.known[given].revision
        repository, _, revision = given.partition("@")
        return repository, revision

    def _cached(self, repository: str, revision: str, store: WeightsStore) -> Path | None:
        """The repository in our cache, or in the one that all programs of this user share."""
        for cache in (store.root / "hub", *_shared_caches()):
            model = cache / f"models--{repository.replace('/', '--')}"
            folder = model / "snapshots" / _commit(model, revision or "main")
            if self._is_complete(folder):
                return folder
        return None

    def _is_complete(self, folder: Path) -> bool:
        """Whether a fetch came to its end: every file that is needed is there, every piece of the weights too."""
        pieces = {file.name for file in folder.glob("*.safetensors")}
        try:
            index = json.loads((folder / "model.safetensors.index.json").read_bytes())
            needed = set(index["weight_map"].values())
        except FileNotFoundError:
            needed = set()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        return bool(pieces) and needed <= pieces and all((folder / name).is_file() for name in self.required)

    def _fetch(self, repository: str, revision: str, store: WeightsStore) -> Path:
        pull = self.name
        if self.option and (repository, revision) != self._wanted(self.default):
            pull += f" {self.option} {repository}" + (f"@{revision}" if revision else "")
        how = how_to_get(self.name, tr("point HF_HOME at a cache that has it"), "FOLDER", pull)
        if store.offline:
            raise WeightsUnavailable(
                tr(
                    "the weights of {name} ({repository}) are not on this machine and {why}: {how}",
                    name=self.name,
                    repository=repository,
                    why=store.why_offline,
                    how=how,
                )
            )
        from huggingface_hub import constants, snapshot_download

        try:
            ask(constants.ENDPOINT)  # the hub's library would try six times, each without a time limit
            return Path(
                snapshot_download(
                    repository,
                    revision=revision or None,
                    cache_dir=store.folder("hub"),
                    allow_patterns=_FILES,
                    etag_timeout=TIMEOUT_S,
                )
            )
        except Exception as error:  # the hub's library raises many kinds; each means that it was not fetched
            raise WeightsUnavailable(
                tr(
                    "the weights of {name} ({repository}) are not on this machine and the model hub could "
                    "not be reached ({reason}): {how}",
                    name=self.name,
                    repository=repository,
                    reason=reason(error),
                    how=how,
                )
            ) from error


def _shared_caches() -> list[Path]:
    """Where the hub's own library keeps what it fetches; nowhere for a user without a home."""
    with suppress(UserError):
        return [_shared_cache()]
    return []


def _shared_cache() -> Path:
    if given := os.environ.get("HF_HUB_CACHE"):
        return Path(given)
    if given := os.environ.get("HF_HOME"):
        return Path(given) / "hub"
    return base_folder("XDG_CACHE_HOME", ".cache", "HF_HOME") / "huggingface" / "hub"


def _commit(model: Path, revision: str) -> str:
    """The commit that a branch or tag stood for when it was last fetched; any other revision is a commit itself."""
    try:
        return (model / "refs" / revision).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return revision


def _local_folder(folder: Path, required: Iterable[str], sha256: str | None = None) -> Weights:
    """The weights in a folder, whose ``model.safetensors`` must have this ``sha256``, where it is known."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsUnavailable(
            tr("{folder} has no .safetensors file: weights in other formats are not opened", folder=folder)
        )
    digest = hashlib.sha256()
    for file in files:
        check_safetensors(file)
        got = file_digest(file)
        _check_digest(file, got, sha256 if file.name == "model.safetensors" else None)
        digest.update(got.encode())
    for name in required:
        if not (folder / name).is_file():
            raise WeightsUnavailable(
                tr("{folder} has no {name}: it must be a model folder in the hub's layout", folder=folder, name=name)
            )
        digest.update(file_digest(folder / name).encode())
    return Weights(folder.absolute(), digest.hexdigest(), str(folder.absolute()))


def _check_digest(file: Path, got: str, published: str | None) -> None:
    blob = file.resolve().name
    for expected in (published, blob if file.is_symlink() and _SHA256.fullmatch(blob) else None):
        if expected is not None and got != expected:
            raise WeightsUnavailable(
                tr(
                    "{file} is damaged, or is not the published file (its sha256 begins {got}, expected "
                    "{expected}): delete it and fetch it again",
                    file=file,
                    got=got[:12],
                    expected=expected[:12],
                )
            )
