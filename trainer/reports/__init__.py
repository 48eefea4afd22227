"""What people read: sentences, tables and pictures."""
