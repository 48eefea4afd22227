"""Faults put into real system calls: kills, errors and power cuts while images are being filed."""
