"""The trainer: it fits and evaluates the checkpoints that the daemon serves."""

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
