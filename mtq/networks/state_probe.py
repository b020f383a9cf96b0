"""A check that layers use the values that Keras substitutes for their variables, made on a random batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq.networks.joint import JointNetwork, call_on_rows
from mtq.networks.paths import TaskPaths
from mtq.networks.rows import Rows
from mtq.tasks import TaskSet

_ROWS = 4


def check_layers(paths: TaskPaths, tasks: TaskSet) -> None:
    """Raises a ValueError that names a layer which keeps state outside its Keras variables.

    The target network and each task's gradient of a shared layer are computed by calling layers with other values
    substituted for their variables. A layer that bypasses Keras would keep using its own values. Every layer is called
    with new values twice, once assigned and once substituted, and must return the same both times.

    Args:
        paths: The tasks' paths through the network.
        tasks: The tasks, whose specs determine the batch.
    """
    for path in paths.values():
        for layer in path._flatten_layers():
            _check_no_raw_variables(layer)

    def call_layer(layer: Any, args: Any, kwargs: Any, training: bool) -> Any:
        call = lambda: call_on_rows(layer, args, kwargs, training)  # noqa: E731
        with keras.StatelessScope(initialize_variables=False):  # discards what the layer assigns
            outputs = call()
        _check_layer(layer, call)
        return outputs

    joint = JointNetwork(paths)
    for draw in (np.random.default_rng(0).random, np.zeros):
        try:
            joint(probe_batch(tasks, draw), call_layer=call_layer)
        except _RefusedError as refused:
            raise ValueError(str(refused)) from refused.__cause__
        except Exception:
            continue
        return


def probe_batch(tasks: TaskSet, draw: Callable[[Any], np.ndarray]) -> dict[str, tf.Tensor]:
    """Makes a batch of observations of all tasks.

    Args:
        tasks: The tasks.
        draw: A function that returns numbers from 0 to 1, given a shape.

    Returns:
        The observations, `{task: [4, …]}`.
    """
    batch = {}
    for name, task in tasks.items():
        spec = task.spec
        numbers = draw((_ROWS, *spec.observation_shape)) * (spec.observation_high or 1.0)
        batch[name] = tf.constant(np.asarray(numbers).astype(spec.observation_dtype))
    return batch


class _RefusedError(Exception):
    """Stops the probe at a layer that is refused."""


def _check_layer(layer: Any, call: Callable[[], Any]) -> None:
    variables = [v for v in getattr(layer, "variables", []) if keras.backend.is_float_dtype(v.dtype)]
    if not variables:
        return
    values = [np.array(variable) for variable in variables]
    others = [(value * 1.25 + 0.01).astype(value.dtype) for value in values]
    try:
        for variable, other in zip(variables, others, strict=True):
            variable.assign(other)
        with keras.StatelessScope(initialize_variables=False):
            expected = _numbers(call())
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    mapping = [(v, tf.convert_to_tensor(other)) for v, other in zip(variables, others, strict=True)]
    try:
        with keras.StatelessScope(state_mapping=mapping, initialize_variables=False):
            received = _numbers(call())
    except Exception as error:
        raise _RefusedError(_message(layer)) from error
    for one, other in zip(expected, received, strict=True):
        if not np.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise _RefusedError(_message(layer))


def _numbers(outputs: Any) -> Sequence[np.ndarray]:
    leaves = [leaf.joined if isinstance(leaf, Rows) else leaf for leaf in keras.tree.flatten(outputs)]
    return [np.asarray(tf.cast(leaf, tf.float32)) for leaf in leaves if tf.as_dtype(leaf.dtype) != tf.string]


def _message(layer: Any) -> str:
    return (
        "All layers of the network must compute with the values that Keras gives them for their variables, for the "
        f"target network is the same layers with other values. Received: layer '{layer.name}' "
        f"({type(layer).__name__}), which goes on with its own. Call it without a tf.function of its own (fit compiles "
        "the whole step), and read its variables as self.<variable>, made by add_weight; of a SavedModel or a model of "
        "another library make Keras layers."
    )


def _check_no_raw_variables(layer: Any) -> None:
    if type(layer).__module__.startswith("keras."):
        return
    known = {id(variable.value) for variable in layer.variables}
    for name, value in vars(layer).items():
        leaves = keras.tree.flatten(value) if isinstance(value, list | tuple | Mapping) else [value]
        for leaf in leaves:
            raw = [leaf] if isinstance(leaf, tf.Variable) else _raw_variables_of(leaf)
            if any(id(variable) not in known for variable in raw):
                raise ValueError(
                    "All state of a layer must be in Keras variables, which are trained, saved, and copied to the "
                    f"target network. Received: layer '{layer.name}' ({type(layer).__name__}), whose attribute "
                    f"'{name}' holds a tf.Variable. Make it by self.add_weight(...)."
                )


def _raw_variables_of(leaf: Any) -> Sequence[tf.Variable]:
    is_module = isinstance(leaf, tf.Module) and not isinstance(leaf, keras.layers.Layer)
    return list(leaf.variables) if is_module else []
