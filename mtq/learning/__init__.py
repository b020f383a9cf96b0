"""Learning: the model, its target network, and the update of the weights from a batch."""
