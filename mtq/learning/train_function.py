"""The function that `fit` calls for every `steps_per_execution` updates."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from mtq.checks import integer
from mtq.distribution.replicas import draws_on_host, first, per_replica
from mtq.environments.errors import environment_errors
from mtq.experience.batches import experiences_of
from mtq.learning.batch_checks import check_values

Logs = dict[str, tf.Tensor]
TrainFunction = Callable[[Any], Logs]


def make_train_function(
    model: keras.Model, batch_source: Any = None, jit_compile: bool = False, has_own_logs: bool = True
) -> TrainFunction:
    """Makes a train function in which drawing a batch and updating the weights strictly take turns.

    Experience reads the weights that the update writes. Keras's own loop over `steps_per_execution` leaves TensorFlow
    free to draw the next batch while the update is still being written; here it may not, so that the same seed gives
    the same bits however many steps one execution has.

    Args:
        model: A compiled model with a `train_step`.
        batch_source: If given, a `mtq.batch_source.BatchSource`: batches are drawn from it and not from the iterator.
        jit_compile: Whether XLA compiles the whole loop over a `batch_source`.
        has_own_logs: Whether the `train_step` returns other logs than the model's metrics. Those are read only once.

    Returns:
        `iterator` → logs of the last step.
    """
    if batch_source is None:
        return _loop_over_iterator(model)
    strategy = model.distribute_strategy
    if strategy.num_replicas_in_sync == 1 and not draws_on_host(strategy):
        return _loop_in_graph(model, batch_source, jit_compile, has_own_logs)
    return _loop_of_replicas(model, batch_source, has_own_logs)


def batch_source_of(dataset: Any, model: keras.Model) -> Any:
    """The `mtq.batch_source.BatchSource` that a dataset is made of, if the model can draw batches from it in its graph.

    Args:
        dataset: What `fit` was given.
        model: That is trained.
    """
    return getattr(dataset, "batch_source", None) if not model.run_eagerly else None


def check_experience(dataset: Any, model: keras.Model) -> list[Any]:
    """Raises a ValueError if the batches come from an experience that was made with another model, or are none.

    Args:
        dataset: The `x` of `fit`.
        model: The model that is trained.

    Returns:
        The experiences whose batches the dataset holds.
    """
    if dataset is None or hasattr(type(dataset), "env_steps"):  # an Experience itself
        received = "None" if dataset is None else f"an object of {type(dataset).__name__}"
        raise ValueError(
            f"x of fit must be a dataset of batches. Received: {received}. Pass Experience.dataset(batch_size), or a "
            "tf.data.Dataset or generator of {task: mtq.Transition}."
        )
    experiences = experiences_of(dataset)
    for experience in experiences:
        if experience.model is not model:
            raise ValueError(
                "The dataset must come from an Experience made with the model that is fitted, for it acts with its "
                f"model's weights. Received: one made with another model, '{experience.model.name}', whose weights "
                "this fit would not change. Make an mtq.Experience(tasks, model) with this model, also after "
                "load_model."
            )
    return experiences


def _loop_in_graph(model: keras.Model, batch_source: Any, jit_compile: bool, has_own_logs: bool) -> TrainFunction:
    """Acting, storing, sampling and learning in one loop, which touches Python only where an environment lives there.

    Both halves of a step are traced into one graph, whose automatic control dependencies keep them in turn.
    """
    learn = tf.function(model.train_step, autograph=False, jit_compile=_compiles_update(model) or None)
    return _train_function(model, batch_source, lambda: learn(batch_source.next_batch()), jit_compile, has_own_logs)


def _loop_of_replicas(model: keras.Model, batch_source: Any, has_own_logs: bool) -> TrainFunction:
    """The same with several replicas: each steps its environments and draws its rows, then all learn at once."""
    strategy = model.distribute_strategy

    def learn() -> Logs:
        if draws_on_host(strategy):
            batch = per_replica(strategy, batch_source.next_batches())
            return first(strategy, strategy.run(model.train_step, args=(batch,)))
        return first(strategy, strategy.run(lambda: model.train_step(batch_source.next_batch())))

    return _train_function(model, batch_source, learn, jit_compile=False, has_own_logs=has_own_logs)


def _train_function(
    model: keras.Model, batch_source: Any, learn: Callable[[], Logs], jit_compile: bool, has_own_logs: bool
) -> TrainFunction:
    @tf.function(autograph=False)
    def step() -> Logs:
        logs = learn()
        return logs if has_own_logs else {}

    @tf.function(autograph=False, jit_compile=jit_compile or None)
    def steps() -> Logs:
        specs = step.get_concrete_function().structured_outputs
        _, logs = tf.while_loop(
            lambda done, _: done < model.steps_per_execution,
            lambda done, _: (done + 1, step()),
            [tf.constant(0), {name: _zeros(name, spec) for name, spec in specs.items()}],
            parallel_iterations=1,
        )
        return logs if has_own_logs else model.get_metrics_result()

    def train_function(_: Any) -> Logs:
        _prepare(model)
        batch_source.prepare()
        logs = steps()
        batch_source.check()
        return logs

    return train_function


def _prepare(model: keras.Model) -> None:
    """Prepares the model for the first update of a `fit`, after the callbacks' `on_train_begin`."""
    if not getattr(model, "is_in_step", True):
        model.prepare_update()


def _compiles_update(model: keras.Model) -> bool:
    return bool(getattr(model, "compiles_update", model.jit_compile))


def _zeros(name: str, spec: tf.TensorSpec) -> tf.Tensor:
    if not spec.shape.is_fully_defined():
        raise ValueError(f"The log '{name}' of train_step must have a fixed shape. Received: {spec.shape}.")
    return tf.zeros(spec.shape, spec.dtype)


def _loop_over_iterator(model: keras.Model) -> TrainFunction:
    """The loop over batches of any dataset, Keras's own but for the turns."""
    strategy = model.distribute_strategy

    def step(batch: Any) -> Logs:
        return first(strategy, strategy.run(model.train_step, args=(batch,)))

    if not model.run_eagerly:
        step = tf.function(step, autograph=False, jit_compile=_compiles_update(model))

    def is_good(batch: Any) -> list[tf.Tensor]:
        """Checks a batch of a user's own dataset, outside the step, in which XLA would drop the assertion."""
        if not hasattr(model, "tasks") or draws_on_host(strategy):
            return []
        replicas = max(len(strategy.experimental_local_results(leaf)) for leaf in keras.tree.flatten(batch))
        local = lambda n, leaf: [*strategy.experimental_local_results(leaf)][n]  # noqa: E731
        parts = [keras.tree.map_structure(functools.partial(local, n), batch) for n in range(replicas)]
        return [check_values(part, model.tasks) for part in parts]

    check_eagerly = is_good if model.run_eagerly else tf.function(is_good, autograph=False)

    def one_by_one(iterator: Iterator[Any]) -> Logs:
        logs: Logs = {}
        for batch in itertools.islice(iterator, model.steps_per_execution):
            check_eagerly(batch)
            logs = step(batch)
        if not logs:
            raise StopIteration
        return logs

    def checked_step(batch: Any) -> Logs:
        with tf.control_dependencies(is_good(batch)):
            return step(batch)

    @tf.function(autograph=False)
    def steps(iterator: tf.data.Iterator) -> Logs:
        logs = checked_step(iterator.get_next())

        def another(done: tf.Tensor, logs: Logs) -> tuple[tf.Tensor, Logs]:
            with tf.control_dependencies([done, *tf.nest.flatten(logs)]):
                batch = iterator.get_next()
            return done + 1, checked_step(batch)

        if model.steps_per_execution > 1:
            _, logs = tf.while_loop(
                lambda done, _: done < model.steps_per_execution, another, [tf.constant(1), logs], parallel_iterations=1
            )
        return logs

    def train_function(iterator: Any) -> Logs:
        is_first = not getattr(model, "is_in_step", True)
        _prepare(model)
        in_graph = isinstance(iterator, tf.data.Iterator | tf.distribute.DistributedIterator) and not model.run_eagerly
        try:
            with environment_errors():
                logs = steps(iterator) if in_graph else one_by_one(iterator)
        except (StopIteration, tf.errors.OutOfRangeError) as end:
            if not is_first:
                raise  # Keras ends the epoch, and warns if it should have been longer
            raise ValueError(
                f"The dataset must hold at least {model.steps_per_execution} batches, those of one execution. "
                "Received: one that ended before. Use repeat(), or a new iterator for each fit."
            ) from end
        for experience in getattr(model, "experiences", ()):
            experience.check_schedules()
        return logs

    return train_function


def check_steps(dataset: Any, settings: Mapping[str, Any], steps_per_execution: int) -> dict[str, Any]:
    """Raises a ValueError unless an epoch has an end, and a whole number of executions.

    Args:
        dataset: What `fit` was given.
        settings: The other arguments of `fit`, by name.
        steps_per_execution: What `compile` was given.

    Returns:
        The arguments `epochs`, `steps_per_epoch` and `initial_epoch`, where given, as integers.
    """
    least = {"epochs": 1, "steps_per_epoch": 1, "initial_epoch": 0}
    given = {name: settings[name] for name in least if name in settings}
    if given.get("steps_per_epoch", 0) is None:
        del given["steps_per_epoch"]
    integers = {name: integer(f"{name} of fit", value, least[name]) for name, value in given.items()}
    if integers.get("initial_epoch", 0) > integers.get("epochs", 1):
        raise ValueError(
            f"initial_epoch of fit must be at most epochs = {integers.get('epochs', 1)}, which counts the epochs "
            f"before this fit too. Received: {integers['initial_epoch']}. Pass epochs=initial_epoch + n."
        )
    steps_per_epoch = integers.get("steps_per_epoch")
    is_endless = hasattr(dataset, "batch_source") or (
        isinstance(dataset, tf.data.Dataset) and dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    )
    if steps_per_epoch is None and is_endless:
        raise ValueError(
            "steps_per_epoch must say how many updates an epoch has, for the dataset has no end. Received: None. "
            "Pass fit steps_per_epoch=1_000, for example."
        )
    if steps_per_epoch is not None and steps_per_epoch % steps_per_execution:
        raise ValueError(
            f"steps_per_epoch must be a multiple of compile's steps_per_execution = {steps_per_execution}, for only "
            f"whole executions are run. Received: {steps_per_epoch}. Change one of them."
        )
    return integers


def steps_per_execution(updates_per_epoch: int, most: int = 50) -> int:
    """How many updates one execution may have so that an epoch is a whole number of them.

    Args:
        updates_per_epoch: `steps_per_epoch` of `fit`.
        most: More are not wanted, as callbacks run only between executions.
    """
    return max(number for number in range(1, most + 1) if updates_per_epoch % number == 0)
