"""The private names of Keras, TensorFlow and Gymnasium that mtq relies on, all in this module.

`tests/keras_internals_test.py` has a test for each, which fails if the name vanishes or behaves otherwise. The versions
that are allowed (`setup.cfg`) are those that it passes with: `make test-versions`.
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

# The modules of `tf.keras` where it is Keras 2.
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
        args: Its arguments, with `keras.KerasTensor`s among them.
        kwargs: Its keyword arguments.
        outputs: The tensors that it returns, flat.
    """

    layer: Any
    args: Any
    kwargs: Any
    outputs: tuple[keras.KerasTensor, ...]

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        """The tensors among the arguments, in the order of `keras.tree.flatten`."""
        return [leaf for leaf in keras.tree.flatten((self.args, self.kwargs)) if isinstance(leaf, keras.KerasTensor)]

    def with_inputs(self, values: Sequence[Any]) -> tuple[Any, Any]:
        """The arguments and keyword arguments with other values in the places of the tensors.

        Args:
            values: A value for each of `inputs`.
        """
        remaining = iter(values)
        fill = lambda leaf: next(remaining) if isinstance(leaf, keras.KerasTensor) else leaf  # noqa: E731
        args = keras.tree.map_structure(fill, self.args)
        return args, keras.tree.map_structure(fill, self.kwargs)


def calls_of(model: keras.Model) -> list[LayerCall]:
    """The calls of a functional model, each after those whose outputs it needs.

    Args:
        model: A functional model.
    """
    by_depth = model._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]
    return [
        LayerCall(node.operation, node.arguments.args, node.arguments.kwargs, tuple(node.outputs)) for node in nodes
    ]


def output_shapes(layer: Any) -> list[tuple[int | None, ...]]:
    """The shape of the first output of each symbolic call of a layer; none where only another layer calls it.

    Args:
        layer: A Keras layer.
    """
    return [tuple(node.outputs[0].shape) for node in layer._inbound_nodes]


def is_functional(layer: Any) -> bool:
    """Whether a layer is a functional model, possibly of a subclass."""
    return isinstance(layer, Functional)


def is_plain_functional(layer: Any) -> bool:
    """Whether a layer is a functional model that is computed call by call: one whose `call` is not overridden."""
    return getattr(type(layer), "call", None) is Functional.call


def flatten_layers(layer: Any, include_self: bool = True) -> list[Any]:
    """A layer and all layers inside it, at any depth, from the outside inwards.

    Args:
        layer: A Keras layer or model.
        include_self: Whether the layer itself is one of them.
    """
    return list(layer._flatten_layers(include_self=include_self))


def direct_layers(layer: Any) -> list[Any]:
    """The layers that a layer holds itself, without those inside them.

    Args:
        layer: A Keras layer or model.
    """
    return list(layer._flatten_layers(include_self=False, recursive=False))


def supports_jit(layer: Any) -> bool:
    """Whether XLA can compile a layer and all layers inside it.

    Args:
        layer: A Keras layer or model.
    """
    return all(inner.supports_jit for inner in flatten_layers(layer))


def own_trainable_variables(layer: Any) -> list[keras.Variable]:
    """The variables that a layer made to be trained, frozen or not, without those of layers inside it.

    Args:
        layer: A Keras layer or model.
    """
    return list(layer._trainable_variables)


def own_variables(layer: Any) -> list[keras.Variable]:
    """All variables that a layer made, those to be trained first, without those of layers inside it.

    Args:
        layer: A Keras layer or model.
    """
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def own_metrics(layer: Any) -> list[keras.metrics.Metric]:
    """The metrics that are attributes of a layer, without those of layers inside it.

    Args:
        layer: A Keras layer or model.
    """
    return list(layer._metrics)


def unlock(layer: Any) -> None:
    """Lets a layer be given further variables, which Keras forbids once a layer is built or quantized.

    Args:
        layer: A Keras layer or model.
    """
    layer._tracker.unlock()


class BuiltModel(keras.Model):
    """A model that is built by its constructor, so that the trainer does not have to build it with a first batch.

    Within a `tf.distribute` strategy Keras looks for a first batch even if the model is built. That batch is then lost,
    and with several processes it fails.
    """

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Does nothing."""


class Saveable(KerasSaveable):
    """An object with variables that Keras saves and loads with the model of which it is an attribute.

    A subclass defines `save_own_variables(store)` and `load_own_variables(store)`.
    """

    def _obj_type(self) -> str:
        return "Loss"  # the kind of object of which Keras expects the fewest attributes


def load_state(layer: Any, store: Any, path: str) -> None:
    """Loads a layer, and all layers inside it, from some place in a file of weights.

    Args:
        layer: A Keras layer or model.
        store: The store that Keras passes `load_own_variables`.
        path: The place in the file, such as `"layers/functional"`.

    Raises:
        ValueError: The file has other layers there.
    """
    errors: dict[int, tuple[Any, Exception]] = {}
    saving_lib._load_state(layer, store, None, path, visited_saveables=set(), failed_saveables=set(), error_msgs=errors)
    for _, error in errors.values():
        raise error


def has_path(store: Any, path: str) -> bool:
    """Whether a file of weights has a place of this name.

    Args:
        store: The store that Keras passes `load_own_variables`. One that is not a file has no places.
        path: The place in the file.
    """
    return path in getattr(store, "h5_file", ())


@contextlib.contextmanager
def unsafe_deserialization() -> Iterator[None]:
    """A context manager in which objects with Python code are made from their configs, for configs of no file."""
    with serialization_lib.SafeModeScope(False):
        yield


def has_default_seed(value: Any) -> bool:
    """Whether something is an initializer that was given no seed, and has drawn its `seed` itself."""
    return isinstance(value, keras.initializers.Initializer) and vars(value).get("_init_seed", 0) is None


@contextlib.contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """A context manager in which the random numbers that Keras draws without a seed follow from this one.

    Afterwards Keras's global generator continues where it was.

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
    """How many batches a `ModelCheckpoint(save_freq=n)` has counted since it last saved.

    Args:
        checkpoint: The callback.
    """
    return int(checkpoint._batches_seen_since_last_saving)


def strategy_of(optimizer: Any, default: tf.distribute.Strategy) -> tf.distribute.Strategy:
    """The `tf.distribute` strategy in whose scope an optimizer was made.

    Args:
        optimizer: A Keras optimizer.
        default: The strategy that is returned for an object without one.
    """
    return getattr(optimizer, "_distribution_strategy", default)


def optimizer_keys(optimizer: Any, variables: Sequence[keras.Variable]) -> tuple[set[Any], set[Any]]:
    """The keys by which an optimizer tells variables apart.

    Args:
        optimizer: A Keras optimizer that is built.
        variables: Variables of a network.

    Returns:
        The keys of these variables, and those of the variables that the optimizer was built for.
    """
    return {optimizer._var_key(variable) for variable in variables}, set(optimizer._trainable_variables_indices)


def apply_outside_of_replicas(
    optimizer: Any, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]
) -> None:
    """`optimizer.apply` in the cross-replica context, which Keras would otherwise try to enter from a replica.

    Args:
        optimizer: A Keras optimizer.
        gradients: The gradients.
        variables: The variables, which are changed on every replica.

    Raises:
        RuntimeError: Keras updates variables in another way than it did.
    """

    def call_at_once(function: Any, strategy: tf.distribute.Strategy, *args: Any, **kwargs: Any) -> Any:
        return function(strategy, *args, **kwargs)

    with _replaced(tf.__internal__.distribute.interim, "maybe_merge_call", call_at_once, _applies_as_keras(optimizer)):
        optimizer.apply(gradients, variables)


def apply_without_sum(optimizer: Any, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]) -> None:
    """`optimizer.apply` in a replica, without the sum of the gradients over the replicas.

    Args:
        optimizer: A Keras optimizer.
        gradients: The gradients, the same on every replica.
        variables: The variables, which are changed on every replica.

    Raises:
        RuntimeError: Keras sums gradients in another way than it did.
    """
    is_called = not (optimizer.gradient_accumulation_steps and tf.executing_eagerly())  # then not at every step
    is_called = is_called and _applies_as_keras(optimizer)
    with _replaced(optimizer, "_all_reduce_sum_gradients", lambda pairs: pairs, is_called):
        optimizer.apply(gradients, variables)


def _applies_as_keras(optimizer: Any) -> bool:
    return type(optimizer).apply is keras.optimizers.Optimizer.apply


class _Switch:
    """A function in the place of another, which it calls except in the threads that ask for a replacement."""

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
    """A context manager in which this thread, and no other, calls another function in the place of one.

    Args:
        owner: The object or module of which the function is an attribute.
        name: The name of the attribute.
        replacement: The function to call instead.
        is_called: Whether the function must be called within the context.

    Raises:
        RuntimeError: There is no such function, or it was not called.
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
        found = getattr(owner, name, None)
        if not callable(found):
            raise RuntimeError(_changed(name, "does not exist"))
        switch = found if isinstance(found, _Switch) else _Switch(found, name not in vars(owner))
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


def _changed(name: str, what: str) -> str:
    return (
        f"Optimizers of Keras must update variables by {name}. Received: Keras {keras.__version__} with TensorFlow "
        f"{tf.__version__}, in which it {what}. Install versions of both that mtq's setup.cfg allows."
    )


def operations_are_watched() -> bool:
    """Whether every operation is passed to a callback, as by `tf.debugging.enable_check_numerics`."""
    return bool(context.context().op_callbacks)


def configure_coordination(
    sizes: Mapping[str, int], *, register_seconds: int, heartbeat_seconds: int, shutdown_seconds: int
) -> None:
    """Sets how long the processes of a run wait for each other. To be called before TensorFlow is initialized.

    Args:
        sizes: The number of processes of each job, `{"chief": 1, "worker": 3}`. The first of the first job leads.
        register_seconds: How long they wait until all have started.
        heartbeat_seconds: How long a process may be silent before it counts as lost.
        shutdown_seconds: How long they wait until all have ended.
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
    # Otherwise the leader registers at once, and then waits an hour for the devices of the others.
    service.cluster_register_with_barrier = True


def time_limit(wrapper: Any) -> int:
    """The number of steps after which a `gymnasium.wrappers.TimeLimit` ends an episode.

    Its public `spec` is a copy, which does not change if the limit is changed later.

    Args:
        wrapper: The wrapper.
    """
    return wrapper._max_episode_steps
