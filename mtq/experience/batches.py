"""Batches of an experience, drawn within a graph by `fit`, or eagerly by a loop or a dataset."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from mtq import value_learning as vl
from mtq.environments.errors import environment_errors, kept
from mtq.experience.sampler import Drawn, Sampler
from mtq.tasks import Task

Batch = dict[str, vl.Transition]
_END = object()


class _Reader(NamedTuple):
    """A model that is reading a dataset, and the method that reads it: fit or evaluate."""

    model: Any
    method: str


_readers: list[_Reader] = []
_pulling: list[_Reader] = []  # those of them that ask a user's generator for its next batch at this moment


class Batches:
    """An endless iterable of batches `{task: Transition}`, each drawn only when it is requested.

    `Experience.batches` returns it. `fit` draws from it within its own graph; a loop over it draws eagerly. The
    methods of `tf.data.Dataset`, such as `take` and `prefetch`, can be called on it and return datasets. `fit` trains
    on these too, but more slowly, because every batch then takes a host call. Functions that take datasets, such as
    `tf.data.Dataset.zip`, need `as_dataset()`.

    Args:
        experience: The experience.
        batch_size: The number of rows of each task, B, over all replicas.
        functions: The functions that are applied to each batch, in this order.

    Attributes:
        experience: The experience.
        batch_size: The number of rows of each task, B, over all replicas.

    Example:
        >>> import mtq
        >>> tasks = mtq.TaskSet([mtq.Task("cart_pole", "CartPole-v1")])
        >>> model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8])), tasks)
        >>> batches = mtq.Experience(model, warmup_steps=10).batches(4)
        >>> next(iter(batches))["cart_pole"].reward.shape
        TensorShape([4])
        >>> len(list(batches.take(3)))
        3
    """

    def __init__(self, experience: Any, batch_size: int, functions: tuple[Callable[[Batch], Batch], ...] = ()) -> None:
        self.experience, self.batch_size, self._functions = experience, batch_size, functions
        self._num_rows = batch_size // experience.num_replicas
        self._compiled: dict[bool, Any] = {}

    def map(self, function: Callable[[Batch], Batch], **options: Any) -> "Batches":
        """Applies a function to every batch, within the graph in which the batch is drawn.

        Args:
            function: A function `{task: Transition}` → `{task: Transition}` of TensorFlow operations. If a sampler
                needs the errors of each update, the function must keep the rows and their order. If it changes the
                rewards, it must change the `running_return` of a running scale alike.
            **options: Not supported; must be left out. `as_dataset().map` has those of `tf.data.Dataset.map`.

        Returns:
            The mapped batches of the same experience.

        Raises:
            ValueError: An option is given.
        """
        if options:
            raise ValueError(
                f"{next(iter(options))} of map must be left out, because the batches are mapped within the graph that "
                f"draws them. Received: {options}. Call as_dataset().map for the options of tf.data."
            )
        # A tf.function, whose Python conditions on tensors AutoGraph converts.
        return Batches(self.experience, self.batch_size, (*self._functions, tf.function(function)))

    def draw(self) -> Drawn:
        """Takes the environment steps that are due, then draws this replica's batch.

        For use in a graph, after the warm-up.

        Returns:
            The batch, and the selections of the samplers.
        """
        drawn = self.experience.current_replica().next_batch(self._num_rows)
        return drawn._replace(batch=self._applied(drawn.batch))

    def next_batch(self) -> Batch:
        """Returns the batch of `draw`, if no sampler needs the errors of each update."""
        check_errors_are_not_lost(self.experience.current_replica(), "a call of next_batch")
        return self.draw().batch

    def next_batches(self) -> list[Batch]:
        """Calls `next_batch` for every replica of this process. For use in the cross-replica context."""
        return [self._applied(replica.next_batch(self._num_rows).batch) for replica in self.experience.replicas]

    def update_samplers(self, selections: Any, errors: dict[str, tf.Tensor]) -> None:
        """Passes this replica's samplers the errors of an update. For use in a graph.

        Args:
            selections: The selections that `draw` returned.
            errors: The errors of the rows, `{task: [B]}`; see `Sampler.update`.
        """
        for name, selection in selections.items():
            if not errors[name].shape[:1].is_compatible_with(selection.step.shape[:1]):
                raise ValueError(
                    "The function of map must keep the rows of a batch and their order if the sampler needs their "
                    f"errors. Received: {errors[name].shape[0]} of {selection.step.shape[0]} rows of task '{name}'."
                )
        self.experience.current_replica().update_samplers(selections, errors)

    @property
    def is_mapped(self) -> bool:
        """Whether functions are applied to the batches."""
        return bool(self._functions)

    @property
    def needs_errors(self) -> bool:
        """Whether a sampler needs the errors of each update."""
        return self.experience.replicas[0].needs_errors

    def __iter__(self) -> Iterator[Batch]:
        """Yields batches, each drawn eagerly."""
        experience = self.experience
        if experience.num_replicas > 1:
            raise ValueError(
                f"The batches of {experience.num_replicas} replicas must be drawn by fit, each in its own replica. "
                "Received: a loop over the batches, or a dataset made of them. Pass the object that "
                "Experience.batches returned to fit."
            )
        check_errors_are_not_lost(experience.replicas[0], "a loop over the batches, or a dataset made of them")
        if not tf.executing_eagerly():
            raise ValueError(
                "The batches of an experience must be drawn outside of a tf.function. Received: a loop within one. "
                "Loop over a dataset made of them, such as batches.take(10), or pass each batch to the tf.function."
            )
        # What a user's function does may be operations that XLA cannot compile, or removes.
        uses_xla = experience.compilable and experience.model.uses_xla and not self.is_mapped
        if uses_xla not in self._compiled:
            self._compiled[uses_xla] = tf.function(self.next_batch, autograph=False, jit_compile=uses_xla or None)
        while True:
            if _pulling:
                _check_reader(experience, _pulling)
            with environment_errors():
                experience.prepare()
                batch = self._compiled[uses_xla]()
            experience.check_recorded()
            yield batch

    @property
    def element_spec(self) -> dict[str, vl.Transition]:
        """The shapes and dtypes of a batch, like `tf.data.Dataset.element_spec`."""
        spec = {name: self._spec(task) for name, task in self.experience.tasks.items()}
        if not self._functions:
            return spec
        outputs = tf.function(self._applied, autograph=False).get_concrete_function(spec).structured_outputs
        return tf.nest.map_structure(lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), outputs)

    def as_dataset(self) -> tf.data.Dataset:
        """Returns the batches as a `tf.data.Dataset`, which draws none of them ahead of time."""
        return _endless(tf.data.Dataset.from_generator(self._checked, output_signature=self.element_spec))

    def stored(self) -> tf.data.Dataset:
        """Returns an endless dataset of batches that are sampled uniformly from the stored steps.

        No environment is stepped, except for the warm-up if it has not been done yet. `evaluate` and `validation_data`
        read this dataset. Where the sampler of the training has weights, these batches have weights of 1.
        """
        experience, replica = self.experience, self.experience.replicas[0]
        samplers = replica.make_samplers(seed=0)  # so that the training's draws do not depend on it

        @tf.function(autograph=False)
        def sample() -> Batch:
            batch = replica.sample(self._num_rows, samplers).batch
            return self._applied({name: self._with_weight(name, rows) for name, rows in batch.items()})

        def batches() -> Iterator[Batch]:
            kept(experience.prepare, in_graph=True)()
            while True:
                yield sample()

        return _endless(tf.data.Dataset.from_generator(batches, output_signature=self.element_spec))

    def __getattr__(self, name: str) -> Any:
        if name == "_variant_tensor":
            raise TypeError(
                "The datasets of a tf.data function must be tf.data.Dataset objects. Received: the batches of an "
                "experience. Pass their as_dataset()."
            )
        if name.startswith("_") or not hasattr(tf.data.Dataset, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}.")
        return getattr(self.as_dataset(), name)

    def _applied(self, batch: Batch) -> Batch:
        mapped = batch
        for function in self._functions:
            mapped = function(mapped)
        if self._functions:
            _check_weights_kept(batch, mapped)
        return mapped

    def _with_weight(self, name: str, transition: vl.Transition) -> vl.Transition:
        return vl.with_fields(transition, weight=tf.ones(self._num_rows)) if self._has_weights(name) else transition

    def _has_weights(self, name: str) -> bool:
        sampler = getattr(self.experience.replays[name], "sampler", None)
        return isinstance(sampler, Sampler) and sampler.has_weights

    def _spec(self, task: Task) -> vl.Transition:
        observation = tf.TensorSpec([self._num_rows, *task.spec.observation_shape], task.spec.observation_dtype)
        number = tf.TensorSpec([self._num_rows], tf.float32)
        transition = vl.Transition(observation, tf.TensorSpec([self._num_rows], tf.int32), number, number, observation)
        fields = {"weight": number} if self._has_weights(task.name) else {}
        if task.spec.has_action_mask:
            mask = tf.TensorSpec([self._num_rows, task.num_actions], tf.bool)
            fields |= {"action_mask": mask, "next_action_mask": mask}
        if task.name in self.experience.replicas[0].running_returns:
            fields["running_return"] = number
        return vl.with_fields(transition, **fields)

    def _checked(self) -> Iterator[Batch]:
        """Yields batches for `as_dataset`. `kept` stores exceptions, because TensorFlow passes on only their text."""
        # Only once, because a dataset may draw ahead while something else is read.
        kept(lambda: _check_reader(self.experience, _pulling or _readers), in_graph=True)()
        batches = iter(self)
        draw = kept(lambda: next(batches), in_graph=True)
        while True:
            yield draw()


def check_errors_are_not_lost(replica: Any, received: str) -> None:
    """Raises a ValueError if a sampler of a replica needs the errors of each update, which only `fit` passes to it.

    Args:
        replica: The replica of an experience.
        received: The way in which batches are drawn without `fit`, for the message.
    """
    if replica.needs_errors:
        raise ValueError(
            "Batches whose sampler needs the errors of each update must be drawn by fit, in its graph. Received: "
            f"{received}. Pass the object that Experience.batches returned to fit, without run_eagerly."
        )


def _check_weights_kept(batch: Batch, mapped: Any) -> None:
    """Raises a ValueError if the function of `map` has dropped the weights of a task's rows."""
    for name, rows in batch.items():
        given: Any = mapped.get(name) if isinstance(mapped, Mapping) else None
        if vl.is_transition(given) and "weight" in rows._fields and "weight" not in given._fields:
            raise ValueError(
                f"The function of map must keep the weight of each row that the sampler of task '{name}' gives. "
                "Received: a Transition without weights. Change fields with rows._replace(reward=…)."
            )


def _endless(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """A dataset of an endless generator, from which nothing is drawn before it is asked for."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.inject_prefetch = False  # it would run ahead of the policy
    options.experimental_optimization.apply_default_optimizations = False
    options.deterministic = True
    return dataset.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)).with_options(options)


@contextlib.contextmanager
def read_by(model: Any, method: str = "fit") -> Iterator[None]:
    """A context manager in which a model reads a dataset that may hold batches of an experience.

    Args:
        model: The model.
        method: The method that reads the dataset, `"fit"` or `"evaluate"`.
    """
    _readers.append(_Reader(model, method))
    try:
        yield
    finally:
        _readers.pop()


def pulled(model: Any, generator: Iterator[Any], method: str) -> Iterator[Any]:
    """Yields what a user's generator yields, and checks the batches of experiences that it draws meanwhile.

    Args:
        model: The model that reads the generator.
        generator: The generator.
        method: The method that reads it, `"fit"` or `"evaluate"`.
    """
    while True:
        _pulling.append(_Reader(model, method))
        try:
            batch = next(generator, _END)
        finally:
            _pulling.pop()
        if batch is _END:
            return
        yield batch


def _check_reader(experience: Any, readers: list[_Reader]) -> None:
    if readers and readers[-1].method == "evaluate":
        raise ValueError(
            "The batches that evaluate or validation_data reads must be sampled from stored steps. Received: a dataset "
            "made of the batches of an experience, such as batches.take(10), which steps the environments. Pass the "
            "object that Experience.batches returned and the number of batches, steps=10 or validation_steps=10."
        )
    check_model(experience, [reader.model for reader in readers])


def check_model(experience: Any, models: list[Any]) -> None:
    """Raises a ValueError if the batches of an experience are drawn for models other than its own.

    Args:
        experience: The experience.
        models: The models that are being trained.
    """
    if models and all(experience.model is not model for model in models):
        raise ValueError(
            "The batches must come from an Experience made with the model that is fitted, because an experience acts "
            f"with its model's weights. Received: an Experience made with another model, '{experience.model.name}', "
            "whose weights this fit would not change. Make an mtq.Experience(model) with this model, also after "
            "load_model."
        )
