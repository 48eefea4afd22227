"""Control socket through which commands speak to a running daemon."""
