"""How the runs of a study are made, and what is kept of them."""
