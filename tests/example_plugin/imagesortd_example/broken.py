"""A plug-in that cannot be imported, as after a bad update."""

raise RuntimeError("this plug-in was made for another version")
