"""How right a classifier is, how sure one may be of that, and which of two is better."""
