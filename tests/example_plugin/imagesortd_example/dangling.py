"""A plug-in that composes a backbone which is nowhere."""

from models.registry import register_composition

register_composition("half_there", ("mobilenet", "nowhere"), description="its second part does not exist")
