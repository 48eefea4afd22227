"""Moving an image to where it belongs, and back, whatever happens in between."""
