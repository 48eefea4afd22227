"""The trainer: it fits and evaluates the checkpoints that the daemon serves.

What the words mean here, and nothing else; those of checkpoints and models are in `models`:

- part: one backbone of a mode, and its share of the features.
- view: the inputs that a head is fitted on: the features of one part or of all, or their likeness to the classes that a
  backbone was pretrained on.
- candidate: a kind of head on a view, fitted for all folds. The best one, the winner, is served.
- copy: an image with the same bytes as another. Near duplicate: one that looks the same (resized, encoded again,
  brightened, cropped a little).
- fold: one of the subsets that images are divided into. Each is held out in turn.
- judged: predicted by a head that was not fitted on the image, which was held out. Out of fold: such a prediction.
- group of images: copies and near duplicates of each other, or one image alone. Its images share a fold, and count as
  one image when a promise is made. Group of heads: the heads fitted without one fold, or on all images.
- span: the directions in which the features of known images vary. An image far from it is unknown.
- filed (of judged images): such as a daemon would put into the folder of a class, or of several. The trainer itself
  moves nothing.
- promise: with a threshold, the most of the filed images that are wrong, and how certain that is.
- growth: what more images would bring, estimated from heads that were fitted on a quarter of them.
- rank: one of several processes that fine-tune together, and its number. The first one does all else alone.
- perceptual hash: marks by which an image is recognised when it was resized or encoded again.
- finding: something odd about an image that the user should know, reported by the audit.
- missing class: a kind of images that has no class. What would become of its images is told from classes that are
  left out of a fit.
- verdict: whether a run is published, and why.
"""

import importlib.util
import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib takes a while to import

# ``python -m`` puts the folder that the user is in before all others: what lies there must not be taken for ours, nor
# for a library. A clone's own folder stays, and so does what PYTHONPATH names. A folder that was deleted is not there.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    try:
        if sys.path[0] == os.getcwd() != _ROOT:
            del sys.path[0]
    except OSError:
        pass

_models = importlib.util.find_spec("models")
if _models is None or not (_models.origin or "").startswith(os.path.join(_ROOT, "models", "")):  # noqa: PTH118
    _sentence = (
        f"another module is called models, and lies before ours: {_models and (_models.origin or _models.name)}; use "
        "imagesortd from a shell without PYTHONPATH, or take that module out of the way"
    )
    if sys.argv[:1] != ["-m"]:
        raise ImportError(_sentence)
    sys.stderr.write(f"trainer: {_sentence}\n")
    sys.exit(2)
