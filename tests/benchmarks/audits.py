"""Whether promises that were made from audits hold: ``python -m tests.benchmarks.audits [--seeds N] [--json FILE]``.

Somebody fits on ten scenes of each class and asks for at most 5 % wrong, which so few images cannot promise. Images
arrive; a person answers for some that went to the others, then audits a random sample of what was filed, and a lesson
follows (`trainer.learn`). Its promise is compared with the share that is wrong of the images that arrive later and are
filed: none of them was seen, and ``over`` counts the promises whose share is larger. One in twenty may be.

Beside it stands what an audit alone would promise, without the images that went to the others so far. It is made more
often, and for a lower threshold, but nothing is known of the images that the lesson files anew.

Measured with twelve draws, at most 5 % asked for: of the promises with the others 3 were made and none is over, with
1.9 % wrong; by audits alone 11 would be made and 5 are over, with 6.8 % wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from loguru import logger

from models.checkpoints import checkpoint as checkpoints
from models.deciding.rule import are_unknown
from models.scoring import score
from tests.benchmarks import lesson_days
from tests.benchmarks.labelled_sets import Labels
from tests.benchmarks.lesson_days import MAX_ERROR, STORE, Images, Person, Scenario, fit_on, judge, quiet, scenario
from trainer.learn import LearnOptions, learn

#: How many images people answer for before they audit, and how many they audit.
ANSWERS, AUDITED = 90, 150
#: Of what arrives, the first half is what is audited; the rest shows whether the promise holds.
BEFORE = 5


@dataclass(frozen=True)
class Figures:
    """What a lesson promised by a sample: nothing, or a threshold; and what it then files, and how much is wrong."""

    is_made: bool
    threshold: float
    filed: int = 0
    wrong: int = 0

    @property
    def is_over(self) -> bool:
        """Whether more is wrong than was promised."""
        return self.is_made and self.wrong > MAX_ERROR * self.filed


def measure(images: Images, seed: int) -> dict[str, Figures]:
    """Live through one draw."""
    drawn = scenario(images, 0, seed, appears=False)
    arrived, later = (np.concatenate(drawn.arrivals[:BEFORE]), np.concatenate(drawn.arrivals[BEFORE:]))
    first = {int(row): int(images.labels[row]) for row in drawn.first}
    random = np.random.default_rng([seed, 3])
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as scratch:
        folder = Path(scratch)
        base = fit_on(folder / "base", drawn, first)
        judged = judge(base, images, arrived)
        filed, others = random.permutation(arrived[judged.filed]), random.permutation(arrived[~judged.filed])
        person = Person(drawn, 0.0, random)
        person.answer(others[:ANSWERS].tolist(), 1)
        audited = filed[:AUDITED].tolist()
        person.answer(audited, 1)
        person.write(folder / "labels.json")
        for_each = len(others) / max(len(filed), 1)
        unsure = random.permutation(others)[: int(np.ceil(len(audited) * for_each))].tolist()
        figures = {}
        for name, rows in (("audits and others", audited + unsure), ("audits alone", audited)):
            write_sample(folder / "sample.json", drawn, person, rows, set(audited))
            runs = Path(shutil.copytree(base, folder / name / "runs"))
            with quiet():
                learn(
                    LearnOptions(
                        checkpoints=runs,
                        labels=folder / "labels.json",
                        audited=folder / "sample.json",
                        cache_dir=STORE.root,
                    )
                )
            figures[name] = outcome(runs, images, later)
    return figures


def write_sample(file: Path, drawn: Scenario, person: Person, rows: list[int], audited: set[int]) -> None:
    """Write a sample as the daemon does: of what nobody has answered for, nobody knows the class."""
    images = drawn.images
    items = [
        {
            "path": str(images.paths[row]),
            "sha256": images.sha256[row],
            "label": images.classes[person.given[row]] if row in person.given else None,
            "how": "audited" if row in audited else "unsure",
        }
        for row in rows
    ]
    file.write_text(json.dumps(items), encoding="utf-8")


def outcome(runs: Path, images: Images, later: Labels) -> Figures:
    """Say what the published model promises by audits, and what becomes of the images that arrive later."""
    checkpoint = checkpoints.load(runs)
    metadata = checkpoint.metadata
    if not metadata.audited:
        return Figures(False, metadata.served_threshold)
    probabilities, strangeness = score(metadata, checkpoint.head, images.features[later])
    filed = (probabilities.max(axis=1) >= metadata.served_threshold) & ~are_unknown(strangeness)
    named = np.array([images.classes.index(name) for name in metadata.classes])[probabilities.argmax(axis=1)]
    wrong = filed & (named != images.labels[later])
    return Figures(True, metadata.served_threshold, int(filed.sum()), int(wrong.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    logger.remove()
    images = lesson_days.read("intel_scenes6")
    lives = [measure(images, seed) for seed in range(options.seeds)]
    print(f"{'':>20}{'made':>7}{'over':>7}{'filed':>8}{'wrong':>8}")
    for name in lives[0]:
        made = [life[name] for life in lives if life[name].is_made]
        filed, wrong = sum(each.filed for each in made), sum(each.wrong for each in made)
        share = wrong / filed if filed else 0.0
        print(f"{name:>20}{len(made):7}{sum(each.is_over for each in made):7}{filed:8}{share:8.3f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps([{k: asdict(v) for k, v in life.items()} for life in lives], indent=1))


if __name__ == "__main__":
    main()
