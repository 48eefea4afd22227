"""What the daemon and the trainer share: decoding, the backbone registry, weights, runtime and checkpoints.

Nothing in here reads settings or knows of inboxes and class folders.
"""
