"""A run's figures in the formats that other tools keep over time; one module a format."""
