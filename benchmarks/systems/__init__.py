"""The systems that are measured, one per file; each does the same `Work` in its own process."""
