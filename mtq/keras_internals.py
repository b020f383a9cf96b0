"""All uses of private names of Keras, TensorFlow and Gymnasium.

`tests/keras_internals_test.py` has a test for each name, which fails if the name is removed or behaves differently. It
passes with the versions that `setup.cfg` allows, which `make test-versions` checks.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.models.functional import Functional
from keras.src.saving import saving_lib, serialization_lib
from keras.src.saving.keras_saveable import KerasSaveable
from tensorflow.python.eager import context

# The names of the modules to which the objects of Keras 2 belong.
TF_KERAS_MODULES = ("tf_keras", "tensorflow.python.keras", "tensorflow.keras")
# The attribute of the module `tensorflow` that says whether `tf.keras` is Keras 2.
USES_LEGACY_KERAS = "_tf_uses_legacy_keras"
# The attributes of an initializer or a layer that hold the seed in use and the one that the constructor was given.
SEED_ATTRIBUTES = ("seed", "_init_seed")
_GLOBAL_SEED_GENERATOR = "global_seed_generator"  # the key in Keras's global state
_lock = threading.Lock()


class LayerCall(NamedTuple):
    """One call of a layer in the graph of a functional model.

    Attributes:
        layer: The layer or operation.
        args: The arguments, among them `keras.KerasTensor`s.
        kwargs: The keyword arguments, among them `keras.KerasTensor`s.
        outputs: The tensors that the call returns, flattened.
    """

    layer: keras.layers.Layer
    args: Any
    kwargs: Any
    outputs: tuple[keras.KerasTensor, ...]

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        """The tensors among the arguments, in the order of `keras.tree.flatten`."""
        return [leaf for leaf in keras.tree.flatten((self.args, self.kwargs)) if isinstance(leaf, keras.KerasTensor)]

    def with_inputs(self, values: Sequence[Any]) -> tuple[Any, Any]:
        """Returns the arguments and keyword arguments with other values in place of the tensors.

        Args:
            values: The values, one for each of `inputs`.
        """
        remaining = iter(values)
        fill = lambda leaf: next(remaining) if isinstance(leaf, keras.KerasTensor) else leaf  # noqa: E731
        args = keras.tree.map_structure(fill, self.args)
        return args, keras.tree.map_structure(fill, self.kwargs)


def calls_of(model: keras.Model) -> list[LayerCall]:
    """Returns the layer calls of a functional model, each after the calls whose outputs it needs.

    Args:
        model: A functional model.
    """
    by_depth = model._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]
    return [
        LayerCall(node.operation, node.arguments.args, node.arguments.kwargs, tuple(node.outputs)) for node in nodes
    ]


def output_shapes(layer: keras.layers.Layer) -> list[tuple[int | None, ...]]:
    """Returns the shape of the first output of each symbolic call of a layer. A call within another layer is not one.

    Args:
        layer: A Keras layer.
    """
    return [tuple(node.outputs[0].shape) for node in layer._inbound_nodes]


def is_functional(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer is a functional model, possibly of a subclass."""
    return isinstance(layer, Functional)


def is_plain_functional(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer is a functional model whose `call` is not overridden."""
    return getattr(type(layer), "call", None) is Functional.call


def flatten_layers(layer: keras.layers.Layer, include_self: bool = True) -> list[Any]:
    """Returns a layer and all layers inside it, at any depth, outer layers first.

    Args:
        layer: A Keras layer or model.
        include_self: Whether to include the layer itself.
    """
    return list(layer._flatten_layers(include_self=include_self))


def direct_layers(layer: keras.layers.Layer) -> list[Any]:
    """Returns the layers directly inside a layer, without those inside them.

    Args:
        layer: A Keras layer or model.
    """
    return list(layer._flatten_layers(include_self=False, recursive=False))


def supports_jit(layer: keras.layers.Layer) -> bool:
    """Returns whether XLA can compile a layer and all layers inside it.

    Args:
        layer: A Keras layer or model.
    """
    return all(inner.supports_jit for inner in flatten_layers(layer))


def own_trainable_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Returns a layer's own trainable variables, frozen or not, without those of the layers inside it.

    Args:
        layer: A Keras layer or model.
    """
    return list(layer._trainable_variables)


def own_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Returns a layer's own variables, trainable ones first, without those of the layers inside it.

    Args:
        layer: A Keras layer or model.
    """
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def own_metrics(layer: keras.layers.Layer) -> list[keras.metrics.Metric]:
    """Returns a layer's own metrics, without those of the layers inside it.

    Args:
        layer: A Keras layer or model.
    """
    return list(layer._metrics)


def unlock(layer: keras.layers.Layer) -> None:
    """Allows variables to be added to a layer, which Keras forbids after the layer is built or quantized.

    Args:
        layer: A Keras layer or model.
    """
    layer._tracker.unlock()


class BuiltModel(keras.Model):
    """A model that its constructor builds, so that the trainer does not have to build it from a first batch.

    Within a `tf.distribute` strategy, Keras takes a first batch even if the model is built. That batch is lost, and
    taking it fails with several processes.
    """

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Does nothing, because the model is built."""


class Saveable(KerasSaveable):
    """An object with variables that Keras saves and loads with the model of which it is an attribute.

    A subclass defines `save_own_variables(store)` and `load_own_variables(store)`.
    """

    def _obj_type(self) -> str:
        return "Loss"  # the type of object of which Keras expects the fewest attributes


def load_state(layer: keras.layers.Layer, store: Any, path: str) -> None:
    """Loads a layer and all layers inside it from a path in a file of weights.

    Args:
        layer: A Keras layer or model.
        store: The store that Keras passes to `load_own_variables`.
        path: The path in the file, such as `"layers/functional"`.

    Raises:
        ValueError: The file has other layers there.
    """
    errors: dict[int, tuple[Any, Exception]] = {}
    saving_lib._load_state(layer, store, None, path, visited_saveables=set(), failed_saveables=set(), error_msgs=errors)
    for _, error in errors.values():
        raise error


def has_path(store: Any, path: str) -> bool:
    """Returns whether a path exists in a file of weights.

    Args:
        store: The store that Keras passes to `load_own_variables`. A store that is not a file has no paths.
        path: The path in the file.
    """
    return path in getattr(store, "h5_file", ())


@contextlib.contextmanager
def unsafe_deserialization() -> Iterator[None]:
    """A context manager that allows configs with Python code, for configs that were not read from a file."""
    with serialization_lib.SafeModeScope(False):
        yield


def has_default_seed(value: Any) -> bool:
    """Returns whether a value is an initializer that was created without a seed, and so drew its `seed` itself."""
    return isinstance(value, keras.initializers.Initializer) and vars(value).get("_init_seed", 0) is None


@contextlib.contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """A context manager that sets the seed of Keras's global generator, which is used where no seed is given.

    Afterwards, the generator continues from its earlier state.

    Args:
        seed: The seed.
    """
    before = global_state.get_global_attribute(_GLOBAL_SEED_GENERATOR)
    global_state.set_global_attribute(_GLOBAL_SEED_GENERATOR, keras.random.SeedGenerator(seed))
    try:
        yield
    finally:
        global_state.set_global_attribute(_GLOBAL_SEED_GENERATOR, before)


def batches_since_saving(checkpoint: keras.callbacks.ModelCheckpoint) -> int:
    """Returns how many batches a `ModelCheckpoint(save_freq=n)` has counted since it last saved.

    Args:
        checkpoint: The callback.
    """
    return int(checkpoint._batches_seen_since_last_saving)


def strategy_of(optimizer: keras.optimizers.Optimizer, default: tf.distribute.Strategy) -> tf.distribute.Strategy:
    """Returns the `tf.distribute` strategy in whose scope an optimizer was created.

    Args:
        optimizer: A Keras optimizer.
        default: The strategy to return if the optimizer has none.
    """
    return getattr(optimizer, "_distribution_strategy", default)


def optimizer_keys(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]
) -> tuple[set[Any], set[Any]]:
    """Returns the keys by which an optimizer identifies variables.

    Args:
        optimizer: A Keras optimizer that is built.
        variables: Some variables of a network.

    Returns:
        The keys of these variables, and the keys of the variables for which the optimizer was built.
    """
    return {optimizer._var_key(variable) for variable in variables}, set(optimizer._trainable_variables_indices)


def apply_outside_of_replicas(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]
) -> None:
    """Calls `optimizer.apply` in the cross-replica context, which Keras would otherwise try to enter from a replica.

    Args:
        optimizer: A Keras optimizer.
        gradients: The gradients.
        variables: The variables, which are updated on every replica.

    Raises:
        RuntimeError: This version of Keras updates variables in another way.
    """

    def call_at_once(function: Any, strategy: tf.distribute.Strategy, *args: Any, **kwargs: Any) -> Any:
        return function(strategy, *args, **kwargs)

    with _replaced(tf.__internal__.distribute.interim, "maybe_merge_call", call_at_once, _applies_as_keras(optimizer)):
        optimizer.apply(gradients, variables)


def apply_without_sum(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]
) -> None:
    """Calls `optimizer.apply` in a replica, without summing the gradients over the replicas.

    Args:
        optimizer: A Keras optimizer.
        gradients: The gradients, the same on every replica.
        variables: The variables, which are updated on every replica.

    Raises:
        RuntimeError: This version of Keras sums gradients in another way.
    """
    # With gradient accumulation, eager steps do not all call it.
    is_called = not (optimizer.gradient_accumulation_steps and tf.executing_eagerly())
    is_called = is_called and _applies_as_keras(optimizer)
    with _replaced(optimizer, "_all_reduce_sum_gradients", lambda pairs: pairs, is_called):
        optimizer.apply(gradients, variables)


def _applies_as_keras(optimizer: keras.optimizers.Optimizer) -> bool:
    return type(optimizer).apply is keras.optimizers.Optimizer.apply


class _Switch:
    """A wrapper of a function that calls a replacement in those threads that have set one."""

    def __init__(self, original: Callable[..., Any], is_inherited: bool) -> None:
        self.original, self.is_inherited = original, is_inherited
        self.num_users = 0
        self.local = threading.local()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        replacement = getattr(self.local, "replacement", None)
        if replacement is None:
            return self.original(*args, **kwargs)
        self.local.calls += 1
        return replacement(*args, **kwargs)


@contextlib.contextmanager
def _replaced(owner: Any, name: str, replacement: Callable[..., Any], is_called: bool) -> Iterator[None]:
    """A context manager that replaces a function for this thread, and for no other.

    Args:
        owner: The object or module of which the function is an attribute.
        name: The name of the attribute.
        replacement: The function to call instead.
        is_called: Whether the function must be called within the context.

    Raises:
        RuntimeError: The function does not exist, or was not called although it must be.
    """
    switch = _install(owner, name)
    switch.local.replacement, switch.local.calls = replacement, 0
    try:
        yield
        if is_called and not switch.local.calls:
            raise RuntimeError(_changed(name, "is not called by Optimizer.apply"))
    finally:
        switch.local.replacement = None
        _uninstall(owner, name, switch)


def _install(owner: Any, name: str) -> _Switch:
    with _lock:
        function = getattr(owner, name, None)
        if not callable(function):
            raise RuntimeError(_changed(name, "does not exist"))
        switch = function if isinstance(function, _Switch) else _Switch(function, name not in vars(owner))
        switch.num_users += 1
        setattr(owner, name, switch)
    return switch


def _uninstall(owner: Any, name: str, switch: _Switch) -> None:
    with _lock:
        switch.num_users -= 1
        if switch.num_users:
            return
        if switch.is_inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, switch.original)


def _changed(name: str, problem: str) -> str:
    return (
        f"Keras optimizers must update variables by {name}. Received: Keras {keras.__version__} with TensorFlow "
        f"{tf.__version__}, in which it {problem}. Install versions of both that mtq's setup.cfg allows."
    )


def operations_are_watched() -> bool:
    """Returns whether every operation is passed to a callback, as after `tf.debugging.enable_check_numerics`."""
    return bool(context.context().op_callbacks)


def configure_coordination(
    sizes: Mapping[str, int], *, register_seconds: int, heartbeat_seconds: int, shutdown_seconds: int
) -> None:
    """Sets the timeouts of TensorFlow's coordination service. Call this before TensorFlow is initialized.

    Args:
        sizes: The number of processes of each job, such as `{"chief": 1, "worker": 3}`. The first process of the first
            job is the leader.
        register_seconds: The time within which all processes must start, in seconds.
        heartbeat_seconds: The time without a sign of life after which a process counts as lost, in seconds.
        shutdown_seconds: The time that a process waits at its end for all others to end, in seconds.
    """
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{next(iter(sizes))}/replica:0/task:0",
        cluster_register_timeout_in_ms=1_000 * register_seconds,
        heartbeat_timeout_in_ms=1_000 * heartbeat_seconds,
        shutdown_barrier_timeout_in_ms=1_000 * shutdown_seconds,
    )
    service = context.context().coordination_service
    for name, number in sizes.items():
        service.coordinated_job_list.add(name=name, num_tasks=number)
    # Otherwise the leader registers at once, and then waits for an hour for the devices of the other processes.
    service.cluster_register_with_barrier = True


def time_limit(wrapper: Any) -> int:
    """Returns the number of steps after which a `gymnasium.wrappers.TimeLimit` ends an episode.

    Its public `spec` is a copy, which does not change when the limit is changed later.

    Args:
        wrapper: The wrapper.
    """
    return wrapper._max_episode_steps
