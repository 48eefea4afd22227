"""Linear heads on features, and the choice among them."""
