"""A check that layers use their own variables, and the values that Keras substitutes for them, on a random batch."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq.checks import message_of
from mtq.joint.network import JointNetwork, call_on_rows
from mtq.joint.rows import Rows
from mtq.keras_internals import flatten_layers
from mtq.networks.paths import TaskPaths
from mtq.tasks.task import TaskSet

_ROWS = 4
_MISFIT = "is incompatible with the layer"  # in the error by which Keras refuses an input's shape


def check_layers(paths: TaskPaths, tasks: TaskSet) -> None:
    """Raises a ValueError that names a layer which keeps state outside its Keras variables.

    The target network and each task's gradient of a shared layer are computed by calling layers with other values
    substituted for their variables. A layer that bypasses Keras would keep using its own values. Every layer is called
    with new values twice, once assigned and once substituted, and must return the same both times. Also refused are
    layers that read trainable variables which they do not have themselves, such as a function that closes over another
    layer: those would not be trained by what the layer makes of them.

    Args:
        paths: The tasks' paths through the network.
        tasks: The tasks, whose specs determine the batch.
    """
    for path in paths.values():
        for layer in flatten_layers(path):
            _check_no_raw_variables(layer)

    def call_layer(layer: Any, args: Any, kwargs: Any, training: bool) -> Any:
        call = lambda: call_on_rows(layer, args, kwargs, training)  # noqa: E731
        # The scope discards what the layer assigns, and the tape notes which trainable variables it reads.
        with tf.GradientTape() as tape, keras.StatelessScope(initialize_variables=False):
            outputs = call()
        _check_reads(layer, tape.watched_variables())
        _check_layer(layer, call)
        return outputs

    _build_layers(paths, tasks)
    joint, misfits = JointNetwork(paths), []
    for draw in (np.random.default_rng(0).random, np.zeros):
        try:
            joint(probe_batch(tasks, draw), call_layer=call_layer)
        except _RefusedError as refused:
            raise ValueError(str(refused)) from refused.__cause__
        except Exception as error:
            misfits += [error] if _MISFIT in str(error) else []
            continue
        return
    if misfits:
        raise ValueError(
            "The network must compute action values of its tasks' observations in inference mode. Received: one that "
            f"fails with: {_sentence_about_misfit(misfits[0])}. Some layers return other shapes in inference than in "
            "training, such as keras.layers.RandomCrop, which then does not crop. Use others."
        ) from misfits[0]


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


def _build_layers(paths: TaskPaths, tasks: TaskSet) -> None:
    """Builds layers that are not built yet, such as a `PReLU()` given as an activation, by calling their paths once.

    The scope keeps the new weights, and discards whatever else the layers assign.
    """
    batch = probe_batch(tasks, np.zeros)
    for name, path in paths.items():
        if all(layer.built for layer in flatten_layers(path)):
            continue
        with contextlib.suppress(Exception), keras.StatelessScope():  # the probe reports what fails
            path(batch[name], training=False)


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


def _check_reads(layer: Any, variables: Sequence[tf.Variable]) -> None:
    own = {id(one) for variable in getattr(layer, "variables", []) for one in _components(variable.value)}
    others = [one.name for variable in variables for one in _components(variable) if id(one) not in own]
    if others:
        raise _RefusedError(
            "Every layer of the network must have the weights that it computes with, or they would not be trained by "
            f"it, nor be those of the target network. Received: layer '{layer.name}' ({type(layer).__name__}), which "
            f"reads '{others[0]}' of elsewhere. Make the layer or variable that it reads an attribute of it: of a "
            "function or Lambda make a class of layer."
        )


def _components(variable: Any) -> Sequence[Any]:
    """A variable, or the variables of all replicas that it consists of."""
    return getattr(variable, "values", None) or [variable]


def _sentence_about_misfit(error: Exception) -> str:
    line = next(line for line in message_of(error).splitlines() if _MISFIT in line)
    return line.strip().removesuffix(".")


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
