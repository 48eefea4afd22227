"""Learning from people's labels: what a run keeps for it, and the lessons."""
