"""Programs that measure mtq and its peers. Each prints a table, and one JSON object as its last line."""
