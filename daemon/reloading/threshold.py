"""Choose the threshold at which an image is filed as its class: the user's, or else the checkpoint's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.checkpoints.promises import CERTAINTY, is_as_requested, percent, what_holds, why_lapsed
from models.deciding.rule import DecisionRule, Limit, Ruling
from models.text.language import mark, tr
from models.text.printable import shown

if TYPE_CHECKING:
    from daemon.config.class_rules import ClassRules
    from models.checkpoints.metadata import Metadata, Promise
    from models.classifier import Prediction

_NONE_SET = mark(
    "no threshold above 0 is set (--threshold 0.5 sends the less probable to the others, --threshold auto goes by the "
    "checkpoint's own)"
)


#: Inner folders of one depth that are named.
_NAMED = 3


@dataclass(frozen=True)
class Threshold:
    """Rule in force, and the reason for its threshold, in words that continue a sentence.

    A reason without figures is translated where it is shown: `status` may speak another language than the daemon.
    ``others``: the folder of unsure images; None where they stay where they are, since images are only tagged.
    """

    rule: DecisionRule
    why: str
    others: str | None = "others"

    @property
    def value(self) -> float:
        """Probability below which an image is unsure."""
        return self.rule.threshold

    @property
    def refuses_unknown(self) -> bool:
        """Whether unknown images go to the others, however probable their class is."""
        return self.rule.refuses_unknown

    def decide(self, prediction: Prediction) -> Ruling:
        """Apply the rule to an image: decide where it goes."""
        return self.rule.decide(prediction)

    def __str__(self) -> str:
        what = tr("get no tag") if self.others is None else tr("go to {folder}/", folder=shown(self.others))
        values = {"sure": percent(self.value), "what": what, "why": tr(self.why)}
        if self.value == 0 and self.refuses_unknown:
            return tr("only images unlike anything it was taught {what}: {why}", **values)
        if self.value == 0:
            return tr("every readable image goes to its class: {why}", **values)
        if self.refuses_unknown:
            return tr(
                "images it is less than {sure} % sure of, or that are unlike anything it was taught, {what}: {why}",
                **values,
            )
        return tr("images it is less than {sure} % sure of {what}: {why}", **values)

    @property
    def rolled_up(self) -> str:
        """Say how sure it must be to file an image into the folder above its class; "" where none goes there."""
        levels = sorted(self.rule.levels.items())
        if self.value == 0 or not levels:
            return ""
        if len(levels) == 1:
            return tr(
                "images it is not so sure of go into the folder above their class if it is at least {sure} % "
                "sure that they belong there",
                sure=percent(levels[0][1]),
            )
        return tr(
            "images it is not so sure of go into a folder above their class if it is sure enough that they "
            "belong there: {levels}",
            levels="; ".join(
                tr("at least {sure} % at depth {depth}", sure=percent(level), depth=depth) for depth, level in levels
            ),
        )


def in_force(
    chosen: float | None,
    metadata: Metadata,
    rules: ClassRules | None = None,
    *,
    others: str | None = "others",
) -> Threshold:
    """Return the threshold for a checkpoint. ``chosen``: the user's; None: the checkpoint's own, or else the default.

    A user who chooses 0 wants everything filed, unknown images too. The user's threshold is that of inner folders, too.
    ``rules``: those of classes, which may have thresholds of their own. ``others`` as in `Threshold`.
    """
    value, why = _value(chosen, metadata)
    levels = metadata.served_levels if chosen is None else dict.fromkeys(metadata.tree.depths, chosen)
    measures = metadata.unknown is not None
    own = {} if rules is None else rules.thresholds([*metadata.classes, *metadata.tree.inner_folders])
    limits = {label: Limit(own_value, measures and own_value != 0) for label, own_value in own.items()}
    rule = DecisionRule(value, refuses_unknown=measures and chosen != 0, levels=levels, own=limits)
    return Threshold(rule, why, others)


def inner_folder_rules(chosen: float | None, metadata: Metadata) -> list[str]:
    """Say for each depth of inner folders how sure an image must be to go there, and what is promised of that.

    The deepest comes first, as it is decided. ``chosen`` as in `in_force`. The list is empty where no class lies in a
    folder of others.
    """
    rule = in_force(chosen, metadata).rule
    if rule.threshold == 0:
        return []
    asked = metadata.max_error if chosen is None else None
    promises = {level.depth: level.promise for level in metadata.levels}
    sentences = []
    for depth in metadata.tree.depths:
        names = _named([folder for folder in metadata.tree.groups if folder.count("/") == depth - 1])
        sentences.append(_inner_folder_rule(names, rule.levels.get(depth), asked, promises.get(depth)))
    return sentences


def _inner_folder_rule(names: str, level: float | None, asked: float | None, promise: Promise | None) -> str:
    if level is None:
        return tr(
            "no image goes into a folder above its class ({names}), since it cannot be promised that at most "
            "{asked:.3g} % are wrong there",
            names=names,
            asked=100 * (asked or 0.0),
        )
    values = {"names": names, "sure": percent(level)}
    if asked is None:
        return tr(
            "images it is not so sure of go into the folder above their class ({names}) if it is at least "
            "{sure} % sure that they belong there",
            **values,
        )
    return tr(
        "images it is not so sure of go into the folder above their class ({names}) if it is at least {sure} % "
        "sure that they belong there: {why}",
        why=why_lapsed(asked) if promise is None else what_holds(promise, asked),
        **values,
    )


def _named(folders: Sequence[str]) -> str:
    """Name folders, or the first of them."""
    more = ", …" if len(folders) > _NAMED else ""
    return ", ".join(f"{shown(folder)}/" for folder in folders[:_NAMED]) + more


def _value(chosen: float | None, metadata: Metadata) -> tuple[float, str]:
    from models.checkpoints.metadata import DEFAULT_THRESHOLD, strictest  # `status` needs the sentences alone

    if chosen == 0:
        return chosen, _NONE_SET
    if chosen is not None:
        return chosen, mark("the threshold that was set")
    if metadata.max_error is not None:
        return metadata.served_threshold, _what_holds(metadata, metadata.max_error)
    if metadata.threshold is not None:
        return metadata.threshold, mark("the checkpoint's own threshold")
    offers = [
        tr(
            "{share} with --threshold {threshold:g}",
            share=f"{percent(promise.max_error)} %",
            threshold=promise.typed_threshold,
        )
        for promise in strictest(metadata.promises)
        if promise.certainty == CERTAINTY
    ]
    if not offers:
        return DEFAULT_THRESHOLD, mark("the default threshold, since the checkpoint has none of its own")
    return DEFAULT_THRESHOLD, tr(
        "the default threshold, since the checkpoint has none of its own; at most this share of mistakes can "
        "be promised: {offers}",
        offers="; ".join(offers),
    )


def _what_holds(metadata: Metadata, requested: float) -> str:
    if metadata.promise_lapsed:
        return why_lapsed(requested, is_doubted=metadata.is_promise_doubted)
    promised = what_holds(metadata.kept_promise, requested, metadata.audited)
    if is_as_requested(metadata.kept_promise, requested):
        return promised
    return tr(
        "{promised}; report.txt of the run says what {asked:.3g} % takes", promised=promised, asked=100 * requested
    )


def alike(one: Metadata, other: Metadata) -> bool:
    """Whether two checkpoints were fitted for the same error limit and make the same promise.

    If so, both should send about as many images to the others.
    """
    return _asked(one) == _asked(other)


def _asked(metadata: Metadata) -> tuple[object, ...]:
    own = metadata.threshold if metadata.max_error is None else None
    promise = metadata.kept_promise
    kept = None if promise is None else (promise.max_error, promise.certainty)
    return metadata.max_error, own, kept, metadata.unknown is not None
