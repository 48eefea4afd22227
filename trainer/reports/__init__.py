"""Reports for people: sentences, tables and charts."""
