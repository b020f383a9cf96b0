"""What is measured: one system per file, each doing the same `Work` in a process of its own."""
