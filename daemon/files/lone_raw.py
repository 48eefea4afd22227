"""Tell the raw files that are pictures of their own: there is no picture of their name that they would go with."""

from __future__ import annotations

from daemon.files.candidates import is_temporary_name
from daemon.files.sidecar_names import follows
from models.files.image_names import is_raw_name, reads_raw


def is_lone_raw(path: str) -> bool:
    """Whether a file is a raw file to be filed as a picture; none is where rawpy, which reads them, is missing."""
    name = path.rpartition("/")[2]
    return is_raw_name(name) and not is_temporary_name(name) and reads_raw() and not follows(path)
