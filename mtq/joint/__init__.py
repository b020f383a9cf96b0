"""The forward pass of all tasks through one network."""
