"""Which files of the inboxes are ready to be filed."""
