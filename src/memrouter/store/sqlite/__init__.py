"""The embedded store: one SQLite file a vault, and one for the directory."""
