"""A plug-in that ends the program it is imported into."""

raise SystemExit("good bye")
