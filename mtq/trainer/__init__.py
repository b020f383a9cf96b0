"""The features of Keras's trainer and callbacks: each works as in Keras, or is refused with an error."""
