"""What was filed, and what is being filed, in a database of SQLite."""
