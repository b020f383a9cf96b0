"""The precision of a network's variables."""

import keras


def check_dtypes(network: keras.Model) -> None:
    """Refuses variables that are trained in another precision than gradients, targets and replay are kept in.

    Args:
        network: A model that is to be trained.

    Raises:
        ValueError: A trainable variable is not float32.
    """
    for variable in network.trainable_variables:
        if variable.dtype != "float32":
            raise ValueError(
                "network must have trainable variables of float32, which gradients are combined in. "
                f"Received: {variable.path!r} of {variable.dtype}. Build it under the dtype policy 'float32', "
                "'mixed_float16' or 'mixed_bfloat16', whose variables are float32."
            )
