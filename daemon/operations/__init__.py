"""What people ask of filed images, the same beside a running daemon and without one."""
