"""What people type and read: commands, messages and their translation, names and numbers."""
