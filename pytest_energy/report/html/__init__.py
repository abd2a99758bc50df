"""The run as one page: tables and plots, with nothing to fetch."""
