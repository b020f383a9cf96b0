"""The features of Keras's own trainer and callbacks: each works as in Keras, or is refused by name."""
