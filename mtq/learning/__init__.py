"""Learning: the model, its target network, and an update from batches to weights."""
