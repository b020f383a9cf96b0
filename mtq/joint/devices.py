"""The devices on which TensorFlow computes."""

import tensorflow as tf


def is_on_cpu() -> bool:
    """Whether TensorFlow computes on a CPU, that is, sees neither a GPU nor a TPU."""
    return not (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))
