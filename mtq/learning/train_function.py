"""The train function, which `fit` calls once for every `steps_per_execution` updates."""

import functools
import itertools
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from mtq.checks import integer
from mtq.distribution.replicas import draws_on_host, first, per_replica
from mtq.environments.errors import environment_errors
from mtq.experience.batches import Batches, check_model
from mtq.experience.sampler import Drawn
from mtq.learning.batch_checks import check_values
from mtq.learning.validation import check_are_batches, is_endless

Logs = dict[str, tf.Tensor]
TrainFunction = Callable[[Any], Logs]


class TrainFunctions:
    """The two latest train functions of a model, each for the batches of an experience or for datasets."""

    _MOST = 2  # each keeps the experience alive from which its function draws

    def __init__(self) -> None:
        self._functions: dict[Batches | None, TrainFunction] = {}

    def get(self, batches: Batches | None) -> TrainFunction | None:
        """Returns the function for the batches of an experience, or for datasets.

        Args:
            batches: The batches; None for the function for datasets.

        Returns:
            The function; None if none is stored.
        """
        return self._functions.get(batches)

    def keep(self, batches: Batches | None, function: TrainFunction | None) -> None:
        """Stores a function, and removes the oldest if there are too many.

        Args:
            batches: The batches; None for the function for datasets.
            function: The function; None to remove the stored one.
        """
        self._functions.pop(batches, None)
        if function is not None:
            self._functions[batches] = function
        while len(self._functions) > self._MOST:
            del self._functions[next(iter(self._functions))]

    def clear(self) -> None:
        """Removes all functions."""
        self._functions.clear()


def make_train_function(model: keras.Model, batches: Batches | None = None, has_own_logs: bool = True) -> TrainFunction:
    """Makes a train function in which drawing a batch and updating the weights strictly alternate.

    An experience reads the weights that the update writes. In Keras's own loop over `steps_per_execution`, TensorFlow
    may draw the next batch before the update is complete. Here it may not, so that the same seed gives the same bits
    for any number of steps per execution.

    Args:
        model: A compiled model with a `train_step`.
        batches: The batches of an experience, which the function draws itself; None if it reads them from an iterator.
        has_own_logs: Whether `train_step` returns logs other than the model's metrics. The metrics are read only once,
            after the last step.

    Returns:
        A function that takes an iterator and returns the logs of the last step.
    """
    if batches is None:
        return _loop_over_iterator(model)
    strategy = model.distribute_strategy
    if batches.needs_errors and (has_own_logs or draws_on_host(strategy)):
        raise ValueError(
            "A sampler that needs the errors of each update must be used with MultiTaskDQN's own train_step, and not "
            f"on a TPU. Received: {type(model).__name__} on {type(strategy).__name__}. Use another sampler."
        )
    if strategy.num_replicas_in_sync == 1 and not draws_on_host(strategy):
        # What a user's function does, and the check of what it returns, may be operations that XLA cannot compile.
        jit_compile = batches.experience.compilable and model.uses_xla and not batches.is_mapped
        return _loop_in_graph(model, batches, jit_compile, has_own_logs)
    return _loop_of_replicas(model, batches, has_own_logs)


def endless(strategy: tf.distribute.Strategy) -> Any:
    """Returns an endless dataset by which Keras counts the steps when the train function draws the batches itself.

    Args:
        strategy: The strategy of the model. Each replica has such a dataset.
    """
    zeros = lambda _: tf.data.Dataset.from_tensors(0).repeat()  # noqa: E731
    if strategy.num_replicas_in_sync == 1:
        return zeros(None)
    return strategy.distribute_datasets_from_function(zeros)


def check_batches(batches: Any, model: keras.Model) -> None:
    """Raises a ValueError if the `x` of `fit` is not batches, or comes from another model's experience.

    Args:
        batches: The `x` of `fit`.
        model: The model that is being trained.
    """
    check_are_batches(batches, "x of fit")
    if isinstance(batches, Batches):
        check_model(batches.experience, [model])


def _loop_in_graph(model: keras.Model, batches: Batches, jit_compile: bool, has_own_logs: bool) -> TrainFunction:
    """Makes one loop of acting, storing, sampling and learning, with host calls only for environments in Python.

    Both halves of a step are traced into one graph, in which automatic control dependencies make them alternate.
    """
    compiles = _compiles_update(model) or None
    if batches.needs_errors:
        learn = tf.function(model.learn, autograph=False, jit_compile=compiles)
        return _train_function(
            model, batches, lambda: _learn_and_tell(model, learn, batches), jit_compile, has_own_logs
        )
    train_step = tf.function(model.train_step, autograph=False, jit_compile=compiles)
    return _train_function(model, batches, lambda: train_step(_draw(model, batches).batch), jit_compile, has_own_logs)


def _draw(model: keras.Model, batches: Batches) -> Drawn:
    """Draws this replica's batch, and checks the values that a user's function returned."""
    drawn = batches.draw()
    if not batches.is_mapped:
        return drawn
    with tf.control_dependencies([check_values(drawn.batch, model.tasks)]):
        return drawn._replace(batch=tf.nest.map_structure(tf.identity, drawn.batch))


def _learn_and_tell(
    model: keras.Model, learn: Callable[[Any], tuple[Logs, dict[str, tf.Tensor]]], batches: Batches
) -> Logs:
    """Makes one update from a batch, and passes the samplers the errors of its rows."""
    drawn = _draw(model, batches)
    logs, errors = learn(drawn.batch)
    batches.update_samplers(drawn.selections, errors)
    return logs


def _loop_of_replicas(model: keras.Model, batches: Batches, has_own_logs: bool) -> TrainFunction:
    """Makes the loop for several replicas. Each steps its environments and draws its rows, then all update together."""
    strategy = model.distribute_strategy

    def learn() -> Logs:
        if draws_on_host(strategy):
            batch = per_replica(strategy, batches.next_batches())
            return first(strategy, strategy.run(model.train_step, args=(batch,)))
        if batches.needs_errors:
            return first(strategy, strategy.run(lambda: _learn_and_tell(model, model.learn, batches)))
        return first(strategy, strategy.run(lambda: model.train_step(_draw(model, batches).batch)))

    return _train_function(model, batches, learn, jit_compile=False, has_own_logs=has_own_logs)


def _train_function(
    model: keras.Model, batches: Batches, learn: Callable[[], Logs], jit_compile: bool, has_own_logs: bool
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
        batches.experience.prepare()
        logs = steps()
        batches.experience.check_recorded()
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
    """Makes the loop over the batches of any dataset: that of Keras, except that drawing and updating alternate."""
    strategy = model.distribute_strategy

    def step(batch: Any) -> Logs:
        return first(strategy, strategy.run(model.train_step, args=(batch,)))

    if not model.run_eagerly:
        step = tf.function(step, autograph=False, jit_compile=_compiles_update(model))

    def check(batch: Any) -> list[tf.Tensor]:
        """Checks a batch of a user's own dataset, outside the step, from which XLA would remove the assertion."""
        if not hasattr(model, "tasks") or draws_on_host(strategy):
            return []
        replicas = max(len(strategy.experimental_local_results(leaf)) for leaf in keras.tree.flatten(batch))
        local = lambda n, leaf: [*strategy.experimental_local_results(leaf)][n]  # noqa: E731
        parts = [keras.tree.map_structure(functools.partial(local, n), batch) for n in range(replicas)]
        return [check_values(part, model.tasks) for part in parts]

    check_alone = check if model.run_eagerly else tf.function(check, autograph=False)

    def one_by_one(iterator: Iterator[Any]) -> Logs:
        logs: Logs = {}
        for batch in itertools.islice(iterator, model.steps_per_execution):
            check_alone(batch)
            logs = step(batch)
        if not logs:
            raise StopIteration
        return logs

    def checked_step(batch: Any) -> Logs:
        with tf.control_dependencies(check(batch)):
            return step(batch)

    @tf.function(autograph=False)
    def steps(iterator: tf.data.Iterator) -> Logs:
        logs = checked_step(iterator.get_next())

        def next_step(done: tf.Tensor, logs: Logs) -> tuple[tf.Tensor, Logs]:
            with tf.control_dependencies([done, *tf.nest.flatten(logs)]):
                batch = iterator.get_next()
            return done + 1, checked_step(batch)

        if model.steps_per_execution > 1:
            _, logs = tf.while_loop(
                lambda done, _: done < model.steps_per_execution,
                next_step,
                [tf.constant(1), logs],
                parallel_iterations=1,
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
                "Received: one that ended earlier. Use repeat(), or a new iterator for each fit."
            ) from end
        return logs

    return train_function


def check_steps(dataset: Any, settings: Mapping[str, Any], steps_per_execution: int) -> dict[str, Any]:
    """Checks that an epoch is finite and a multiple of the updates per execution.

    Args:
        dataset: The `x` of `fit`.
        settings: The other arguments of `fit`, by name.
        steps_per_execution: The number of updates per call of the train function.

    Returns:
        Those of the arguments `epochs`, `steps_per_epoch` and `initial_epoch` that were given, as integers.

    Raises:
        ValueError: An argument is out of its range, `steps_per_epoch` is missing for an endless dataset, or it is not a
            multiple of `steps_per_execution`.
    """
    minimums = {"epochs": 1, "steps_per_epoch": 1, "initial_epoch": 0}
    given = {name: settings[name] for name in minimums if name in settings}
    if given.get("steps_per_epoch", 0) is None:
        del given["steps_per_epoch"]
    integers = {name: integer(f"{name} of fit", value, minimums[name]) for name, value in given.items()}
    if integers.get("initial_epoch", 0) > integers.get("epochs", 1):
        raise ValueError(
            f"initial_epoch of fit must be at most epochs = {integers.get('epochs', 1)}, which also counts the "
            f"epochs before this fit. Received: {integers['initial_epoch']}. Pass epochs=initial_epoch + n."
        )
    steps_per_epoch = integers.get("steps_per_epoch")
    if steps_per_epoch is None and is_endless(dataset):
        raise ValueError(
            "steps_per_epoch must say how many updates an epoch has, because the dataset has no end. Received: None. "
            "Pass steps_per_epoch=1_000 to fit, for example."
        )
    if steps_per_epoch is None and isinstance(dataset, types.GeneratorType) and integers.get("epochs", 1) > 1:
        raise ValueError(
            "steps_per_epoch must say how many updates an epoch has, because a generator cannot be read again. "
            "Received: None. Pass steps_per_epoch=1_000 to fit, for example."
        )
    if steps_per_epoch is not None and steps_per_epoch % steps_per_execution:
        raise ValueError(
            f"steps_per_epoch must be a multiple of compile's steps_per_execution = {steps_per_execution}, because "
            f"only whole executions are run. Received: {steps_per_epoch}. Change one of them."
        )
    return integers


def steps_per_execution(updates_per_epoch: int, most: int = 50) -> int:
    """Returns the largest number of updates per execution of which an epoch is a multiple.

    Args:
        updates_per_epoch: The number of updates per epoch, `steps_per_epoch` of `fit`.
        most: The largest allowed number. Callbacks run only between executions.
    """
    return max(number for number in range(1, most + 1) if updates_per_epoch % number == 0)
