"""Which checkpoint serves, and taking over the next one."""
