"""The service: it watches inboxes and files every new image into the folder of its class.

What the words mean here, and nothing else; those of checkpoints and models are in `models`:

- inbox: a folder that is watched. Output: the folder with a class folder for each class, one for unsure and unknown
  images (``others``) and the quarantine, for images that cannot be read.
- candidate: a file whose name may be that of an image to file. Temporary name: one that programs give a file until it
  is complete, such as ``a.jpg.part``.
- waiting: seen in an inbox, and neither filed nor in flight; `status` and the metrics count these. Such a file settles
  until it is stable: written to its end, as far as can be seen. Unfinished: stable, but its writer has it open, or may
  have. Postponed: not examined before some time, unless it changes. Active: waiting and not postponed. In flight:
  handed out to the work loop. The queue, in `status`: what is waiting or in flight.
- claim: what a daemon does to keep others out of an inbox. Patience: the seconds without a change after which a file
  counts as written, or as broken, where nobody can tell whether its writer has it open. (At the control socket: the
  seconds that one side waits for the other.)
- missing: an inbox that is not there. Away: the output is not there, or another folder is in its place. Paused: nothing
  is filed meanwhile, and images stay in the inbox. Loading: a model is brought into memory; the one in use goes on
  filing.
- block: a call does not return, and its thread cannot go on, until the file system or another program answers.
- source: an image as it was read in the inbox. Identity: its device, inode, size and time at that moment.
- file (verb): move, copy, link or tag an image, whichever folder it belongs in. Request: what the filer is asked to do
  with an image. Filing: its row in the journal. Transfer: the steps of that, which are finished, taken back, or after a
  crash recovered.
- rule (of a class): a table of config.toml. Handling: what is done with the images of a class, by its rule and else by
  the settings. What decides by probabilities is the rule of `models.deciding`.
- run (in the journal): what one start of the daemon or of a command filed; `undo --run` takes its id. A run of the
  trainer is something else, a folder.
- sync (of a folder) and flush (of a file): go on only when the disk has it. A filing is interrupted: begun, and neither
  done nor taken back.
- private name: the hidden name that a file has during a part of its transfer.
- sidecar: a file that belongs to an image by its name and goes where that goes.
- corrected: a person has moved a filed image to another class folder, and it stays there.
- undo: bring an image back to where it came from. Held: back in an inbox, and not filed again until it changes, is
  renamed or released. Left: never taken out of the inbox, as a rule or `duplicates` says. Retry: the same from the
  quarantine. Resort: move filed images to where another checkpoint files them.
- operation: what a command asks of filed images, in steps. A running daemon carries it out on its work loop, between
  batches; a slice is the steps that it does before images come first again. Peer: a program that is connected to the
  control socket. Call: a line by which a peer asks for something, until it is answered.
- sure, rolled up, unsure, unknown: what the rule says of an image (its fate), see `models`. ``others``: the folder of
  unsure and unknown images, and of nothing else; an output beside the first one is another output. Outcome: what became
  of the image. Decision: what a person decided on the review page. Audit: random draws of what was filed, which people
  judge there; that of the trainer looks through a data set for odd images.
- probation: the first images of a new checkpoint, after which it stays or goes.
- hint: an event from the kernel about a folder. It only says where to look sooner; no file is missed without it.
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
    sys.stderr.write(f"daemon: {_sentence}\n")
    sys.exit(2)

import models  # noqa: E402, F401 - it sets the environment, and must do so before anything imports NumPy
