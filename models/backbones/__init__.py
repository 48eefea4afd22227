"""One file per backbone family. The registry imports every module in this folder; adding one is adding a file."""
