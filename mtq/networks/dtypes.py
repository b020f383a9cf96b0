"""A check of the precision of a network's variables."""

import keras


def check_dtypes(network: keras.Model) -> None:
    """Checks that trainable variables have the precision of gradients, targets and replay, float32.

    Args:
        network: The network to be trained.

    Raises:
        ValueError: A trainable variable is not float32.
    """
    for variable in network.trainable_variables:
        if variable.dtype != "float32":
            raise ValueError(
                "network must have trainable variables of float32, the dtype in which gradients are combined. "
                f"Received: {variable.path!r} of {variable.dtype}. Build it under the dtype policy 'float32', "
                "'mixed_float16' or 'mixed_bfloat16', whose variables are float32."
            )
