"""Numerics without I/O: distributions, noise, sequential tests, steadiness, change points."""
