"""A check, on a random batch, that layers compute with their own variables and with values substituted for these."""

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
_MISFIT = "is incompatible with the layer"  # part of Keras's error about the shape of an input


def check_layers(paths: TaskPaths, tasks: TaskSet) -> None:
    """Checks that no layer keeps state outside its Keras variables.

    The target network and each task's gradient of a shared layer are computed by calling layers with other values
    substituted for their variables. A layer that bypasses Keras would keep using its own values. The check calls each
    layer twice with new values, once assigned and once substituted, and compares the outputs. It also refuses layers
    that read trainable variables of other layers, such as a function that closes over a layer: the gradients with
    respect to these variables would lack what the layer computes from them.

    Args:
        paths: The tasks' paths through the network.
        tasks: The tasks, whose specs determine the batch.

    Raises:
        ValueError: A layer keeps state outside its Keras variables or reads variables of others, or the network cannot
            be called on the tasks' observations in inference mode.
    """
    for path in paths.values():
        for layer in flatten_layers(path):
            _check_no_raw_variables(layer)

    def call_layer(layer: keras.Operation, args: Any, kwargs: Any, training: bool) -> Any:
        call = lambda: call_on_rows(layer, args, kwargs, training)  # noqa: E731
        # The scope discards what the layer assigns; the tape records which trainable variables it reads.
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
            "The network must compute action values from its tasks' observations in inference mode. Received: one that "
            f"fails with: {_sentence_about_misfit(misfits[0])}. Replace layers whose output shape in inference mode "
            "differs from that in training mode, such as keras.layers.RandomCrop, which crops only in training."
        ) from misfits[0]


def probe_batch(tasks: TaskSet, draw: Callable[[Any], np.ndarray]) -> dict[str, tf.Tensor]:
    """Creates a batch of observations of all tasks.

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

    The scope keeps the new weights and discards everything else that the layers assign.
    """
    batch = probe_batch(tasks, np.zeros)
    for name, path in paths.items():
        if all(layer.built for layer in flatten_layers(path)):
            continue
        with contextlib.suppress(Exception), keras.StatelessScope():  # the probe itself reports failures
            path(batch[name], training=False)


class _RefusedError(Exception):
    """Raised to stop the probe at a layer that is refused."""


def _check_layer(layer: keras.Operation, call: Callable[[], Any]) -> None:
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
    for assigned, substituted in zip(expected, received, strict=True):
        if not np.allclose(assigned, substituted, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise _RefusedError(_message(layer))


def _check_reads(layer: keras.Operation, variables: Sequence[tf.Variable]) -> None:
    own = {id(part) for variable in getattr(layer, "variables", []) for part in _components(variable.value)}
    others = [part.name for variable in variables for part in _components(variable) if id(part) not in own]
    if others:
        raise _RefusedError(
            "Every layer of the network must have the weights that it computes with as its own. Received: layer "
            f"'{layer.name}' ({type(layer).__name__}), which reads '{others[0]}' of another layer or object; it would "
            "neither be trained through this layer nor be replaced in the target network. Make the layer or variable "
            "that it reads an attribute of it; rewrite a function or Lambda as a class of layer."
        )


def _components(variable: Any) -> Sequence[Any]:
    """A variable, or the variables of all replicas if it is distributed."""
    return getattr(variable, "values", None) or [variable]


def _sentence_about_misfit(error: Exception) -> str:
    line = next(line for line in message_of(error).splitlines() if _MISFIT in line)
    return line.strip().removesuffix(".")


def _numbers(outputs: Any) -> Sequence[np.ndarray]:
    leaves = [leaf.joined if isinstance(leaf, Rows) else leaf for leaf in keras.tree.flatten(outputs)]
    return [np.asarray(tf.cast(leaf, tf.float32)) for leaf in leaves if tf.as_dtype(leaf.dtype) != tf.string]


def _message(layer: keras.Operation) -> str:
    return (
        "All layers of the network must compute with the values that Keras substitutes for their variables, because "
        f"the target network is the same layers with other values. Received: layer '{layer.name}' "
        f"({type(layer).__name__}), which keeps using its own values. Do not wrap it in a tf.function (fit compiles "
        "the whole step), and read its variables as self.<variable>, created by add_weight; rewrite a SavedModel or a "
        "model of another library as Keras layers."
    )


def _check_no_raw_variables(layer: keras.Operation) -> None:
    if type(layer).__module__.startswith("keras."):
        return
    tracked = {id(variable.value) for variable in layer.variables}
    for name, value in vars(layer).items():
        leaves = keras.tree.flatten(value) if isinstance(value, list | tuple | Mapping) else [value]
        for leaf in leaves:
            raw = [leaf] if isinstance(leaf, tf.Variable) else _raw_variables_of(leaf)
            if any(id(variable) not in tracked for variable in raw):
                raise ValueError(
                    "All state of a layer must be in Keras variables, which are trained, saved, and copied to the "
                    f"target network. Received: layer '{layer.name}' ({type(layer).__name__}), whose attribute "
                    f"'{name}' holds a tf.Variable. Create it with self.add_weight(...)."
                )


def _raw_variables_of(leaf: Any) -> Sequence[tf.Variable]:
    is_module = isinstance(leaf, tf.Module) and not isinstance(leaf, keras.layers.Layer)
    return list(leaf.variables) if is_module else []
