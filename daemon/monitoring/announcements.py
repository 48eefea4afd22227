"""Log what a daemon is about to do when it starts, and what it has done when it ends."""

from __future__ import annotations

from collections.abc import Sequence

from loguru import logger

from daemon.config import Settings, watches_inside
from daemon.files.layout import FLAT
from daemon.filing.bursts import MOST_QUIET
from daemon.monitoring.messages import shown, some
from daemon.reloading.threshold import Threshold
from models.classifier import Classifier
from models.text.language import mark, tr


def conclude(summary: str, left: int, *, once: bool, dry_run: bool) -> None:
    """Log how many images had which outcome."""
    if not summary:
        summary = tr("no image was filed")
    elif dry_run:
        summary = tr("{images}, had it been no dry run", images=summary)
    if left:
        summary = tr("{images}; {left} left behind", images=summary, left=left)
    logger.info("{}", tr("done: {images}", images=summary) if once else tr("stopped: {images}", images=summary))


def describe_duplicates(settings: Settings) -> str:
    """Say what becomes of duplicates; "" if they are filed like other images."""
    if settings.are_duplicates_moved:
        return tr("images with the same bytes as a filed one go to {folder}/", folder=settings.duplicates_dir)
    return tr("images with the same bytes as a filed one stay where they are") if settings.duplicates == "leave" else ""


def describe_bursts(settings: Settings) -> str:
    """Say what is decided together; "" where each image is decided by itself."""
    if not settings.burst_seconds:
        return ""
    return tr(
        "images that one camera took within {seconds:g} s, and that look alike, are decided together: each waits up to "
        "{wait:g} s for the next one",
        seconds=settings.burst_seconds,
        wait=min(settings.burst_seconds, MOST_QUIET),
    )


def announce_rules(settings: Settings, classes: Sequence[str]) -> None:
    """Log which classes have rules of their own, and warn of each that the model does not have."""
    rules = settings.class_rules
    unknown = rules.unknown(classes)
    names = [name for name in rules.names if name not in {rule.name for rule in unknown}]
    if names:
        logger.info(tr("classes with rules of their own: {classes}", classes=some(names)))
    for name, nearest in unknown:
        values = {"name": shown(name), "near": nearest}
        if name in settings.other_folders:
            logger.warning(
                tr("the rule of '{name}' does nothing: that is the folder of other images, and no class", **values)
            )
        elif nearest is None:
            logger.warning(tr("the rule of the class '{name}' does nothing: the model has no such class", **values))
        else:
            logger.warning(
                tr(
                    "the rule of the class '{name}' does nothing: the model has no such class; did you mean '{near}'?",
                    **values,
                )
            )


def announce(settings: Settings, classifier: Classifier, threshold: Threshold, trouble: str, *, dry_run: bool) -> None:
    """Log what is watched, with which model, and where images go.

    ``trouble``: why the published checkpoint is not in use, if so; else "".
    """
    metadata = classifier.metadata
    names: Sequence[str] = metadata.classes
    classes = some(names, 8)
    logger.info(tr("watching {names}", names=", ".join(shown(str(inbox)) for inbox in settings.watch)))
    if settings.recursive and not watches_inside(settings):
        logger.info(
            tr(
                "the folders inside are not watched: images are filed into the inbox {output} itself, so its folders "
                "are left alone",
                output=settings.output,
            )
        )
    if metadata.settings.get("starter"):
        why = trouble or tr("nothing is published in {checkpoint}", checkpoint=settings.checkpoint)
        logger.info(tr("model: the starter model ({mode}), since {why}", mode=metadata.mode, why=why))
    else:
        logger.info(
            tr(
                "model: {mode}, checkpoint {digest} from {checkpoint}",
                mode=metadata.mode,
                digest=classifier.digest[:12],
                checkpoint=settings.checkpoint,
            )
        )
    logger.info(tr("classes: {classes}", classes=classes))
    _announce_action(settings, dry_run=dry_run)
    announce_rules(settings, metadata.classes)
    if settings.layout != FLAT:
        logger.info(tr("images in class folders are arranged by the layout {layout}", layout=settings.layout))
    if duplicates := describe_duplicates(settings):
        logger.info("{}", duplicates)
    if bursts := describe_bursts(settings):
        logger.info("{}", bursts)
    logger.info("{}", threshold)
    if threshold.rolled_up:
        logger.info("{}", threshold.rolled_up)
    logger.info(tr("ready; stop with Ctrl-C"))


def _announce_action(settings: Settings, *, dry_run: bool) -> None:
    """Say what is done with images."""
    if settings.action == "tag":
        said = mark("tagging images where they are, in XMP sidecars; unsure and unreadable ones stay as they are")
        planned = mark("a dry run, not tagging images, but saying which tags they would get")
        logger.info(tr(planned if dry_run else said))
        return
    verb = {"move": tr("moving"), "copy": tr("copying"), "link": tr("linking")}[settings.action]
    if settings.metadata == "xmp":
        logger.info(tr("images in class folders are tagged in XMP sidecars, too"))
    values = {
        "doing": tr("a dry run, not {verb}", verb=verb) if dry_run else verb,
        "output": settings.output,
        "others_dir": settings.others_dir,
        "quarantine_dir": settings.quarantine_dir,
    }
    if settings.action == "move":
        said = mark(
            "{doing} images to {output}/<class>/, unsure ones to {others_dir}/, unreadable ones to {quarantine_dir}/"
        )
    else:
        said = mark("{doing} images to {output}/<class>/, unsure ones to {others_dir}/; unreadable ones stay")
    logger.info(tr(said, **values))
