"""What people and other programs get to know of the service."""
