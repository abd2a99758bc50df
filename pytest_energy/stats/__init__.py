"""Numerics without I/O: distributions, noise, sequential tests, change points."""
