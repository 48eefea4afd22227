"""A plug-in that takes a name which is taken, after registering one that is not."""

from models.registry import register_composition

register_composition("twin_only", ("mobilenet", "efficientnet_lite0"), description="goes down with its plug-in")
register_composition("hybrid", ("clip", "mobilenet"), description="not the hybrid people know")
