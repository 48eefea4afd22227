"""The way of an image on one screen: open, decode, predict, file; in batches, decoding ahead of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from daemon.config import Settings
from daemon.decoders import Decoders, Limits
from daemon.filing import Decision, Filed, Filer, Status
from daemon.journal import JournalBusy
from daemon.remote import Decoded, Task
from daemon.roots import Roots
from daemon.source import Identity, NotAFile, SourceChanged, SourceError, SourceGone, SourceUnreadable
from daemon.threshold import Threshold, in_force
from models.classifier import Classifier, Prediction
from models.errors import ImageError
from models.images import Crop

#: How many batches the model looks at.
_BATCHES_AT_ONCE = 2
#: Seconds to wait for a decoder before asking whether to go on.
_PATIENCE = 1.0

#: A batch, and what the classifier makes of each image; None where it is not to be read.
_Decided = list[tuple[Decoded, Prediction | None]]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the settings say about deciding. ``threshold`` None means the checkpoint's own."""

    threshold: float | None
    others_dir: str
    quarantine_dir: str
    batch_size: int
    max_pixels: int
    max_bytes: int
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """The part of the settings that decides."""
        return cls(
            threshold=None if settings.threshold == "auto" else settings.threshold,
            others_dir=settings.others_dir,
            quarantine_dir=settings.quarantine_dir,
            batch_size=settings.batch_size,
            max_pixels=settings.max_megapixels * 1_000_000,
            max_bytes=settings.max_file_mb << 20,
            limits=Limits(memory=settings.decode_memory_mb << 20, seconds=settings.decode_seconds),
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one image; ``detail`` is a sentence where it was not simply filed."""

    path: Path
    status: Status
    prediction: Prediction | None = None
    destination: Path | None = None
    reason: str | None = None
    detail: str | None = None

    @property
    def comes_again(self) -> bool:
        """It could not be dealt with now, so that this was one attempt of several."""
        return self.status in (Status.RETRY, Status.CHANGED, Status.STOPPED)


class ModelFailed(Exception):
    """The classifier could not classify, and ``error`` says why; the images it was given are where they were."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error = error


class Pipeline:
    """Takes stable images from their inbox to their folder. ``classifier`` may be replaced between two calls."""

    def __init__(
        self,
        classifier: Classifier,
        filer: Filer,
        policy: Policy,
        *,
        threads: int,
        decoders: Decoders | None = None,
        roots: Roots | None = None,
    ) -> None:
        """``decoders``, as many as ``threads``, may have been started while the classifier was being opened.

        ``roots``: where images come from, see `open_source`.
        """
        self.classifier = classifier
        self._filer = filer
        self._policy = policy
        self._threads = threads
        self._roots = roots or Roots()
        # While a core has come to the end of a batch and another one has not, it begins with the next batch.
        self._model = ThreadPoolExecutor(_BATCHES_AT_ONCE, thread_name_prefix="model")
        self.decoders = decoders or Decoders(threads, policy.limits)

    def close(self) -> None:
        """End the decoders, and wait for the model."""
        self.decoders.close()
        self._model.shutdown(cancel_futures=True)

    def adopt(self, policy: Policy) -> None:
        """Decide by another policy, from the next call of `process` on."""
        self._policy = policy
        self.decoders.adopt(policy.limits)

    @property
    def threshold(self) -> Threshold:
        """What goes to the others now, by the policy and by the classifier in use."""
        return in_force(self._policy.threshold, self.classifier.metadata)

    def process(
        self,
        paths: Iterable[Path],
        waits: Callable[[Path], bool] = lambda _: False,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Iterator[Outcome]:
        """File the images, and yield what became of each, batch by batch, in order but for those that take long.

        ``waits`` is asked about an image that ends too early: True means that it is still being written, and then
        there is no outcome; with False it is classified where nothing but its end is missing, else it is broken.
        ``stopping`` is asked after each image, and every second while decoders take their time:
        with True, only what is decoded already is filed. A caller that stops iterating instead leaves the images after
        that batch untouched, and hears nothing of the rest of the batch. Raises `ModelFailed`.
        """
        batch: list[Decoded] = []
        looks: deque[Future[_Decided]] = deque()
        try:
            for decoded in self._decoded(paths, waits, stopping, looks):
                if isinstance(decoded, Outcome):
                    yield decoded
                elif decoded is not None:
                    batch.append(decoded)
                is_waiting = decoded is None and not any(look.done() for look in looks)
                if len(batch) == self._policy.batch_size or (batch and is_waiting):
                    looks.append(self._model.submit(self._classified, batch))
                    batch = []
                # The model looks at one batch while the one before is filed, which waits for the disk. Where images
                # are large it is done long before the next batch is decoded.
                while looks and (len(looks) >= _BATCHES_AT_ONCE or looks[0].done()):
                    yield from self._file(looks.popleft().result())
                if stopping():
                    break
            if batch:
                looks.append(self._model.submit(self._classified, batch))
            while looks:
                yield from self._file(looks.popleft().result())
        finally:
            for look in looks:
                look.cancel()

    def classified(self, paths: Iterable[Path]) -> Iterator[tuple[Decoded, Prediction | None]]:
        """Only look at the images: what the classifier makes of each; None where it is not to be read."""
        each = self._decoded(paths, lambda _: False, lambda: False, ())
        images = (decoded for decoded in each if isinstance(decoded, Decoded))
        while batch := list(islice(images, self._policy.batch_size)):
            yield from self._classified(batch)

    def _decoded(
        self,
        paths: Iterable[Path],
        waits: Callable[[Path], bool],
        stopping: Callable[[], bool],
        looks: Collection[Future[_Decided]],
    ) -> Iterator[Decoded | Outcome | None]:
        """The images to go on with; an outcome for one that nothing more is to be done about; None as below."""
        for decoded in self._decode_ahead(paths, stopping, looks):
            match decoded:
                case Path() as path:
                    yield Outcome(path=path, status=Status.ALREADY)
                case Decoded(error=SourceError() as error):
                    yield _not_taken(decoded.path, error)
                case Decoded(error=ImageError(reason="truncated" | "empty")) | Decoded(ended=False) if waits(
                    decoded.path
                ):
                    continue
                case _:
                    yield decoded

    def _decode_ahead(
        self, paths: Iterable[Path], stopping: Callable[[], bool], looks: Collection[Future[_Decided]]
    ) -> Iterator[Decoded | Path | None]:
        """The images decoded, in order, a few ahead of what is asked for; a path alone was filed before.

        One that takes long holds up no other: it comes when it is decoded. None says that the next image is still being
        decoded: one of ``looks`` is done meanwhile, or what is decoded need not wait for it.
        """
        transforms = self.classifier.transforms
        # Enough for the decoders to do while a batch is classified and filed. 800 pictures of 150 px take 3.7 s with
        # two batches of 16, and 4.4 s with one of 8.
        ahead = 2 * self._policy.batch_size + self._threads
        pending: deque[Future[Decoded]] = deque()
        slow: list[Future[Decoded]] = []
        try:
            for path in paths:
                if self._filed_before(path):
                    yield path
                    continue
                task = Task(
                    path=path,
                    transforms=transforms,
                    max_bytes=self._policy.max_bytes,
                    max_pixels=self._policy.max_pixels,
                    root=self._roots.root_of(str(path)),
                )
                pending.append(self.decoders.submit(task))
                while len(pending) > ahead:
                    yield from _next(pending, slow, stopping, looks)
            while pending or slow:
                yield from _next(pending, slow, stopping, looks)
        except CancelledError:
            return
        finally:
            for future in (*pending, *slow):
                future.cancel()

    def _filed_before(self, path: Path) -> bool:
        try:
            return self._filer.filed_before(path, Identity.of(path.lstat()))
        except (OSError, JournalBusy):
            return False  # the ordinary way says what is wrong

    def _classified(self, batch: list[Decoded]) -> _Decided:
        predictions = iter(self._predict([decoded.crops for decoded in batch if decoded.crops is not None]))
        return [(decoded, next(predictions) if decoded.crops is not None else None) for decoded in batch]

    def _file(self, decided: _Decided) -> Iterator[Outcome]:
        filed = self._filer.file([self._decide(decoded, prediction) for decoded, prediction in decided])
        for (decoded, prediction), result in zip(decided, filed, strict=True):
            yield _outcome(decoded, prediction, result)

    def _predict(self, crops: list[list[Crop]]) -> list[Prediction]:
        if not crops:
            return []
        try:
            return self.classifier.predict([np.stack(part) for part in zip(*crops, strict=True)])
        except Exception as error:  # of whatever library computes
            raise ModelFailed(error) from error

    def _decide(self, decoded: Decoded, prediction: Prediction | None) -> Decision:
        assert decoded.source is not None
        if prediction is None:
            assert isinstance(decoded.error, ImageError)
            return Decision(
                source=decoded.source,
                folder=f"{self._policy.quarantine_dir}/{decoded.error.reason}",
                reason=decoded.error.reason,
                detail=str(decoded.error),
            )
        threshold = self.threshold
        unknown = threshold.unknown_too and prediction.unknown
        sure = prediction.confidence >= threshold.value and not unknown
        return Decision(
            source=decoded.source,
            folder=prediction.label if sure else self._policy.others_dir,
            label=prediction.label,
            confidence=prediction.confidence,
            model_digest=self.classifier.digest,
            detail=f"unlike all known images: {prediction.strangeness:.2f} times the limit" if unknown else None,
        )


def _next(
    pending: deque[Future[Decoded]],
    slow: list[Future[Decoded]],
    stopping: Callable[[], bool],
    looks: Collection[Future[_Decided]],
) -> Iterator[Decoded | None]:
    """The next image that is decoded, and None as above; raises CancelledError where they are to be given up.

    It is the first of ``pending``, or one of the ``slow``, to which the first is moved that is not decoded in a while.
    """
    while True:
        for future in slow:
            if future.done():
                slow.remove(future)
                yield future.result()
                return
        if pending and pending[0].done():
            yield pending.popleft().result()
            return
        awaited: list[Future[Any]] = [*islice(pending, 1), *slow, *looks]
        done, _ = wait(awaited, _PATIENCE, FIRST_COMPLETED)
        if done and any(look.done() for look in looks):
            yield None
        elif not done:
            if stopping():
                raise CancelledError
            yield None
            if pending and pending[0].running():  # else none has come to it yet
                slow.append(pending.popleft())
                return


def _outcome(decoded: Decoded, prediction: Prediction | None, result: Filed) -> Outcome:
    unreadable = decoded.error if isinstance(decoded.error, ImageError) else None
    return Outcome(
        path=decoded.path,
        status=result.status,
        prediction=prediction,
        destination=result.destination,
        reason=unreadable.reason if unreadable else None,
        detail=result.error or result.decision.detail,
    )


def not_a_file(path: Path, detail: str) -> Outcome:
    """What has the name of an image, and is something else."""
    return Outcome(path=path, status=Status.REFUSED, reason="not-a-file", detail=detail)


def _not_taken(path: Path, error: SourceError) -> Outcome:
    """An image that could not even be read."""
    match error:
        case SourceGone():
            return Outcome(path=path, status=Status.GONE)
        case SourceChanged():
            return Outcome(path=path, status=Status.CHANGED)
        case NotAFile():
            return not_a_file(path, "It is not a regular file.")
        case SourceUnreadable():
            return Outcome(path=path, status=Status.RETRY, detail=str(error))
    raise AssertionError(f"an unknown kind of {SourceError.__name__}") from error
