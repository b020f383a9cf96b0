"""A network of several tasks computed at once: what they share sees the rows of all of them together."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from mtq.joint.row_wise import is_convolution, is_row_wise
from mtq.joint.rows import Rows, gathered
from mtq.keras_internals import flatten_layers, is_plain_functional, nodes_of
from mtq.networks.paths import TaskPaths

LayerCall: TypeAlias = Callable[[Any, Any, Any, bool], Any]
"""`layer, args, kwargs, training` → outputs, with `Rows` in the place of every tensor."""


class _Call(NamedTuple):
    """One layer called for several tasks together, or for one alone."""

    tasks: tuple[int, ...]
    nodes: tuple[Any, ...]  # of Keras's graph, one per task


class JointNetwork:
    """Computes `{task: observation}` → `{task: q_values}`, where it pays with one call of a shared layer for all tasks.

    From the first convolution on, layers that treat every row for itself are called on the rows of all tasks that come
    to them in one shape, joined along the batch. Others, such as batch normalization, are called for each task alone,
    as `TaskPaths` does. Batches of the tasks may differ in size.

    Args:
        paths: The tasks' own paths through the network.
    """

    def __init__(self, paths: TaskPaths) -> None:
        self._names = tuple(paths)
        self._inputs = [paths[name].inputs[0] for name in paths]
        self._outputs = [id(paths[name].outputs[0]) for name in paths]
        self._calls = _schedule([paths[name] for name in paths])

    def __call__(
        self, observations: Mapping[str, Any], training: bool = False, call_layer: LayerCall | None = None
    ) -> dict[str, tf.Tensor]:
        """Action values of all tasks.

        Args:
            observations: `{task: [B, …]}`.
            training: Whether layers are told that it is for training.
            call_layer: Calls every layer, in place of `call_on_rows`.

        Returns:
            `{task: q_values [B, num_actions]}`.
        """
        values: list[dict[int, tuple[Rows, int]]] = []
        for task, (tensor, name) in enumerate(zip(self._inputs, self._names, strict=True)):
            rows = Rows([task], [tf.convert_to_tensor(observations[name])])
            values.append({id(tensor): (_cast(rows, tensor.dtype), 0)})
        for tasks, nodes in self._calls:
            inputs = iter(
                [
                    gathered(
                        [values[task][id(node.input_tensors[place])] for task, node in zip(tasks, nodes, strict=True)]
                    )
                    for place in range(len(nodes[0].input_tensors))
                ]
            )
            fill = lambda argument: next(inputs) if _is_tensor(argument) else argument  # noqa: B023, E731
            args, kwargs = nodes[0].arguments.convert(fill)
            outputs = _call(nodes[0].operation, args, kwargs, training, call_layer or call_on_rows)
            for position, rows in enumerate(keras.tree.flatten(outputs)):
                for slot, (task, node) in enumerate(zip(tasks, nodes, strict=True)):
                    values[task][id(node.outputs[position])] = (rows, slot)
        found = [values[task][key] for task, key in enumerate(self._outputs)]
        return {name: rows.parts[slot] for name, (rows, slot) in zip(self._names, found, strict=True)}


def call_on_rows(layer: Any, args: Any, kwargs: Any, training: bool) -> Any:
    """Calls a layer on the rows of all tasks together, or one after the other if it does not treat rows singly.

    Args:
        layer: A Keras layer or operation.
        args: With `Rows` in the place of tensors.
        kwargs: Likewise.
        training: Whether it is for training.

    Returns:
        The outputs, `Rows` in the place of tensors.
    """
    rows = first_rows(args, kwargs)
    if isinstance(layer, keras.layers.Layer):
        kwargs = {**kwargs, "training": training}  # layers inside of it learn of it even if it does not ask
    if len(rows.tasks) == 1 or (is_row_wise(layer, rows.pieces[0].shape.rank) and pays_to_join(layer, rows)):
        return keras.tree.map_structure(rows.like, _call_on(layer, args, kwargs, lambda leaf: leaf.joined))
    by_task = [_call_on(layer, args, kwargs, _part(slot)) for slot in range(len(rows.tasks))]
    return keras.tree.map_structure(lambda *parts: Rows(rows.tasks, parts), *by_task)


def first_rows(args: Any, kwargs: Any) -> Rows:
    """The first tensor among a layer's arguments."""
    return next(leaf for leaf in keras.tree.flatten((args, kwargs)) if isinstance(leaf, Rows))


def _part(slot: int) -> Callable[[Rows], tf.Tensor]:
    return lambda rows: rows.parts[slot]


def _call_on(layer: Any, args: Any, kwargs: Any, pick: Callable[[Rows], tf.Tensor]) -> Any:
    args, kwargs = keras.tree.map_structure(lambda leaf: pick(leaf) if isinstance(leaf, Rows) else leaf, (args, kwargs))
    return layer(*args, **kwargs)


def pays_to_join(layer: Any, rows: Rows) -> bool:
    """Whether a layer is faster on the rows of all tasks together than on each task's.

    A convolution is, and what follows it finds the rows joined. Small dense layers are not: XLA does not share a
    product of a few hundred rows out over processors, but computes those of several tasks side by side.
    """
    return rows.is_joined or is_convolution(layer)


def _call(layer: Any, args: Any, kwargs: Any, training: bool, call_layer: LayerCall) -> Any:
    """Calls a layer, or in their order those that a model consists of."""
    is_by_name = any(isinstance(argument, Mapping) for argument in (*args, *kwargs.values()))
    if is_by_name or not _can_be_taken_apart(layer):
        return call_layer(layer, args, kwargs, training)
    if type(layer) is keras.Sequential:
        outputs: Any = first_rows(args, kwargs)
        for inner in layer.layers:
            outputs = _call(inner, (outputs,), {}, training, call_layer)
        return outputs
    given = [leaf for leaf in keras.tree.flatten((args, kwargs)) if isinstance(leaf, Rows)]
    inputs = [_cast(rows, tensor.dtype) for rows, tensor in zip(given, layer.inputs, strict=True)]
    values = dict(zip([id(tensor) for tensor in layer.inputs], inputs, strict=True))
    for node in _nodes(layer):
        args, kwargs = node.arguments.convert(lambda leaf: values[id(leaf)] if _is_tensor(leaf) else leaf)
        outputs = _call(node.operation, args, kwargs, training, call_layer)
        values.update(zip([id(tensor) for tensor in node.outputs], keras.tree.flatten(outputs), strict=True))
    return keras.tree.map_structure(lambda tensor: values[id(tensor)], layer.output)


def _can_be_taken_apart(layer: Any) -> bool:
    """Whether a model is no more than its layers: what is not recognized is called as a whole."""
    is_functional = is_plain_functional(layer)
    if type(layer) is not keras.Sequential and not is_functional:
        return False
    return not any(_makes_masks(inner) for inner in flatten_layers(layer))


def _makes_masks(layer: Any) -> bool:
    """Masks travel beside tensors, which `Rows` do not let through."""
    if type(layer).__module__.startswith("keras."):
        return isinstance(layer, keras.layers.Masking) or bool(getattr(layer, "mask_zero", False))
    return type(layer).compute_mask is not keras.layers.Layer.compute_mask


def _cast(rows: Rows, dtype: str) -> Rows:
    return rows if rows.pieces[0].dtype == dtype else rows.map(lambda piece: tf.cast(piece, dtype))


def _schedule(paths: Sequence[keras.Model]) -> list[_Call]:
    """In which order what is called. Layers of one task alone come first, so that those of several find them done."""
    waiting = [_nodes(path) for path in paths]
    done = [{id(tensor) for tensor in path.inputs} for path in paths]
    users: dict[int, set[int]] = {}
    for task, nodes in enumerate(waiting):
        for node in nodes:
            users.setdefault(id(node.operation), set()).add(task)
    calls = []
    while any(waiting):
        ready: dict[int, dict[int, Any]] = {}  # by operation and task
        for task, nodes in enumerate(waiting):
            for node in nodes:
                if all(id(tensor) in done[task] for tensor in node.input_tensors):
                    ready.setdefault(id(node.operation), {}).setdefault(task, node)
        operation = max(ready, key=lambda key: (len(users[key]) == 1, len(ready[key])))
        for tasks in _alike(ready[operation]):
            calls.append(_Call(tuple(tasks), tuple(ready[operation][task] for task in tasks)))
        for task, node in ready[operation].items():
            waiting[task] = [other for other in waiting[task] if other is not node]
            done[task].update(id(tensor) for tensor in node.outputs)
    return calls


def _alike(by_task: Mapping[int, Any]) -> list[list[int]]:
    """The tasks whose calls of one layer agree in all but the rows."""
    groups: dict[str, list[int]] = {}
    for task, node in by_task.items():
        groups.setdefault(repr(node.arguments.convert(_describe)), []).append(task)
    return list(groups.values())


def _describe(argument: Any) -> Any:
    """What must agree for two calls to be joined."""
    if _is_tensor(argument):
        return (argument.dtype, tuple(argument.shape[1:]))
    is_array = hasattr(argument, "__array__")
    return (argument.dtype, argument.shape, np.asarray(argument).tobytes()) if is_array else argument


def _nodes(model: keras.Model) -> list[Any]:
    """The calls of a functional model, each after those that it needs."""
    return nodes_of(model)


def _is_tensor(argument: Any) -> bool:
    return isinstance(argument, keras.KerasTensor)
