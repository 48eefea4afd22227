"""What ``fit --max-error`` promises, and what becomes of it: ``python -m tests.benchmarks.trust [SET ...]``.

``--json FILE`` writes the figures, ``--unseen 4`` leaves out some folds. Of each labelled set one fold in turn is left
unseen: a head is chosen on the other four, the threshold on its predictions out of fold, and then the unseen images
are filed as the daemon would file them. Their wrong share is that by what they truly show. Beside it stands the rule of
before: the promise from four places to start from, or else a threshold of 0.5. A share is marked with ``!`` where its
interval lies above the one that was asked for. Folds are added up; those of one set share most of their images.

Below each set stand the accuracies of the judged and of the unseen images, which tell whether choosing the head
flatters it. At the end stand the thresholds that were raised since nothing near the asked share could be promised, and
how many of the unseen images above them, and above the promised ones, are wrong.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from models.checkpoints.metadata import DEFAULT_THRESHOLD, Promise
from models.deciding.rule import DecisionRule, Fate, are_unknown
from tests.benchmarks.chosen_heads import chosen_head, score_images
from tests.benchmarks.labelled_sets import NAMES, LabelledSet, load
from trainer.measuring.bounds import interval
from trainer.measuring.calibration import log_probabilities
from trainer.measuring.promises import find_promise
from trainer.measuring.thresholds import choose_thresholds

ASKED = (0.01, 0.02, 0.05)
FOLDS = (0, 1, 2, 3, 4)

Confidence = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
#: Images above a threshold, and how many of them are wrong.
Counts = tuple[int, int]


@dataclass(frozen=True)
class Judged:
    """The confidence (n,) of judged images, below 0 for unknown ones, and whether each is right."""

    confidence: Confidence
    right: Mask


@dataclass(frozen=True)
class Filed:
    """Of so many unseen ``images`` some are ``filed``, and some of them ``wrong``; how sure was promised, by folds."""

    images: int
    filed: int
    wrong: int
    promised: dict[str, int]

    def row(self, asked: float) -> str:
        """What is filed, how much of it is wrong, and the 95 % interval of that."""
        share = self.wrong / self.filed if self.filed else 0.0
        low, high = interval(self.wrong, self.filed)
        mark = "!" if low > asked else " "
        return f"{self.filed / self.images:6.1%}  {share:6.2%}{mark} ({low:.1%} to {high:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="SET", help=", ".join(NAMES))
    parser.add_argument("--unseen", type=int, nargs="+", choices=FOLDS, default=list(FOLDS), metavar="FOLD")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if strangers := sorted(set(options.names) - set(NAMES)):
        parser.error(f"there is no set {', '.join(strangers)}: choose from {', '.join(NAMES)}")
    figures, raised = [], list[tuple[Counts, Counts]]()
    heading = f"{'filed':>6}  {'wrong':>6}  {'interval':16}"
    print(f"{'set':14} asked  before: {heading}  now: {heading}  promised, by folds")
    for name in options.names or NAMES:
        draws = [fitted(load(name), fold) for fold in options.unseen]
        for asked in ASKED:
            before, now = (filed(draws, asked, rule) for rule in (earlier_rule, present_rule))
            promised = ", ".join(f"{what}: {count}" for what, count in now.promised.items())
            print(
                f"{name:14} {asked:5.0%}  {'':7} {before.row(asked):32}  {'':4} {now.row(asked):32}  {promised}",
                flush=True,
            )
            figures.append({"set": name, "asked": asked, "before": asdict(before), "now": asdict(now)})
            raised += [both for judged, unseen in draws if (both := raised_threshold(judged, unseen, asked))]
        judged, unseen = (np.concatenate([some.right for some in of]).mean() for of in zip(*draws, strict=True))
        print(f"{name:14} right of the judged images {judged:.3f}, of the unseen ones {unseen:.3f}", flush=True)
    show_raised(raised)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


def fitted(data: LabelledSet, unseen: int) -> tuple[Judged, Judged]:
    """The judged images of the other folds, and the unseen ones as they are served, judged by what they show."""
    seen, others = data.part(data.folds != unseen), data.part(data.folds == unseen)
    choice = chosen_head(seen)
    known = np.full(len(seen.labels), True) if choice.span is None else choice.span.known
    logits = log_probabilities(choice.out_of_fold, choice.temperature)
    judged = _judged(np.exp(logits), ~known[choice.judged], seen.labels[choice.judged])
    probabilities, strangeness = score_images(choice, others.features)
    return judged, _judged(probabilities.astype(np.float64), are_unknown(strangeness), others.truth)


def _judged(probabilities: npt.NDArray[np.float64], unknown: Mask, labels: npt.NDArray[np.int64]) -> Judged:
    confidence = np.where(unknown, -1.0, probabilities.max(axis=1))
    return Judged(confidence, probabilities.argmax(axis=1) == labels)


def filed(
    draws: Sequence[tuple[Judged, Judged]], asked: float, rule: Callable[[Judged, float], tuple[float, str]]
) -> Filed:
    """What becomes of the unseen images of all draws by the threshold that a rule finds on the judged ones."""
    images = into_class = wrong = 0
    promised: Counter[str] = Counter()
    for judged, unseen in draws:
        threshold, promise = rule(judged, asked)
        promised[promise] += 1
        fates = DecisionRule(threshold).fates(unseen.confidence, unseen.confidence < 0)
        sure = np.array([fate is Fate.SURE for fate in fates], dtype=bool)
        images += len(sure)
        into_class += int(sure.sum())
        wrong += int((sure & ~unseen.right).sum())
    return Filed(images, into_class, wrong, dict(promised.most_common()))


def present_rule(judged: Judged, asked: float) -> tuple[float, str]:
    """The threshold that a fit ships, and what it promises."""
    found = choose_thresholds(judged.confidence, judged.right, asked, [""] * len(judged.right))
    return found.threshold, _told(found.kept_promise)


def raised_threshold(judged: Judged, unseen: Judged, asked: float) -> tuple[Counts, Counts] | None:
    """Count unseen images above a threshold that was raised, and above the one of its promise; None if it was not."""
    kept = choose_thresholds(judged.confidence, judged.right, asked, [""] * len(judged.right)).kept_promise
    promise = None if kept is None else find_promise(judged.confidence, judged.right, kept.max_error)
    if kept is None or promise is None or kept.certainty != promise.certainty or kept.threshold <= promise.threshold:
        return None
    above, lower = (unseen.confidence.astype(np.float32) >= at.threshold for at in (kept, promise))
    return (int(above.sum()), int((above & ~unseen.right).sum())), (
        int(lower.sum()),
        int((lower & ~unseen.right).sum()),
    )


def show_raised(raised: Sequence[tuple[Counts, Counts]]) -> None:
    if not raised:
        return
    (above, wrong), (lower, lower_wrong) = (np.sum(counts, axis=0) for counts in zip(*raised, strict=True))
    print(
        f"raised thresholds: {len(raised)}; of {above} unseen images above them {wrong / max(above, 1):.2%} are wrong, "
        f"of {lower} above the promised ones {lower_wrong / max(lower, 1):.2%}"
    )


def _told(promise: Promise | None) -> str:
    if promise is None:
        return "nothing"
    sure = "estimate" if promise.certainty is None else f"{promise.certainty:.0%} sure"
    return f"{promise.max_error:.3g} {sure}"


def earlier_rule(judged: Judged, asked: float) -> tuple[float, str]:
    """The threshold that a fit shipped before, with 95 % certainty or else 0.5."""
    count = len(judged.right)
    starts = min(4, count // math.ceil(math.log(0.05) / math.log1p(-asked)))
    if not starts:
        return DEFAULT_THRESHOLD, "nothing"
    order = np.argsort(-judged.confidence.astype(np.float32), kind="stable")
    ranked = np.append(judged.confidence.astype(np.float32)[order], np.float32(-1))
    sizes = [min(math.ceil(math.log(0.05 / starts) / math.log1p(-asked)), count)]
    while sizes[-1] < count:
        sizes.append(min(count, max(sizes[-1] + 1, int(sizes[-1] * 1.02))))
    places = {len(sizes) * start // starts for start in range(starts)}
    thresholds = np.maximum(np.nextafter(ranked[sizes], np.float32(2)), np.float32(0))
    above = np.searchsorted(-ranked, -thresholds, side="right")
    mistakes = np.concatenate([[0], np.cumsum(~judged.right[order])])[above]
    threshold, doubt = None, 0.0
    for at, p_value in enumerate(bdtr(mistakes, above, asked)):
        doubt += 0.05 / len(places) if at in places else 0.0
        if above[at] and p_value <= doubt:
            threshold = float(thresholds[at])
        else:
            doubt = 0.0
    return (DEFAULT_THRESHOLD, "nothing") if threshold is None else (threshold, f"{asked:.3g} 95% sure")


if __name__ == "__main__":
    main()
