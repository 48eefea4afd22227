"""Watch the inboxes, and decide which files are ready to be filed."""
