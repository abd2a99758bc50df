"""In-session A/B: base and head in a process each, metered in turn; docs/comparing.md says how."""
