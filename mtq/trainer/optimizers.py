"""Checks of an optimizer and of the weights that it trains."""

from collections.abc import Sequence

import keras

from mtq.keras_internals import optimizer_keys
from mtq.trainer.loss_scale import is_dynamic


def check_trainable(variables: Sequence[keras.Variable]) -> None:
    """Raises a ValueError unless a network has trainable variables and all of them are trained by their gradients.

    Args:
        variables: The network's trainable variables.
    """
    if not variables:
        raise ValueError(
            "The network must have trainable weights. Received: a network whose layers are all frozen. Set "
            "layer.trainable = True for the layers to be trained, and call compile again."
        )
    for variable in variables:
        if getattr(variable, "overwrite_with_gradient", False):
            raise ValueError(
                f"Weight '{variable.path}' must be trained by its gradient. Received: a weight of a float8 layer, "
                "which its gradient overwrites; tasks' gradients cannot be combined for it. Use another dtype policy."
            )


def build_once(optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]) -> None:
    """Builds an optimizer; one that is already built keeps its state.

    Args:
        optimizer: A Keras optimizer.
        variables: The variables that it trains.

    Raises:
        ValueError: The optimizer was built for other variables.
    """
    inner = optimizer.inner_optimizer if is_dynamic(optimizer) else optimizer
    if not optimizer.built and not inner.built:
        optimizer.build(list(variables))
        return
    keys, built_keys = optimizer_keys(inner, variables)
    fits = keys == built_keys if inner.use_ema else keys <= built_keys
    if not optimizer.built or not fits:
        raise ValueError(
            "The optimizer must be new, or one that was built for the network's trainable weights. Received: "
            f"{type(inner).__name__} '{inner.name}', built for others. Create a new optimizer for this compile."
        )
