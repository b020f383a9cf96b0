"""The analysis of a study's runs: statistics, transfer and similarity."""
