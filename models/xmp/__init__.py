"""Read and change the tags in XMP sidecars, and leave every other byte of them as it is."""
