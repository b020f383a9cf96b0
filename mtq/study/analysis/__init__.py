"""What may be said of a study's runs: statistics, transfer and similarity."""
