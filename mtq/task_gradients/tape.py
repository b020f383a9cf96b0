"""One backward pass for all tasks that yields the gradient of each.

Each row of a batch affects the loss of one task only. The gradient of the sum of all losses with respect to a layer's
outputs therefore contains each task's gradient in that task's rows. For dense layers and convolutions, only the
products that turn these into weight gradients have to be computed task by task; for layer, RMS and group normalization,
only sums over rows. Other layers with shared weights are called separately for each task.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from mtq.joint.linear import call_with_im2col, im2col, is_linear, linear_outputs, supports_im2col
from mtq.joint.network import call_on_rows, first_rows, pays_to_join
from mtq.joint.normalization import is_normalization, normalized, scale_and_offset, scaled
from mtq.joint.row_wise import has_known_activation
from mtq.joint.rows import Rows
from mtq.networks.paths import TaskPaths
from mtq.task_gradients.gradients import TaskGradients
from mtq.task_gradients.linear_layers import bias_part, kernel_part
from mtq.task_gradients.normalization_layers import offset_part, scale_part
from mtq.task_gradients.variable_gradients import SeparateGradients, VariableGradients
from mtq.task_gradients.watched import WatchedValues, unscaled


class _Contribution(NamedTuple):
    """One use of a variable, which contributes to its gradients.

    Attributes:
        sources: The numbers of the tensors that are differentiated with respect to.
        make: The function that makes the variable's gradients of those with respect to the sources.
    """

    sources: Sequence[int]
    make: Callable[..., VariableGradients]

    def gradients(self, by_source: Sequence[tf.Tensor | None]) -> VariableGradients | None:
        """The gradients that this use contributes; None if no loss depends on it.

        Args:
            by_source: The gradients with respect to all sources.
        """
        pieces = [by_source[source] for source in self.sources]
        return None if all(piece is None for piece in pieces) else self.make(*pieces)


class TaskGradientTape:
    """A gradient tape that differentiates each task's loss with respect to the weights of a network.

    Within its context, pass the tape to `JointNetwork` as `call_layer`. It then calls the network's layers and records
    what it needs to compute the tasks' gradients.

    Args:
        variables: The network's trainable variables.
        paths: The tasks' paths through the network.
        use_im2col: Whether convolutions are computed by im2col, that is, written as matrix products of image patches.
            XLA makes faster code of these on a CPU.

    Example:
        >>> import tensorflow as tf
        >>> import mtq
        >>> from mtq.joint.network import JointNetwork
        >>> from mtq.networks.paths import TaskPaths
        >>> tasks = mtq.TaskSet([mtq.Task("a", "CartPole-v1"), mtq.Task("b", "CartPole-v1")])
        >>> network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]))
        >>> paths = TaskPaths(network, tasks)
        >>> with TaskGradientTape(network.trainable_variables, paths) as tape:
        ...     q_values = JointNetwork(paths)({name: tf.ones([4, 4]) for name in tasks}, call_layer=tape)
        ...     losses = [tf.reduce_mean(q_values[name] ** 2) for name in tasks]
        >>> tape.gradients(losses).norms().shape
        TensorShape([2])
    """

    def __init__(self, variables: Sequence[keras.Variable], paths: TaskPaths, use_im2col: bool = False) -> None:
        self._use_im2col, self._call = use_im2col, call_with_im2col if use_im2col else call_on_rows
        self._variables, self._touched_by = list(variables), paths.tasks_of(variables)
        self._place = {id(variable): place for place, variable in enumerate(self._variables)}
        self._tape = tf.GradientTape(watch_accessed_variables=False)
        self._sources: list[tf.Tensor] = []
        self._contributions: list[list[_Contribution]] = [[] for _ in self._variables]

    def __enter__(self) -> "TaskGradientTape":
        self._tape.__enter__()
        for variable, tasks in zip(self._variables, self._touched_by, strict=True):
            if len(tasks) == 1:
                self._tape.watch(variable.value)
                self._record(
                    variable, [self._source(variable.value)], lambda g, task=tasks[0]: SeparateGradients({task: g})
                )
        return self

    def __exit__(self, *exception: Any) -> None:
        self._tape.__exit__(*exception)

    def __call__(self, layer: keras.layers.Layer, args: Any, kwargs: Any, training: bool) -> Any:
        """Calls a layer and records what its gradients need; called by `JointNetwork`.

        Args:
            layer: The Keras layer or operation.
            args: The positional arguments, with `Rows` in place of tensors.
            kwargs: The keyword arguments, with `Rows` in place of tensors.
            training: Whether the layer is called in training mode.

        Returns:
            The outputs of the layer, with `Rows` in place of tensors.
        """
        shared = [v for v in getattr(layer, "trainable_variables", []) if self._is_shared(v)]
        if not shared:
            return self._call(layer, args, kwargs, training)
        if is_linear(layer):
            return self._linear(layer, first_rows(args, kwargs))
        if is_normalization(layer, first_rows(args, kwargs).pieces[0].shape.rank):
            return self._normalization(layer, first_rows(args, kwargs))
        return self._task_by_task(layer, shared, args, kwargs, training)

    def gradients(self, losses: Sequence[tf.Tensor], loss_scale: tf.Tensor | None = None) -> TaskGradients:
        """Differentiates the losses.

        Args:
            losses: The loss of each task, T scalars.
            loss_scale: The factor by which the losses are multiplied for differentiation, a float32 scalar; None for no
                scaling. The gradients that are returned are unscaled.

        Returns:
            The gradients of the T losses.
        """
        if loss_scale is None:
            by_source = self._tape.gradient(list(losses), self._sources)  # of their sum
        else:
            seeds = [tf.cast(loss_scale, loss.dtype) for loss in losses]
            scaled = self._tape.gradient(list(losses), self._sources, output_gradients=seeds)
            by_source = [None if gradient is None else unscaled(gradient, loss_scale) for gradient in scaled]
        parts: list[VariableGradients | None] = []
        for contributions in self._contributions:
            found = [contribution.gradients(by_source) for contribution in contributions]
            made = [gradients for gradients in found if gradients is not None]
            parts.append(_merged(made) if made else None)
        return TaskGradients.of_parts(parts, num_tasks=len(losses))

    def _linear(self, layer: keras.layers.Layer, inputs: Rows) -> Rows:
        inputs = inputs.map(lambda x: tf.cast(x, layer.compute_dtype), pays_to_join(layer, inputs))
        are_columns = self._use_im2col and supports_im2col(layer, inputs)
        if are_columns:
            inputs = inputs.map(lambda x: im2col(layer, x))
        outputs = inputs.map(lambda x: linear_outputs(layer, x, are_columns))
        self._tape.watch(outputs.pieces)
        sources = [self._source(piece) for piece in outputs.pieces]
        if self._is_shared(layer.kernel):
            self._record(layer.kernel, sources, lambda *g: kernel_part(layer, *_present(inputs, g), are_columns))
        if layer.use_bias and self._is_shared(layer.bias):
            self._record(layer.bias, sources, lambda *g: bias_part(_present(inputs, g)[1]))
        if layer.activation is None:
            return outputs
        return outputs.map(layer.activation, join=None if has_known_activation(layer) else False)

    def _normalization(self, layer: keras.layers.Layer, inputs: Rows) -> Rows:
        inputs = inputs.map(lambda x: normalized(layer, x))
        outputs = inputs.map(lambda x: scaled(layer, x))
        self._tape.watch(outputs.pieces)
        sources = [self._source(piece) for piece in outputs.pieces]
        scale, offset = scale_and_offset(layer)
        if scale is not None and self._is_shared(scale):
            self._record(scale, sources, lambda *g: scale_part(*_present(inputs, g), scale.shape))
        if offset is not None and self._is_shared(offset):
            self._record(offset, sources, lambda *g: offset_part(_present(inputs, g)[1], offset.shape))
        return outputs

    def _task_by_task(
        self, layer: keras.layers.Layer, shared: Sequence[Any], args: Any, kwargs: Any, training: bool
    ) -> Any:
        """Calls any layer separately for each task, with a copy of its weights for each."""
        rows = first_rows(args, kwargs)
        outputs = []
        for slot, task in enumerate(rows.tasks):
            only_task = lambda leaf, slot=slot: _only(leaf, slot)  # noqa: E731
            with WatchedValues(self._tape, shared) as scope:
                own_args, own_kwargs = keras.tree.map_structure(only_task, (args, kwargs))
                outputs.append(self._call(layer, own_args, own_kwargs, training))
            for place, value in scope.sources:
                self._record(shared[place], [self._source(value)], lambda g, task=task: SeparateGradients({task: g}))
            for variable in layer.variables:
                if scope.was_assigned(variable):
                    variable.assign(scope.get_current_value(variable))
        return keras.tree.map_structure(lambda *leaves: Rows(rows.tasks, [leaf.joined for leaf in leaves]), *outputs)

    def _is_shared(self, variable: Any) -> bool:
        place = self._place.get(id(variable))
        return place is not None and len(self._touched_by[place]) > 1

    def _source(self, tensor: tf.Tensor) -> int:
        self._sources.append(tensor)
        return len(self._sources) - 1

    def _record(self, variable: Any, sources: Sequence[int], make: Callable[..., VariableGradients]) -> None:
        self._contributions[self._place[id(variable)]].append(_Contribution(sources, make))


def _present(inputs: Rows, gradients: Sequence[tf.Tensor | None]) -> tuple[Rows, Rows]:
    """Returns the inputs and output gradients of a layer for those tasks whose losses depend on its outputs."""
    if inputs.is_joined:
        return inputs, inputs.like(gradients[0])
    slots = [slot for slot, gradient in enumerate(gradients) if gradient is not None]
    tasks = [inputs.tasks[slot] for slot in slots]
    return Rows(tasks, [inputs.parts[slot] for slot in slots]), Rows(tasks, [gradients[slot] for slot in slots])


def _only(leaf: Any, slot: int) -> Any:
    return Rows([leaf.tasks[slot]], [leaf.parts[slot]]) if isinstance(leaf, Rows) else leaf


def _merged(parts: Sequence[VariableGradients]) -> VariableGradients:
    """Sums the gradients of a variable that was used several times."""
    if len(parts) == 1:
        return parts[0]
    copies: dict[int, list[tf.Tensor]] = {}
    for part in parts:
        for task, copy in zip(part.tasks, part.copies(), strict=True):
            copies.setdefault(task, []).append(copy)
    return SeparateGradients({task: tf.add_n(copies[task]) for task in sorted(copies)})
