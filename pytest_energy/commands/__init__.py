"""What the subcommands of `pytest-energy` do; each returns its exit code."""
