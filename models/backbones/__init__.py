"""One file per backbone family. The registry imports every module in this folder; to add one, add a file."""
