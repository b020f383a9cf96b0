"""Files and folders that are complete or absent, what mtq may delete, and what a file may name."""
