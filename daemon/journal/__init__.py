"""Journal of what was filed and is being filed, an SQLite database."""
