"""Programs that measure mtq beside its peers; each prints a table, and one JSON object as its last line."""
