"""Weights from the Hugging Face hub, in its cache or downloaded: safetensors only, with their digests checked.

The cache (https://huggingface.co/docs/huggingface_hub/guides/manage-cache) is read without the hub's library, which
takes a quarter of a second to import; only downloads need it.
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

from models.errors import UserError, WeightsUnavailable
from models.files.atomic import file_digest
from models.files.homes import base_folder, expand_home
from models.text.language import tr
from models.weights.download import TIMEOUT_S, check_reachable
from models.weights.store import Weights, WeightsStore, check_safetensors, how_to_get, local_file, short_reason

_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
#: In the hub's cache, large files are named by their sha256, small ones by a shorter digest.
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
    """A model repository on the hub: one of ``known`` by its short name, or any, at a revision or the newest.

    The `Weights.source` of the newest revision names that revision, so that later calls locate the same weights.
    """

    name: str
    default: str
    known: Mapping[str, ModelRevision] = field(default_factory=dict)
    required: tuple[str, ...] = ("config.json", "preprocessor_config.json")
    file_alone: bool = False  # whether a weights file without its folder is enough
    option: str = ""  # the option of ``python -m models pull`` for another repository

    @property
    def label(self) -> str:
        repository, revision = self._parse_id(self.default)
        return f"hub {repository}" + (f"@{revision[:8]}" if revision else "")

    def known_model(self, given: str | None) -> ModelRevision | None:
        """Return the one of ``known`` that a short name or an id means; None if it means another model."""
        repository, revision = self._parse_id(given or self.default)
        return next(
            (model for model in self.known.values() if (model.repository, model.revision) == (repository, revision)),
            None,
        )

    def is_local(self, store: WeightsStore) -> bool:
        return self._cached(*self._parse_id(self.default), store) is not None

    def locate(self, given: str | None, store: WeightsStore) -> Weights:
        if given is not None and given not in self.known:
            path = expand_home(given)
            if path.is_dir():
                return _local_folder(path, self.required)
            if self.file_alone and path.is_file():
                return local_file(given, store)
        repository, revision = self._parse_id(given or self.default)
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
        known = self.known_model(f"{repository}@{folder.name}")
        weights = _local_folder(folder, self.required, known.sha256 if known else None)
        return Weights(weights.path, weights.digest, f"{repository}@{folder.name}")

    def _parse_id(self, given: str) -> tuple[str, str]:
        """Parse a short name or an id into a repository and a revision; an empty revision means the newest."""
        if given in self.known:
            return self.known[given].repository, self.known[given].revision
        repository, _, revision = given.partition("@")
        return repository, revision

    def _cached(self, repository: str, revision: str, store: WeightsStore) -> Path | None:
        """Find a complete snapshot in our cache, or in the one that all programs of this user share."""
        for cache in (store.root / "hub", *_shared_caches()):
            model = cache / f"models--{repository.replace('/', '--')}"
            folder = model / "snapshots" / _commit(model, revision or "main")
            if self._is_complete(folder):
                return folder
        return None

    def _is_complete(self, folder: Path) -> bool:
        """Whether all required files and all shards of the weights were downloaded."""
        shards = {file.name for file in folder.glob("*.safetensors")}
        try:
            index = json.loads((folder / "model.safetensors.index.json").read_bytes())
            required_shards = set(index["weight_map"].values())
        except FileNotFoundError:
            required_shards = set()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        return bool(shards) and required_shards <= shards and all((folder / name).is_file() for name in self.required)

    def _fetch(self, repository: str, revision: str, store: WeightsStore) -> Path:
        pull_argument = self.name
        if self.option and (repository, revision) != self._parse_id(self.default):
            pull_argument += f" {self.option} {repository}" + (f"@{revision}" if revision else "")
        remedy = how_to_get(self.name, tr("point HF_HOME at a cache that has it"), "FOLDER", pull_argument)
        if store.offline:
            raise WeightsUnavailable(
                tr(
                    "the weights of {name} ({repository}) are not on this machine and {why}: {how}",
                    name=self.name,
                    repository=repository,
                    why=store.offline_reason,
                    how=remedy,
                )
            )
        from huggingface_hub import constants, snapshot_download

        try:
            check_reachable(constants.ENDPOINT)  # the hub's library would try six times, without a time limit
            return Path(
                snapshot_download(
                    repository,
                    revision=revision or None,
                    cache_dir=store.folder("hub"),
                    allow_patterns=_FILES,
                    etag_timeout=TIMEOUT_S,
                )
            )
        except Exception as error:  # the hub's library raises many kinds; any of them means that the download failed
            raise WeightsUnavailable(
                tr(
                    "the weights of {name} ({repository}) are not on this machine and the model hub could "
                    "not be reached ({reason}): {how}",
                    name=self.name,
                    repository=repository,
                    reason=short_reason(error),
                    how=remedy,
                )
            ) from error


def _shared_caches() -> list[Path]:
    """Return the cache of the hub's own library; none for a user without a home folder."""
    with suppress(UserError):
        return [_shared_cache()]
    return []


def _shared_cache() -> Path:
    if hub_cache := os.environ.get("HF_HUB_CACHE"):
        return Path(hub_cache)
    if hf_home := os.environ.get("HF_HOME"):
        return Path(hf_home) / "hub"
    return base_folder("XDG_CACHE_HOME", ".cache", "HF_HOME") / "huggingface" / "hub"


def _commit(model: Path, revision: str) -> str:
    """Resolve a branch or tag to its commit when last downloaded; any other revision is a commit already."""
    try:
        return (model / "refs" / revision).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return revision


def _local_folder(folder: Path, required: Iterable[str], sha256: str | None = None) -> Weights:
    """Check the weights in a folder; ``sha256`` is that of its ``model.safetensors``, if known."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsUnavailable(
            tr("{folder} has no .safetensors file: weights in other formats are not opened", folder=folder)
        )
    digest = hashlib.sha256()
    for file in files:
        check_safetensors(file)
        sha256_of_file = file_digest(file)
        _check_digest(file, sha256_of_file, sha256 if file.name == "model.safetensors" else None)
        digest.update(sha256_of_file.encode())
    for name in required:
        if not (folder / name).is_file():
            raise WeightsUnavailable(
                tr("{folder} has no {name}: it must be a model folder in the hub's layout", folder=folder, name=name)
            )
        digest.update(file_digest(folder / name).encode())
    return Weights(folder.absolute(), digest.hexdigest(), str(folder.absolute()))


def _check_digest(file: Path, actual: str, published: str | None) -> None:
    """Raise `WeightsUnavailable` unless a file has its published digest, and the one that the hub's cache names."""
    blob = file.resolve().name
    for expected in (published, blob if file.is_symlink() and _SHA256.fullmatch(blob) else None):
        if expected is not None and actual != expected:
            raise WeightsUnavailable(
                tr(
                    "{file} is damaged, or is not the published file (its sha256 begins {got}, expected "
                    "{expected}): delete it and fetch it again",
                    file=file,
                    got=actual[:12],
                    expected=expected[:12],
                )
            )
