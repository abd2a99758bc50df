"""History: one immutable record a session, read back as series."""
