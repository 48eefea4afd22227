"""Make a checkpoint from the names of its classes alone, with a head of text embeddings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.checkpoint import Checkpoint, Head
from models.checkpoints.metadata import Metadata, PartRecord
from models.classifier import make_checkpoint
from models.deciding.class_names import MOST_DEPTH, check_class_path, check_distinct
from models.errors import CheckpointError, UserError
from models.inference.runtime import FeatureExtractor, locate_backbones, open_extractor
from models.registry import Backbone
from models.text.language import tr
from models.weights.store import WeightsStore
from trainer.fitted import Policy
from trainer.heads.prompt_file import PromptFile, read_prompts, write_prompts
from trainer.heads.prompts import Prompts, Texts, read_texts
from trainer.measuring.against_published import Verdict
from trainer.reports import narrate
from trainer.runs.folder import METRICS, Setting, create_run, require_writable, write_json, write_settings
from trainer.runs.publish import find_dropped_classes, publish, refusal_reason
from trainer.runs.retention import KEEP
from trainer.runs.versions import versions
from trainer.tables import say


@dataclass(frozen=True, kw_only=True)
class ZeroShotOptions:
    """Options of ``zero-shot``, named as on the command line."""

    classes: Sequence[str] = ()
    classes_from: Path | None = None
    nested: bool = False
    prompts: Path | None = None
    mode: str = "clip"
    weights: Mapping[str, str] = field(default_factory=dict)
    threshold: float | None = None
    output_dir: Path = Path("checkpoints")
    publish: Policy = "if-better"
    keep: int = KEEP
    cache_dir: Path | None = None

    def settings(self) -> dict[str, Setting]:
        """Return the options as they are saved in the run folder and in the checkpoint."""
        weights = {f"weights_{name}": source for name, source in self.weights.items()}
        return {"zero_shot": True, "mode": self.mode, "threshold": self.threshold, "publish": self.publish, **weights}


@dataclass(frozen=True)
class ZeroShotOutcome:
    """The result; ``unread`` lists the classes whose prompts have letters that a tokenizer does not know."""

    run: Path
    classes: list[str]
    unread: list[str]
    published: bool
    reason: str


def zero_shot(options: ZeroShotOptions) -> ZeroShotOutcome:
    """Make a checkpoint from names, write its run folder, and publish it as options say. Raises `UserError`."""
    store = WeightsStore(options.cache_dir)
    require_writable(options.output_dir, "--output-dir")
    classes = _classes(options)
    prompts = (read_prompts(options.prompts, classes) if options.prompts else PromptFile()).prompts(classes)
    parts = locate_backbones(options.mode, options.weights, store)
    texts = _read_classes(parts, prompts, options.mode)
    unread = sorted({name for part_texts in texts for name in part_texts.unread})
    _report(parts, prompts, unread)

    run = _write(options, _make_checkpoint(options, classes, texts, open_extractor(parts, store)), prompts)
    say(tr("written"), f"{run}: {', '.join(sorted(path.name for path in run.iterdir()))}")
    verdict = _decide_publication(options, classes)
    if verdict.publish:
        narrate.dropped_classes(find_dropped_classes(options.output_dir, classes).sentences())
        publish(run, store, keep=options.keep)
    narrate.verdict(verdict, run)
    return ZeroShotOutcome(run, classes, unread, verdict.publish, verdict.reason)


def _classes(options: ZeroShotOptions) -> list[str]:
    """Return the names, checked and sorted as those of a data set."""
    names = options.classes
    if options.classes_from is not None:
        names = _innermost(options.classes_from) if options.nested else _folder_names(options.classes_from)
    try:
        classes = sorted({check_class_path(name) for name in names})
        check_distinct(classes)
    except CheckpointError as error:
        raise UserError(str(error)) from error
    if len(classes) < 2:
        raise UserError(tr("with one class alone there is nothing to tell apart: give at least two"))
    return classes


def _folder_names(root: Path) -> list[str]:
    """Return the names of the folders in ``root``, with or without images."""
    try:
        with os.scandir(root) as entries:
            return [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(
            tr(
                "the folder {root} cannot be read ({reason}): give another --classes-from",
                root=root,
                reason=error.strerror,
            )
        ) from error


def _innermost(root: Path) -> list[str]:
    """Return the paths of the folders below ``root`` that hold no folder, as far down as classes may lie."""
    paths: list[str] = []
    pending = _folder_names(root)
    while pending:
        path = pending.pop()
        inner = _folder_names(root / path) if path.count("/") < MOST_DEPTH else []
        pending += [f"{path}/{name}" for name in inner]
        paths += [] if inner else [path]
    return paths


def _read_classes(parts: Sequence[Backbone], prompts: Prompts, mode: str) -> list[Texts]:
    if without_text := [part.name for part in parts if part.text is None]:
        raise UserError(
            tr(
                "{names} of mode {mode} does not read text, so it cannot use names: use --mode clip, or "
                "fit on images with python -m trainer fit",
                names=", ".join(without_text),
                mode=mode,
            )
        )
    return [texts for part in parts if (texts := read_texts(part, prompts)) is not None]


def _report(parts: Sequence[Backbone], prompts: Prompts, unread: Sequence[str]) -> None:
    say(tr("classes"), ", ".join(prompts))
    say(tr("backbone"), " + ".join(f"{part.name} ({part.source})" for part in parts))
    count = sum(map(len, prompts.values()))
    examples = " | ".join(next(iter(prompts.values()))[:2])
    say(tr("prompts"), tr("{count}, such as {examples}", count=count, examples=examples))
    if unread:
        text = tr(
            "warning: the tokenizer does not know the letters of {names}: such a name may mean nothing to this model",
            names=", ".join(unread),
        )
        say("", text)
        text = tr("give it words that it reads, a line each in a file for --prompts:  {name}: a dog", name=unread[0])
        say("", text)
        say("", tr("or take a model that reads many languages:  --clip-model siglip2"))


def _make_checkpoint(
    options: ZeroShotOptions, classes: list[str], texts: Sequence[Texts], extractor: FeatureExtractor
) -> Checkpoint:
    """Make a checkpoint whose head gives the mean of the parts' own logits, which are made for temperature 1."""
    rows = [part_texts.embeddings * np.float32(part_texts.scale / len(texts)) for part_texts in texts]
    weight = np.concatenate(rows, axis=1)
    bias = np.full(len(classes), np.mean([part_texts.bias for part_texts in texts]), np.float32)
    width = weight.shape[1]
    metadata = Metadata(
        mode=options.mode,
        parts=[PartRecord.from_backbone(part) for part in extractor.parts],
        classes=classes,
        normalisation="l2",
        threshold=options.threshold,
        settings=options.settings(),
        versions=versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return make_checkpoint(
        metadata, Head(weight, bias, np.zeros(width, np.float32), np.ones(width, np.float32)), extractor
    )


def _write(options: ZeroShotOptions, checkpoint: Checkpoint, prompts: dict[str, list[str]]) -> Path:
    def fill(run: Path) -> None:
        sha256 = checkpoints.write(checkpoint, run / checkpoints.FILE_NAME)
        write_json(run / METRICS, {"sha256": sha256, "zero_shot": True})
        write_settings(run / "settings.toml", options.settings())
        write_prompts(run / "prompts.txt", prompts)

    created = datetime.fromisoformat(checkpoint.metadata.created)
    return create_run(options.output_dir, options.mode, created.astimezone(), fill)


def _decide_publication(options: ZeroShotOptions, classes: list[str]) -> Verdict:
    """Decide on publishing without images to compare on: a checkpoint fitted on images is never replaced."""
    if options.publish != "never" and (reason := refusal_reason(options.output_dir, classes)) is not None:
        return Verdict(False, reason, publishable=False)
    if options.publish != "if-better":
        return Verdict(options.publish == "always", tr("--publish {policy} was given", policy=options.publish))
    try:
        pointer = checkpoints.read_pointer(options.output_dir)
        if pointer is None:
            return Verdict(True, tr("nothing was published before"))
        current = checkpoints.load(options.output_dir).metadata
    except CheckpointError as error:
        return Verdict(True, tr("the one published before cannot be used: {error}", error=error))
    if set(current.classes) != set(classes):
        return Verdict(True, tr("its classes are not those of {run}, so the two cannot be compared", run=pointer.run))
    if not current.data_digest:
        return Verdict(True, tr("{run} was made from names too, and this is the newer one", run=pointer.run))
    text = tr("{run} was fitted on images of the same classes, and this one is made from names", run=pointer.run)
    return Verdict(False, text)
