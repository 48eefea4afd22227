"""Ray: be connected to a cluster, and let workers on all its nodes do what has many equal parts."""
