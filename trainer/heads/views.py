"""Views: the sets of inputs that heads are tried on. Each backbone's features, what it was pretrained to say, and all.

A backbone that was pretrained on classes may know what a user sorts: then how like an image is to each of those classes
tells more than the features themselves. Measured on fold 4 with the embedded backbone, five seeds: ants and bees, which
ImageNet has, accuracy .976 instead of .935 and log-loss .067 instead of .098; scenes, which it has not, logistic alone
.887 instead of .911 and .266 instead of .237. So heads out of fold decide, and they were right each time, with 16
images a class too. Scenes are told from ants and bees a little worse: 90 % of them are taken for unknown instead of
99.8 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.checkpoint import Pretrained
from models.scoring import likeness
from models.text.language import tr
from trainer.data.cache import Features
from trainer.data.folds import Folds
from trainer.heads.candidates import View
from trainer.heads.linear import Linear, Scaling, one_thread, to_unit_length
from trainer.heads.prompts import Embeddings
from trainer.heads.task import FittingTask
from trainer.measuring.calibration import Labels

#: What the cosine of an image and a text is multiplied by to make a logit, as CLIP learned it.
_TEXT_SCALE = 100.0
#: Images whose likeness is computed at once, so that no second array of all is in memory.
_ROWS = 1024


@dataclass(frozen=True)
class Part:
    """One backbone's share of the features: its name, how many there are, and the classes' texts among them, if any.

    ``pretrained`` is the classifier that the backbone was pretrained with, where it is known.
    """

    name: str
    width: int
    texts: Embeddings | None = None
    pretrained: Pretrained | None = None


def whole(features: Features, labels: Labels, classes: int, folds: Folds, parts: Sequence[Part]) -> View:
    """The view of all parts' raw features (n, width), each brought to unit length and scaled where it is."""
    widths = [part.width for part in parts]
    to_unit_length(features, widths)
    scaling = Scaling.of(features, widths)
    scaling.apply_to(features)
    task = FittingTask(features, labels, classes, folds)
    name = "all parts" if len(parts) > 1 else ""
    label = tr("all parts") if len(parts) > 1 else ""
    return View(name, tuple(range(len(parts))), task, scaling, _text_head(parts, scaling), label=label)


def alone(every: View, parts: Sequence[Part], at: int) -> View:
    """The columns of one part (its position) of the view of all."""
    part = parts[at]
    begin = sum(before.width for before in parts[:at])
    columns = slice(begin, begin + part.width)
    task = FittingTask(every.task.scaled[:, columns], every.task.labels, every.task.classes, every.task.folds)
    scaling = Scaling(every.scaling.mean[columns], every.scaling.scale[columns])
    return View(part.name, (at,), task, scaling, _text_head([part], scaling))


def likenesses(features: Features, part: Part) -> Features | None:
    """How like the images are to each class (n, classes) that the part's backbone was pretrained with, if it was.

    ``features`` (n, width) are the part's raw ones.
    """
    if part.pretrained is None:
        return None
    found = np.empty((len(features), len(part.pretrained.weight)), np.float32)
    with one_thread():
        for start in range(0, len(features), _ROWS):
            found[start : start + _ROWS] = likeness(features[start : start + _ROWS], part.pretrained)
    return found


def as_classes(inputs: Features, part: Part, view: View) -> View:
    """The same images and part as in ``view``, seen by their `likenesses` (n, classes), which this scales in place."""
    scaling = Scaling.of(inputs, [inputs.shape[1]])
    scaling.apply_to(inputs)
    task = FittingTask(inputs, view.task.labels, view.task.classes, view.task.folds)
    name = f"{view.name} as ImageNet classes".strip()
    label = tr("{name} as ImageNet classes", name=view.name) if view.name else tr("as ImageNet classes")
    return View(name, view.parts, task, scaling, pretrained=part.pretrained, label=label)


def _text_head(parts: Sequence[Part], scaling: Scaling) -> Linear | None:
    """The head whose logits are a hundred times the cosines of images and texts, summed over parts that read text."""
    read = [part.texts for part in parts if part.texts is not None]
    if not read:
        return None
    classes = len(read[0])
    rows = [np.zeros((classes, part.width), np.float32) if part.texts is None else part.texts for part in parts]
    weight = np.concatenate(rows, axis=1) * np.float32(_TEXT_SCALE / len(read))
    return Linear(weight / scaling.scale, np.asarray(weight @ scaling.mean, np.float32))
