"""Opening images of every format, broken ones too."""
