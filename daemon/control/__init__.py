"""Control socket through which commands speak to a running daemon; the signals that it obeys."""
