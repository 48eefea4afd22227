"""Take images from the inbox to their folders: decode, predict, decide, file. Decoding runs ahead of the model.

An image starts as a path, and is then described by

- `Task`, the request to a decoder process, and `Decoded`, the checked answer;
- `Prediction`, the result of the classifier;
- `Member` of a burst, where it waits to be decided together with others (`daemon.filing.bursts`);
- `FilingRequest`, the folder where it belongs (all that the filer knows of it), and `FilingResult`, what the filer did;
- `Outcome`, the result for all other parts of the daemon.

In between it is an `_Image` in one of the queues of `Pipeline`. Only the loop in `Pipeline.process` moves it on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from daemon.decoding.decoder import Decoded, Task
from daemon.decoding.pool import DecoderPool
from daemon.files.roots import Roots
from daemon.files.source import Identity, SourceError
from daemon.filing.bursts import Bursts, Member, shot_of
from daemon.filing.filer import Filer, FilingRequest, Status
from daemon.filing.outcome import Outcome
from daemon.filing.outcomes import outcome_of, unread
from daemon.filing.requests import by_ruling, unreadable
from daemon.journal.journal import JournalBusy
from daemon.reloading.pipeline_settings import PipelineSettings
from daemon.reloading.threshold import Threshold
from models.checkpoints.metadata import Metadata
from models.classifier import Classifier, Prediction, Seen
from models.deciding.rule import DecisionRule
from models.decoding.images import Transform
from models.errors import ImageError

#: Batches that the model has at once.
_BATCHES_AT_ONCE = 2
#: Seconds without progress until the images being decoded are moved aside as slow, and ``stopping`` is asked.
MOST_WAIT = 1.0

#: Decides where an image belongs, from what was decoded and predicted (None for an unreadable image). If it returns
#: None, the image is skipped without an outcome; a function for the work loop must not do so.
Decide = Callable[[Decoded, Prediction | None], FilingRequest | None]


class ModelFailed(Exception):
    """The classifier failed with ``error``; the images of its batch are still where they were."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error = error


@dataclass(frozen=True, eq=False)
class _Image:
    """An image in a queue: the request to its decoder, and the answer, once there is one."""

    task: Task
    answer: Future[Decoded]

    @property
    def decoded(self) -> Decoded:
        return self.answer.result()


class _Batch(NamedTuple):
    """Images given to the model, and its prediction for each, or what may wait; None for an unreadable one."""

    images: list[_Image]
    predictions: Future[list[Prediction | Member[Decoded] | None]]


#: Images to be decided, each with its prediction, and how many others have that in common with it.
_Predicted = list[tuple[Decoded, Prediction | None, int]]


class Pipeline:
    """Takes stable images to their folders. ``classifier`` may be replaced between calls of `process`."""

    def __init__(
        self,
        classifier: Classifier,
        filer: Filer,
        settings: PipelineSettings,
        *,
        threads: int,
        decoders: DecoderPool | None = None,
        roots: Roots | None = None,
        decide: Decide | None = None,
        measures: bool = False,
    ) -> None:
        """``decoders``, as many as ``threads``, may have been started while the classifier was being opened.

        ``roots``: where images come from, see `open_source`. ``decide`` replaces the choice of a
        folder, as in ``resort``. ``measures``: find out the width and height of images, too.
        """
        self.classifier = classifier
        self._filer = filer
        self._settings = settings
        self._threads = threads
        self._measures = measures
        self._roots = roots or Roots()
        self._decide = decide or self._decide_by_rule
        self._known_rule: tuple[PipelineSettings, Metadata, DecisionRule] | None = None
        self._on_slow_decoded: Callable[[], None] | None = None
        # So that a core which is done with its part of a batch can start on the next batch.
        self._model = ThreadPoolExecutor(_BATCHES_AT_ONCE, thread_name_prefix="model")
        self.decoders = decoders or DecoderPool(threads, settings.limits)
        # An image goes from one queue to the next.
        self._decoding: deque[_Image] = deque()  # in the order of filing
        self._slow: list[_Image] = []  # still being decoded; the other images go on without them
        self._next_batch: list[_Image] = []  # decoded
        self._batches: deque[_Batch] = deque()
        self._bursts = Bursts[Decoded](settings.burst_seconds)
        self._seen_by = classifier  # the images that wait for their bursts

    def close(self) -> None:
        """End the decoders, and wait for the model."""
        self.decoders.close()
        self._model.shutdown(cancel_futures=True)

    def adopt(self, settings: PipelineSettings) -> None:
        """Go by other settings, from the next call of `process` on."""
        self._settings = settings
        self.decoders.adopt(settings.limits)
        self._bursts.seconds = settings.burst_seconds
        if settings.rules is not None:
            self._filer.adopt(settings.rules)

    @property
    def threshold(self) -> Threshold:
        """Threshold in force, by the settings and the classifier in use."""
        return self._settings.threshold_for(self.classifier.metadata)

    @property
    def _rule(self) -> DecisionRule:
        """Rule of the threshold in force; made once for each, which takes time where there are many classes."""
        settings, metadata = self._settings, self.classifier.metadata
        known = self._known_rule
        if known is None or known[0] is not settings or known[1] is not metadata:
            known = self._known_rule = (settings, metadata, self.threshold.rule)
        return known[2]

    def leave_slow(self, on_decoded: Callable[[], None]) -> None:
        """Let `process` return while slow images are still being decoded, or images wait for a burst, from now on.

        The next call includes them. ``on_decoded`` is called, in any thread, when one is decoded: time for that call.
        """
        self._on_slow_decoded = on_decoded

    @property
    def bursts(self) -> Bursts[Decoded]:
        """Images that wait for others of their bursts."""
        return self._bursts

    @property
    def pending(self) -> list[Path]:
        """Images that the last call of `process` left with their decoders, or waiting for others of their bursts."""
        return [image.task.path for image in self._slow] + [decoded.path for decoded in self._bursts.images]

    def process(
        self,
        paths: Iterable[Path],
        may_grow: Callable[[Path], bool] = lambda _: False,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Iterator[Outcome]:
        """File the images in batches; yield their outcomes in order, but for slow images.

        ``may_grow`` is asked about an image that ends too early; if True, it is left, without an outcome. Once
        ``stopping`` returns True, only decoded images are still filed. If the caller stops iterating, the current batch
        is filed and later images are untouched. Raises `ModelFailed`; the next call starts with the images it left.
        """
        coming = iter(paths)
        transforms = self.classifier.transforms
        if self._seen_by is not self.classifier:
            for decoded in self._bursts.clear():
                self._decode(decoded.path, transforms)
            self._seen_by = self.classifier
        try:
            while True:
                while len(self._decoding) <= self._most_decoding and (path := next(coming, None)) is not None:
                    if (status := self._known_result(path)) is not None:
                        yield Outcome(path=path, status=status)
                        coming = iter(()) if stopping() else coming
                    else:
                        self._decode(path, transforms)
                image = self._take_decoded()
                slow_may_stay = self._on_slow_decoded is not None
                is_over = image is None and not self._decoding and (slow_may_stay or not self._slow)
                is_stuck = False
                if image is None and not is_over:
                    is_stuck = not self._wait_for_result()
                if image is not None and image.decoded.crops is not None and image.task.transforms != transforms:
                    self._decode(image.task.path, transforms)  # the classifier was replaced meanwhile
                elif image is not None and isinstance(image.decoded.error, SourceError):
                    yield unread(image.task.path, image.decoded.error)
                elif image is not None and not (_ends_early(image.decoded) and may_grow(image.task.path)):
                    self._next_batch.append(image)
                if len(self._next_batch) >= self._settings.batch_size or is_over or is_stuck:
                    self._begin_batch()
                # The model works on one batch while the one before is filed, which waits for the disk. With large
                # images it is done long before the next batch is decoded.
                while self._batches and (is_over or self._is_next_due()):
                    yield from self._file_batch()
                if self._bursts:
                    yield from self._file_bursts(is_over, stopping)
                if is_over:
                    return
                if is_stuck:
                    self._move_slow_aside()
                if stopping():
                    coming = iter(())
                    self._give_up_decoding()
        except ModelFailed:
            self._take_back_batches()
            raise
        except BaseException:  # also where the caller stops iterating
            self._take_back_batches()
            self._give_up_decoding()
            raise

    @property
    def _most_decoding(self) -> int:
        # Keeps the decoders busy while a batch is classified and filed. 800 pictures of 150 px take 3.7 s with
        # two batches of 16, and 4.4 s with one of 8.
        return 2 * self._settings.batch_size + self._threads

    def _known_result(self, path: Path) -> Status | None:
        try:
            return self._filer.known_result(path, Identity.from_stat(path.lstat()))
        except (OSError, JournalBusy):
            return None  # decoding it reports the error

    def _decode(self, path: Path, transforms: Sequence[Transform]) -> None:
        task = Task(
            path=path,
            transforms=transforms,
            max_bytes=self._settings.max_bytes,
            max_pixels=self._settings.max_pixels,
            root=self._roots.root_of(str(path)),
            measures=self._measures,
        )
        self._decoding.append(_Image(task, self.decoders.submit(task)))

    def _take_decoded(self) -> _Image | None:
        """Take a slow image that is decoded by now, or the next image in order if that is decoded."""
        for image in self._slow:
            if image.answer.done():
                self._slow.remove(image)
                return image
        if self._decoding and self._decoding[0].answer.done():
            return self._decoding.popleft()
        return None

    def _wait_for_result(self) -> bool:
        """Wait for the next result of decoders or model; False if there is none within `MOST_WAIT`."""
        awaited: list[Future[Any]] = [image.answer for image in (*islice(self._decoding, 1), *self._slow)]
        awaited += [batch.predictions for batch in islice(self._batches, 1)]
        return bool(wait(awaited, MOST_WAIT, FIRST_COMPLETED).done)

    def _move_slow_aside(self) -> None:
        """Move the images being decoded to the slow ones, so that they hold up no other.

        An image counts as being decoded if its decoder was given it, together with others, even if it is not started.
        """
        slow = [image for image in self._decoding if image.answer.running()]
        self._slow += slow
        self._decoding = deque(image for image in self._decoding if image not in slow)
        if (on_decoded := self._on_slow_decoded) is not None:
            for image in slow:
                image.answer.add_done_callback(lambda _: on_decoded())

    def _begin_batch(self) -> None:
        if self._next_batch:
            images, self._next_batch = self._next_batch, []
            self._batches.append(_Batch(images, self._model.submit(self._predict, images)))

    def _is_next_due(self) -> bool:
        return len(self._batches) >= _BATCHES_AT_ONCE or self._batches[0].predictions.done()

    def _take_back_batches(self) -> None:
        """Put all images of the batches back at the front of `_decoding`; decoded already, they are taken first."""
        images = [image for batch in self._batches for image in batch.images]
        self._decoding.extendleft(reversed([*images, *self._next_batch]))
        for batch in self._batches:
            batch.predictions.cancel()
        self._batches.clear()
        self._next_batch = []

    def _give_up_decoding(self) -> None:
        for image in (*self._decoding, *self._slow):
            image.answer.cancel()
        self._decoding.clear()
        self._slow.clear()
        self._bursts.clear()

    def _file_batch(self) -> Iterator[Outcome]:
        """Wait for the predictions of the oldest batch and file it, but for what waits for others of its burst."""
        predictions = self._batches[0].predictions.result()
        predicted: _Predicted = []
        for image, prediction in zip(self._batches.popleft().images, predictions, strict=True):
            if isinstance(prediction, Member):
                self._bursts.add(prediction)
            else:
                predicted.append((image.decoded, prediction, 0))
        yield from self._file(predicted)

    def _file_bursts(self, is_over: bool, stopping: Callable[[], bool]) -> Iterator[Outcome]:
        """File images that need not wait for their bursts any longer: all of them, where no more images come."""
        may_stay = self._on_slow_decoded is not None
        is_last = is_over and (not may_stay or stopping())
        size = self._settings.batch_size
        while bursts := self._bursts.take_ready(size, clocked=may_stay, is_idle=is_over, is_last=is_last):
            predicted: _Predicted = []
            for burst in bursts:
                prediction = self.classifier.predict_together(burst.distinct())
                others = len(burst.members) - 1
                predicted += [(member.image, prediction, others) for member in burst.members]
            yield from self._file(predicted)

    def _file(self, predicted: _Predicted) -> Iterator[Outcome]:
        decided = [
            (decoded, request.together_with(others))
            for decoded, prediction, others in predicted
            if (request := self._decide(decoded, prediction)) is not None
        ]
        filed = self._filer.file([request for _, request in decided])
        for (decoded, _), result in zip(decided, filed, strict=True):
            yield outcome_of(result, decoded.error if isinstance(decoded.error, ImageError) else None)

    def _predict(self, images: Sequence[_Image]) -> list[Prediction | Member[Decoded] | None]:
        crops = [image.decoded.crops for image in images]
        readable = [image_crops for image_crops in crops if image_crops is not None]
        look = self.classifier.see if self._settings.burst_seconds else self.classifier.predict
        try:
            stacks = [np.stack(part) for part in zip(*readable, strict=True)]
            seen: Iterator[Seen | Prediction] = iter(look(stacks) if readable else [])
        except Exception as error:  # of whatever kind the inference library raises
            raise ModelFailed(error) from error
        return [None if image.decoded.crops is None else self._joining(image.decoded, next(seen)) for image in images]

    def _joining(self, decoded: Decoded, seen: Seen | Prediction) -> Prediction | Member[Decoded]:
        """Let an image wait for its burst if its data says when it was taken."""
        if isinstance(seen, Prediction):
            return seen
        assert decoded.source is not None
        shot = shot_of(decoded.path, self._roots, decoded.source.identity)
        if shot is None:
            return self.classifier.predict_together([seen])
        return Member(replace(decoded, crops=None), shot, seen, decoded.source.sha256)

    def _decide_by_rule(self, decoded: Decoded, prediction: Prediction | None) -> FilingRequest:
        """Choose the folder: of the class or the others, by `models.deciding.rule`, or the quarantine."""
        assert decoded.source is not None
        if prediction is None:
            assert isinstance(decoded.error, ImageError)
            return unreadable(decoded.source, decoded.error, self._settings.quarantine_dir)
        ruling = self._rule.decide(prediction)
        return by_ruling(decoded.source, prediction, ruling, self._settings.others_dir, self.classifier.digest)


def _ends_early(decoded: Decoded) -> bool:
    return not decoded.has_end or (
        isinstance(decoded.error, ImageError) and decoded.error.reason in ("truncated", "empty")
    )
