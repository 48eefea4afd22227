"""A container: what runs as its first process, and how to build and start one (`Containerfile`, `compose.yaml`)."""
