"""The joint forward pass of several tasks, in which a shared layer is called once on the rows of all tasks."""

import graphlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from mtq import keras_internals
from mtq.joint.normalization import is_normalization, normalization_outputs
from mtq.joint.row_wise import is_convolution, is_row_wise
from mtq.joint.rows import Rows, gathered
from mtq.keras_internals import LayerCall

CallLayer: TypeAlias = Callable[[Any, Any, Any, bool], Any]
"""A function `(layer, args, kwargs, training)` → outputs, with `Rows` in place of every tensor."""


class _JointCall(NamedTuple):
    """One call of a layer for several tasks together, or for one task alone.

    Attributes:
        tasks: The indices of the tasks.
        calls: The call of each of these tasks on its own path.
    """

    tasks: tuple[int, ...]
    calls: tuple[LayerCall, ...]


class JointNetwork:
    """Computes `{task: observation}` → `{task: outputs}`, calling shared layers once for all tasks if it is faster.

    From the first convolution on, layers that process each row independently are called on the rows of all tasks whose
    inputs have the same shape, joined along the batch. Other layers, such as batch normalization, are called separately
    for each task, as calls on the single paths would be. The tasks' batches may differ in size.

    Args:
        paths: The tasks' paths through the network, by task.
        outputs: The symbolic tensor of each task's path that is computed; by default the action values.
    """

    def __init__(
        self, paths: Mapping[str, keras.Model], outputs: Mapping[str, keras.KerasTensor] | None = None
    ) -> None:
        self._names = tuple(paths)
        self._inputs = [paths[name].inputs[0] for name in paths]
        computed = [paths[name].outputs[0] if outputs is None else outputs[name] for name in paths]
        self._outputs = [id(tensor) for tensor in computed]
        calls = [keras_internals.calls_of(paths[name]) for name in paths]
        self._calls = _joint_calls([_needed(*pair) for pair in zip(calls, self._outputs, strict=True)])

    def __call__(
        self, observations: Mapping[str, Any], training: bool = False, call_layer: CallLayer | None = None
    ) -> dict[str, tf.Tensor]:
        """Computes the outputs of all tasks.

        Args:
            observations: The observations, `{task: [B, …]}`.
            training: Whether layers are called in training mode.
            call_layer: The function that calls each layer; by default `call_on_rows`.

        Returns:
            The outputs, by default action values, `{task: [B, num_actions]}`.
        """
        values: list[dict[int, tuple[Rows, int]]] = []
        for task, (tensor, name) in enumerate(zip(self._inputs, self._names, strict=True)):
            rows = Rows([task], [tf.convert_to_tensor(observations[name])])
            values.append({id(tensor): (_cast(rows, tensor.dtype), 0)})
        for tasks, calls in self._calls:
            # The arguments of the first task's call, with the rows of all tasks in place of its tensors.
            inputs = [
                gathered([values[task][id(tensor)] for task, tensor in zip(tasks, tensors, strict=True)])
                for tensors in zip(*(call.inputs for call in calls), strict=True)
            ]
            args, kwargs = calls[0].with_inputs(inputs)
            layer_outputs = _call(calls[0].layer, args, kwargs, training, call_layer or call_on_rows)
            for position, rows in enumerate(keras.tree.flatten(layer_outputs)):
                for slot, (task, call) in enumerate(zip(tasks, calls, strict=True)):
                    values[task][id(call.outputs[position])] = (rows, slot)
        outputs = [values[task][key] for task, key in enumerate(self._outputs)]
        return {name: rows.parts[slot] for name, (rows, slot) in zip(self._names, outputs, strict=True)}


def call_on_rows(layer: keras.Operation, args: Any, kwargs: Any, training: bool) -> Any:
    """Calls a layer on the rows of all tasks together if that is possible and faster, else task by task.

    Args:
        layer: A Keras layer or operation.
        args: The arguments, with `Rows` in place of tensors.
        kwargs: The keyword arguments, with `Rows` in place of tensors.
        training: Whether the layer is called in training mode.

    Returns:
        The outputs, with `Rows` in place of tensors.
    """
    rows = first_rows(args, kwargs)
    if is_normalization(layer, rows.pieces[0].shape.rank):
        return rows.map(lambda x: normalization_outputs(layer, x))
    if isinstance(layer, keras.layers.Layer):
        kwargs = {**kwargs, "training": training}  # passed on to inner layers even if this layer does not use it
    if len(rows.tasks) == 1 or (is_row_wise(layer, rows.pieces[0].shape.rank) and pays_to_join(layer, rows)):
        return keras.tree.map_structure(rows.like, _call_on(layer, args, kwargs, lambda leaf: leaf.joined))
    by_task = [_call_on(layer, args, kwargs, _part(slot)) for slot in range(len(rows.tasks))]
    return keras.tree.map_structure(lambda *parts: Rows(rows.tasks, parts), *by_task)


def first_rows(args: Any, kwargs: Any) -> Rows:
    """Returns the first `Rows` among a layer's arguments."""
    return next(leaf for leaf in keras.tree.flatten((args, kwargs)) if isinstance(leaf, Rows))


def _part(slot: int) -> Callable[[Rows], tf.Tensor]:
    return lambda rows: rows.parts[slot]


def _call_on(layer: keras.Operation, args: Any, kwargs: Any, pick: Callable[[Rows], tf.Tensor]) -> Any:
    args, kwargs = keras.tree.map_structure(lambda leaf: pick(leaf) if isinstance(leaf, Rows) else leaf, (args, kwargs))
    return layer(*args, **kwargs)


def pays_to_join(layer: keras.Operation, rows: Rows) -> bool:
    """Returns whether a layer is faster on the rows of all tasks together than task by task.

    Convolutions are, and the rows of the layers after them are already joined. Small dense layers are not: XLA does not
    split a product of a few hundred rows over processors, but computes the products of several tasks in parallel.
    """
    return rows.is_joined or is_convolution(layer)


def _call(layer: keras.Operation, args: Any, kwargs: Any, training: bool, call_layer: CallLayer) -> Any:
    """Calls a layer. If it consists of layers alone, as many models do, calls these in their order instead."""
    has_named_inputs = any(isinstance(argument, Mapping) for argument in (*args, *kwargs.values()))
    if has_named_inputs or not _can_be_taken_apart(layer):
        return call_layer(layer, args, kwargs, training)
    if type(layer) is keras.Sequential:
        outputs: Any = first_rows(args, kwargs)
        for inner in layer.layers:
            outputs = _call(inner, (outputs,), {}, training, call_layer)
        return outputs
    if _calls_layers(layer):
        return layer.call_layers(
            first_rows(args, kwargs), lambda inner, inputs: _call(inner, (inputs,), {}, training, call_layer)
        )
    all_rows = [leaf for leaf in keras.tree.flatten((args, kwargs)) if isinstance(leaf, Rows)]
    inputs = [_cast(rows, tensor.dtype) for rows, tensor in zip(all_rows, layer.inputs, strict=True)]
    values = dict(zip([id(tensor) for tensor in layer.inputs], inputs, strict=True))
    for call in keras_internals.calls_of(layer):
        args, kwargs = call.with_inputs([values[id(tensor)] for tensor in call.inputs])
        outputs = _call(call.layer, args, kwargs, training, call_layer)
        values.update(zip([id(tensor) for tensor in call.outputs], keras.tree.flatten(outputs), strict=True))
    return keras.tree.map_structure(lambda tensor: values[id(tensor)], layer.output)


def _can_be_taken_apart(layer: keras.Operation) -> bool:
    """Returns whether calling a model's layers one by one computes the same as calling it. If unsure, returns False."""
    is_model = type(layer) is keras.Sequential or keras_internals.is_plain_functional(layer)
    if not is_model and not _calls_layers(layer):
        return False
    return not any(_makes_masks(inner) for inner in keras_internals.flatten_layers(layer))


def _calls_layers(layer: keras.Operation) -> bool:
    """Returns whether a layer says, by a method `call_layers`, how it calls the layers that it consists of."""
    return "call_layers" in vars(type(layer))  # a subclass may compute something else


def _makes_masks(layer: keras.Operation) -> bool:
    """Returns whether a layer creates a mask. Masks are attached to tensors, and `Rows` do not pass them on."""
    if type(layer).__module__.startswith("keras."):
        return isinstance(layer, keras.layers.Masking) or bool(getattr(layer, "mask_zero", False))
    return type(layer).compute_mask is not keras.layers.Layer.compute_mask


def _cast(rows: Rows, dtype: str) -> Rows:
    return rows if rows.pieces[0].dtype == dtype else rows.map(lambda piece: tf.cast(piece, dtype))


def _needed(calls: Sequence[LayerCall], output: int) -> list[LayerCall]:
    """Returns the calls on which the tensor with an id depends, in their order."""
    needed, found = {output}, []
    for call in reversed(calls):
        if any(id(tensor) in needed for tensor in call.outputs):
            needed.update(id(tensor) for tensor in call.inputs)
            found.append(call)
    return found[::-1]


def _joint_calls(paths: Sequence[Sequence[LayerCall]]) -> list[_JointCall]:
    """Returns the calls of all paths, with the calls of one layer grouped, each after the calls whose outputs it needs.

    The n-th calls of a layer on all paths are made together. If paths call layers in opposite orders, this is not
    possible, and every path is computed by itself.
    """
    try:
        return _in_order(paths, lambda task, layer, number: (layer, number))
    except graphlib.CycleError:
        return _in_order(paths, lambda task, layer, number: (task, layer, number))


def _in_order(
    paths: Sequence[Sequence[LayerCall]], key_of: Callable[[int, int, int], tuple[int, ...]]
) -> list[_JointCall]:
    together: dict[tuple[int, ...], dict[int, LayerCall]] = {}
    needs = graphlib.TopologicalSorter[tuple[int, ...]]()
    for task, calls in enumerate(paths):
        made_by: dict[int, tuple[int, ...]] = {}
        numbers: dict[int, int] = {}
        for call in calls:
            layer = id(call.layer)
            number = numbers[layer] = numbers.get(layer, -1) + 1
            key = key_of(task, layer, number)
            together.setdefault(key, {})[task] = call
            needs.add(key, *(made_by[id(tensor)] for tensor in call.inputs if id(tensor) in made_by))
            made_by.update((id(tensor), key) for tensor in call.outputs)
    return [joint for key in needs.static_order() for joint in _alike(together[key])]


def _alike(by_task: Mapping[int, LayerCall]) -> list[_JointCall]:
    """Groups the tasks' calls of one layer into joint calls, whose arguments differ in their rows only."""
    groups: dict[str, list[int]] = {}
    for task, call in by_task.items():
        groups.setdefault(repr(keras.tree.map_structure(_describe, (call.args, call.kwargs))), []).append(task)
    return [_JointCall(tuple(tasks), tuple(by_task[task] for task in tasks)) for tasks in groups.values()]


def _describe(argument: Any) -> Any:
    """Returns the properties of an argument that must be equal in two calls for them to be joined."""
    if isinstance(argument, keras.KerasTensor):
        return (argument.dtype, tuple(argument.shape[1:]))
    is_array = hasattr(argument, "__array__")
    return (argument.dtype, argument.shape, np.asarray(argument).tobytes()) if is_array else argument
