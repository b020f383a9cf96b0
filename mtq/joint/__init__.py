"""All tasks through one network in one forward pass."""
