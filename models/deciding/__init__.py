"""From probabilities to a folder: the rule by which images are filed, nested classes, and names of classes."""
