"""What the daemon and the trainer share: decoding, the backbone registry, weights, runtime and checkpoints.

Nothing in here reads settings or knows of inboxes and class folders.

What the words mean here, and nothing else; those of inboxes and filing are in `daemon`:

- backbone: a frozen network that turns an image into features. Its weights are downloaded or embedded; its graph is the
  form of it that the runtime executes. A backbone may consist of several parts.
  Mode: the name of a backbone, or the names of several, joined by +.
- head: the small part, fitted on images of the user, that turns features into a probability for each class. To fit is
  to compute a head; to train is to change the weights of a backbone, which only fine-tuning does.
- checkpoint: a head and all that serving it needs to know, in one file. Its digest identifies it.
- run: a folder that one fit wrote. Published: named by ``current.json``, from where daemons take it. (The
  journal of the daemon has runs of its own, see `daemon`.)
- golden samples: images in a checkpoint with what it computed for them; one that computes something else is refused.
- prediction: the likeliest class and its probability (confidence), and whether the image is unknown.
- rule: it decides by the probabilities, once for all who ask. Sure: at least as probable as the threshold. Rolled up:
  sure to be of one of several classes, and not of which. Unsure: neither. Unknown: like none of the images that the
  head was fitted on; an unknown image has none of the other three fates. Ruling: the fate of one image, and its label.
- crop: an image, decoded and cut to the size that a backbone takes.
- cluster: machines that Ray has joined. Node: one of them. Worker: a process on a node that is given batches of images.
  (Messages say head of the node that a cluster began on, as Ray does.)
- message: a text that a user reads, such as an error or a line of the log: one or more whole sentences.
"""

from __future__ import annotations

import os
import sys
import time

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib takes a while to import

# As in the other packages, where they have not done so already: what lies in the folder that the user is in must not be
# taken for a library.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and not {"daemon", "trainer"} & sys.modules.keys():
    try:
        if sys.path[0] == os.getcwd() != _ROOT:
            del sys.path[0]
    except OSError:
        pass

#: A time zone that Python has no times in (a day or more from UTC); command lines refuse it, `models.text.commandline`.
#: It is put aside before the log is imported, which looks at the time.
REFUSED_ZONE: str | None = None
if abs(time.localtime().tm_gmtoff) >= 24 * 3600:
    REFUSED_ZONE = os.environ.get("TZ", "")
    os.environ["TZ"] = "UTC0"
    time.tzset()

# ONNX Runtime would make up an identity for this machine, and send its maker what it is used for.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# NumPy's matrix products here are small, and its threads wait for each other by spinning: with two busy cores the head
# of a batch of 8 images takes 27 ms with two threads, 0.2 ms with one. It is read when NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
