"""The making of a study's runs, and the files that store them."""
