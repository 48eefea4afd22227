"""Fine-tune the top half of each backbone's weights on augmented images, starting from a fitted head.

Batch normalisation keeps its statistics and the lower half stays frozen, so that a small set cannot undo what was
learned from a large one; nothing is dropped at random. So an image counts alike whichever others it is computed with,
and several processes that share each batch (`trainer.finetuning.group`) come to the result of one. A GPU trains in
mixed precision with float32 weights; on the CPU the frozen half runs in ONNX Runtime where it can be cut off
(`trainer.finetuning.trunk`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from models.checkpoints.checkpoint import Array
from models.errors import UserError
from models.inference.engines import uint8_module
from models.inference.runtime import cores
from models.registry import Backbone
from models.text.language import tr, trn
from trainer.data.dataset import shown
from trainer.finetuning.augment import Batch, batches
from trainer.finetuning.course import Course, LabelledSamples, course_digest, restore
from trainer.finetuning.group import Group, Payload
from trainer.finetuning.trunk import Cut, cut
from trainer.heads.linear import Epoch, Linear, OnEpoch, Scaling
from trainer.measuring.calibration import Labels, Logits, accuracy, fit_temperature, log_loss
from trainer.runs.resume import SavedProgress, UnfinishedFit

#: The share of a backbone's weights, from the top, that is trained.
TRAINED_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class FineTuneOptions:
    """Options of fine-tuning. With ``patience`` 0 it never stops early."""

    epochs: int = 5
    lr: float = 1e-4
    batch_size: int = 32
    patience: int = 5
    seed: int = 0


def fine_tune(
    parts: Sequence[Backbone],
    head: Linear,
    scaling: Scaling,
    train: LabelledSamples,
    held_out: LabelledSamples,
    options: FineTuneOptions,
    tell: Callable[[str], None],
    on_epoch: OnEpoch,
    unfinished: UnfinishedFit | None = None,
    group: Group | None = None,
) -> dict[str, dict[str, Array]]:
    """Fine-tune; return the state of each part's module after the best held-out epoch, by part and tensor name.

    ``head`` and ``scaling`` were fitted on ``train``'s features; whether the backbones got better shows only once a
    new head is fitted on them. ``tell`` gets a sentence on how long it will take, and at the end on how long it took.
    Progress is saved in ``unfinished`` and resumed from there, in which case ``on_epoch`` gets the earlier epochs too.
    All ranks of a ``group`` call this alike; the first one saves and resumes, and only it need use the result.
    Raises `UserError` when training diverges, naming the images.
    """
    group = group or Group()
    threads, device = group.rank.share_of(cores()), group.device
    torch.set_num_threads(threads)
    tuner = FineTuner(Net(parts, head, scaling), device, parts, options, group, mixed=device.type == "cuda")
    if device.type == "cpu":
        tuner.net.cut(next(batches(train.samples[:2], tuner.transforms, 2)), threads)
    key = course_digest(parts, head, scaling, (train, held_out), options)
    course = tuner.resume(unfinished, key, tell, on_epoch)
    done = len(course.epochs)
    if not course.is_over(options.epochs, options.patience):
        seconds_per_epoch = tuner.seconds_per_epoch(train, held_out)
        text = trn(
            "{count} epoch of {images} images will take about {duration} on the {device}, "
            "if nothing else keeps it busy",
            "{count} epochs of {images} images will take about {duration} on the {device}, "
            "if nothing else keeps it busy",
            options.epochs - done,
            images=len(train.samples),
            duration=_duration((options.epochs - done) * seconds_per_epoch),
            device=device.type.upper(),
        )
        tell(text)
    began = time.monotonic()
    while not course.is_over(options.epochs, options.patience):
        started, number = time.monotonic(), len(course.epochs) + 1
        train_loss = tuner.train(train, number)
        loss, held_out_accuracy = tuner.check(held_out)
        course.add(
            Epoch(number, train_loss, loss, held_out_accuracy, time.monotonic() - started), tuner.trained_state()
        )
        if unfinished is not None and unfinished.is_due():
            unfinished.save(tuner.progress(course, key))
        on_epoch(course.epochs[-1])
    if (trained := len(course.epochs) - done) > 0:
        text = trn(
            "{count} epoch took {duration}; {expected} were expected",
            "{count} epochs took {duration}; {expected} were expected",
            trained,
            duration=_duration(time.monotonic() - began),
            expected=_duration(trained * seconds_per_epoch),
        )
        tell(text)
    tuner.net.load_state_dict(course.best, strict=False)
    return tuner.net.tuned()


def _duration(seconds: float) -> str:
    if seconds >= 90:
        return tr("{count} minutes", count=round(seconds / 60))
    return trn("{count} second", "{count} seconds", math.ceil(seconds))


class Net(torch.nn.Module):
    """Backbones and head as one network, from uint8 crops (n, side, side, 3) of each part to logits (n, classes)."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, parts: Sequence[Backbone], head: Linear, scaling: Scaling) -> None:
        super().__init__()
        self._names = [part.name for part in parts]
        self.parts = torch.nn.ModuleList(uint8_module(part) for part in parts)
        self.register_buffer("mean", torch.from_numpy(scaling.mean))
        self.register_buffer("scale", torch.from_numpy(scaling.scale))
        self.weight = torch.nn.Parameter(torch.from_numpy(head.weight.copy()))
        self.bias = torch.nn.Parameter(torch.from_numpy(head.bias.copy()))
        for part in self.parts:
            unfreeze_top(part)
        # Not a module list: their parameters are those of the parts, which the state would then hold twice.
        self._cuts: list[Cut | None] = [None] * len(parts)

    def cut(self, batch: Batch, threads: int) -> None:
        """Run the frozen half of each part in ONNX Runtime from now on (on the CPU), where that works."""
        self._cuts = [cut(part, crops, threads) for part, crops in zip(self.parts, batch.crops, strict=True)]

    def forward(self, crops: Sequence[torch.Tensor]) -> torch.Tensor:
        features = [
            functional.normalize((halves or part)(part_crops).float(), dim=1)
            for halves, part, part_crops in zip(self._cuts, self.parts, crops, strict=True)
        ]
        return (torch.cat(features, dim=1) - self.mean) * self.scale @ self.weight.T + self.bias

    def trained_state(self) -> dict[str, torch.Tensor]:
        """Copy the parameters that are trained, by name."""
        return {
            name: parameter.detach().clone() for name, parameter in self.named_parameters() if parameter.requires_grad
        }

    def tuned(self) -> dict[str, dict[str, Array]]:
        """Return the whole state of each backbone, by its name."""
        return {
            name: {
                key: tensor.cpu().contiguous().numpy()
                for key, tensor in part.get_submodule("module").state_dict().items()
            }
            for name, part in zip(self._names, self.parts, strict=True)
        }


def unfreeze_top(module: torch.nn.Module) -> None:
    """Let only the last stages be trained: whole stages from the top until they hold `TRAINED_SHARE` of the weights."""
    stages: dict[str, list[torch.nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(False)
        stages.setdefault(_stage(name), []).append(parameter)
    total = sum(parameter.numel() for parameter in module.parameters())
    trained = 0
    for stage in reversed(list(stages.values())):
        for parameter in stage:
            parameter.requires_grad_(True)
            trained += parameter.numel()
        if trained >= TRAINED_SHARE * total:
            return


def _stage(name: str) -> str:
    """Return the stage that a parameter belongs to: ``blocks.5`` of ``blocks.5.2.conv_pw.weight``."""
    steps = name.split(".")
    numbered = next((index for index, step in enumerate(steps) if step.isdigit()), len(steps) - 2)
    return ".".join(steps[: numbered + 1])


def learning_rate(done: float, highest: float) -> float:
    """Return the rate after a share ``done`` (0..1) of the steps: a short linear rise, then a cosine to zero."""
    rise = min(1.0, done / 0.05)
    return highest * rise * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


class FineTuner:
    """Trains one network on one device; ``mixed`` computes in bfloat16 where autocast allows, with float32 weights."""

    def __init__(
        self,
        net: Net,
        device: torch.device,
        parts: Sequence[Backbone],
        options: FineTuneOptions,
        group: Group | None = None,
        *,
        mixed: bool,
    ) -> None:
        self.net: Net = net.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.transforms = [part.transform for part in parts]
        self._device = device
        self._mixed = mixed
        self._options = options
        self._group = group or Group()
        self._trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(self._trained, lr=options.lr)
        self.steps_made = 0  # over all epochs, one for each batch

    def resume(
        self, unfinished: UnfinishedFit | None, key: str, tell: Callable[[str], None], on_epoch: OnEpoch
    ) -> Course:
        """Restore the course that was saved in ``unfinished`` with this ``key``, or begin a new one."""
        saved = None if unfinished is None else unfinished.load()
        if saved is not None and saved.state.get("digest") != key:
            tell(tr("the saved progress is of other images or another head, so fine-tuning starts again"))
            saved = None
        shared = self._group.share(None if saved is None else Payload(saved.arrays, saved.state))
        if shared is None:
            return Course(self.trained_state())
        course, self.steps_made = restore(SavedProgress(shared.arrays, shared.state), self.net, self._optimizer)
        for epoch in course.epochs:
            on_epoch(epoch)
        tell(tr("resumes after epoch {epoch}, the last of the interrupted fit", epoch=len(course.epochs)))
        return course

    def trained_state(self) -> dict[str, torch.Tensor]:
        """Copy the parameters that are trained, by name; nothing on ranks that neither save nor return them."""
        return self.net.trained_state() if self._group.rank.is_first else {}

    def progress(self, course: Course, key: str) -> SavedProgress:
        """Return the state that `resume` restores."""
        return course.progress(self.net.trained_state(), self._optimizer, self.steps_made, key)

    def seconds_per_epoch(self, train: LabelledSamples, held_out: LabelledSamples) -> float:
        """Measure how long an epoch takes, decoding included, with a few batches that change nothing.

        The first batch is not counted, since memory is allocated and threads are started during it.
        """
        count = min(3 * self._options.batch_size, len(train.samples))
        size = math.ceil(count / 3)
        clock, trained = time.monotonic(), 0
        stream = batches(train.samples[:count], self.transforms, size, shuffle=(0, 0), rank=self._group.rank)
        for number, batch in enumerate(stream):
            self._gradients(batch, train)
            self.net.zero_grad()
            if number == 0:
                clock = time.monotonic()
            else:
                trained += len(batch.drawn)
        training = (time.monotonic() - clock) / max(trained, 1)
        clock = time.monotonic()
        checked = held_out.samples[:count]
        self.check(LabelledSamples(checked, held_out.labels[: len(checked)]))
        checking = (time.monotonic() - clock) / len(checked)
        return training * len(train.samples) + checking * len(held_out.samples)

    def train(self, side: LabelledSamples, epoch: int) -> float:
        """Train for one epoch; return its mean loss."""
        rank, size, shuffle = self._group.rank, self._options.batch_size, (self._options.seed, epoch)
        total, seen = 0.0, 0
        steps = math.ceil(len(side.samples) / size)
        stream = batches(side.samples, self.transforms, size, shuffle=shuffle, rank=rank)
        is_hidden = None if rank.is_first else True  # None: where there is no terminal
        self._group.align(self._trained)
        batch: Batch
        for batch in tqdm(stream, f"fine-tune {epoch}", steps, unit=" batches", disable=is_hidden, leave=False):
            self._set_lr(steps)
            self._optimizer.zero_grad()
            value, images = self._gradients(batch, side)
            gradient_norm = float(torch.nn.utils.clip_grad_norm_(self._trained, 1.0))
            if not (math.isfinite(value) and math.isfinite(gradient_norm)):  # a step would ruin all weights
                names = ", ".join(shown(side.samples[row].name) for row in batch.drawn[:8])
                raise UserError(
                    tr(
                        "fine-tuning diverged in epoch {epoch} on a batch with {names}: lower --ft-lr, or look "
                        "at these images",
                        epoch=epoch,
                        names=names,
                    )
                )
            self._optimizer.step()
            total, seen = total + value * images, seen + images
        return total / max(seen, 1)

    def _gradients(self, batch: Batch, side: LabelledSamples) -> tuple[float, int]:
        """Compute the gradients of a batch, all ranks together; return its mean loss and how many images it had."""
        value = 0.0
        if len(batch.rows):
            loss = self.loss(batch, side.labels[batch.rows])
            value = float(loss.detach())
            loss.backward()  # type: ignore[no-untyped-call]
        return self._group.mean_gradients(self._trained, value, len(batch.rows))

    def _set_lr(self, steps: int) -> None:
        self.steps_made += 1
        done = self.steps_made / (steps * self._options.epochs)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(done, self._options.lr)

    def check(self, side: LabelledSamples) -> tuple[float, float]:
        """Return the calibrated log-loss and the accuracy on images that are cropped as in serving."""
        rank = self._group.rank
        scores: Logits = np.zeros((len(side.samples), len(self.net.bias) + 1))  # last column: 1 for what was read
        with torch.inference_mode():
            for batch in batches(side.samples, self.transforms, self._options.batch_size, rank=rank):
                if len(batch.rows):
                    scores[batch.rows, :-1] = self._logits(batch).double().cpu().numpy()
                    scores[batch.rows, -1] = 1
        scores = self._group.sum(scores)
        is_read = scores[:, -1] > 0
        logits, labels = scores[is_read, :-1], side.labels[is_read]
        figures = (log_loss(logits, labels, fit_temperature(logits, labels)), accuracy(logits, labels))
        loss, share = self._group.from_first(figures)  # by which all ranks end at the same epoch
        return loss, share

    def _logits(self, batch: Batch) -> torch.Tensor:
        crops = [torch.from_numpy(part_crops).to(self._device, non_blocking=True) for part_crops in batch.crops]
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed):
            result: torch.Tensor = self.net(crops)
        return result.float()

    def loss(self, batch: Batch, labels: Labels) -> torch.Tensor:
        """Return the cross-entropy of a batch, for training."""
        return functional.cross_entropy(self._logits(batch), torch.from_numpy(labels).to(self._device))
