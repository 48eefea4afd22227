"""Files and folders: durable writes, owners, the user's own folders, and what names say."""
