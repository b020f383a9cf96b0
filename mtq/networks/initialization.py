"""Initialization of a network's weights from one seed, independent of other random draws in the process."""

import contextlib
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq.keras_internals import flatten_layers, global_seed, has_default_seed, own_trainable_variables

_KEPT = "weights_kept"  # the attribute of a network that holds the ids of the variables that existed before it


def initialize(network: keras.Model, seed: int) -> None:
    """Draws new weights for a built network with the initializers of its layers.

    Variables that existed before `shared_q_network` built the network keep their values.

    Args:
        network: The network, a model of Keras layers.
        seed: The seed of the weights. The same seed gives bitwise the same weights.
    """
    done = set(getattr(network, _KEPT, ()))
    layers = _layers(network)
    for layer, sequence in zip(layers, np.random.SeedSequence(seed).spawn(len(layers)), strict=True):
        variables = own_trainable_variables(layer)
        for variable, draw in zip(variables, sequence.generate_state(len(variables)), strict=True):
            initializer = _initializer_of(layer, variable)
            if initializer is None or id(variable) in done:
                continue
            done.add(id(variable))
            variable.assign(_drawn(layer, variable, _with_seed(initializer, int(draw))))


def undrawable(network: keras.Model) -> list[str]:
    """Lists the weights that `initialize` does not draw because their layers do not reveal their initializers.

    Args:
        network: The network, which is built.

    Returns:
        The paths of the weights.
    """
    kept = set(getattr(network, _KEPT, ()))
    pairs = [(layer, variable) for layer in _layers(network) for variable in own_trainable_variables(layer)]
    covered = kept | {id(variable) for layer, variable in pairs if _initializer_of(layer, variable) is not None}
    return [variable.path for _, variable in pairs if id(variable) not in covered]


def keep_weights(network: keras.Model, variables: Collection[int]) -> None:
    """Excludes some variables of a network from `initialize`.

    Args:
        network: The network.
        variables: The ids of the variables whose values are kept.
    """
    setattr(network, _KEPT, frozenset(variables))


@contextlib.contextmanager
def creations() -> Iterator[Callable[[keras.Variable], bool]]:
    """A context manager that records the variables created within it.

    Yields:
        A function that says whether a variable was created within the context.
    """
    made: dict[int, Any] = {}

    def note(next_creator: Callable[..., Any], **kwargs: Any) -> Any:
        variable = next_creator(**kwargs)
        made[id(variable)] = variable
        return variable

    with tf.variable_creator_scope(note):
        yield lambda variable: id(variable.value) in made


@contextlib.contextmanager
def seeded_build(layers: Sequence[Any], seed: int | None) -> Iterator[None]:
    """A context manager in which a seed determines the random numbers that layers draw while they are built.

    On exit the global generators of Python, NumPy and Keras are restored to their previous states.

    Args:
        layers: The layers that may be built within the context; items that are not Keras layers are ignored.
        seed: The seed, or None to change nothing.
    """
    if seed is None:
        yield
        return
    words = np.random.SeedSequence(seed).generate_state(3)
    initializers = [
        value
        for layer in layers
        if isinstance(layer, keras.layers.Layer)
        for inner in flatten_layers(layer)
        for value in vars(inner).values()
        if has_default_seed(value)
    ]
    of_initializers = [initializer.seed for initializer in initializers]
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        for place, initializer in enumerate(initializers):
            initializer.seed = int(np.random.SeedSequence([seed, place]).generate_state(1)[0])
        random.seed(int(words[0]))
        np.random.seed(int(words[1]))
        with global_seed(int(words[2])):
            yield
    finally:
        for initializer, value in zip(initializers, of_initializers, strict=True):
            initializer.seed = value
        random.setstate(of_python)
        np.random.set_state(of_numpy)


def _initializer_of(layer: keras.layers.Layer, variable: keras.Variable) -> Any:
    """The initializer with which a layer draws a variable, or None if the layer does not reveal it."""
    names = [f"{variable.name}_initializer", f"{variable.name.removesuffix('_kernel')}_initializer"]
    if isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D) and variable.name == "kernel":
        names = ["depthwise_initializer"]
    if variable.name == "reverse_embeddings":
        names = ["embeddings_initializer"]
    if isinstance(layer, keras.layers.RMSNormalization) and variable.name == "scale":
        return keras.initializers.Ones()
    found = [getattr(layer, name) for name in names if callable(getattr(layer, name, None))]
    initializer = found[0] if found else None
    if isinstance(layer, keras.layers.EinsumDense) and isinstance(initializer, keras.initializers.VarianceScaling):
        return _on_axes(layer, initializer)
    return initializer


def _on_axes(layer: keras.layers.EinsumDense, initializer: Any) -> Any:
    """The initializer with its fan-in and fan-out counted on the axes of the layer's equation."""
    is_known = getattr(initializer, "input_axes", None) is not None and initializer.output_axes is not None
    if is_known or not hasattr(initializer, "input_axes"):  # Keras before 3.14 does not count on axes
        return initializer
    kernel, outputs = layer.equation.partition(",")[2].split("->")
    output_axes = [axis for axis, label in enumerate(kernel) if label in outputs]
    axes = {"input_axes": [axis for axis in range(len(kernel)) if axis not in output_axes], "output_axes": output_axes}
    return type(initializer).from_config({**initializer.get_config(), "seed": initializer.seed, **axes})


def _with_seed(initializer: Any, seed: int) -> Any:
    config = initializer.get_config() if hasattr(initializer, "get_config") else {}
    return initializer.__class__.from_config({**config, "seed": seed}) if "seed" in config else initializer


def _drawn(layer: keras.layers.Layer, variable: keras.Variable, initializer: Any) -> Any:
    if variable.name == "bias" and getattr(layer, "unit_forget_bias", False):
        parts = initializer(variable.shape, dtype=variable.dtype), keras.ops.ones(variable.shape, variable.dtype)
        size = variable.shape[0] // 4  # input, forget, cell, output
        is_forget = (np.arange(variable.shape[0]) // size) == 1
        return tf.where(is_forget, parts[1], parts[0])
    return initializer(variable.shape, dtype=variable.dtype)


def _layers(network: keras.Model) -> list[keras.layers.Layer]:
    return [
        layer
        for layer in flatten_layers(network)
        if not isinstance(layer, keras.Model) and own_trainable_variables(layer)
    ]
