"""Running backbones: their graphs, the engines for these, and the features of crops."""
