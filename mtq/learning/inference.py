"""Inference with a `MultiTaskDQN`: actions, and the losses of batches."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq import value_learning as vl
from mtq.distribution.replicas import draws_on_host
from mtq.environments.errors import environment_errors
from mtq.experience.batches import Batches, read_by
from mtq.learning.batch_checks import check_values
from mtq.learning.q_learning import Batch
from mtq.learning.validation import batches_to_evaluate
from mtq.trainer.compiled_state import traced_settings
from mtq.trainer.keras_trainer import KerasTrainer, check_batch_arguments, evaluate_arguments


class Inference(KerasTrainer):
    """The methods of `MultiTaskDQN` that change no weight."""

    jit_compile: bool  # Keras's property
    _test_settings: Any = None  # those with which the test function was traced
    _checks_on_host = False

    def act(self, task: str, observation: Any, action_mask: Any = None) -> Any:
        """Selects the legal actions with the largest values.

        Args:
            task: The name of the task.
            observation: One observation in the shape of `task.spec`, or several, `[B, …]`. Dict, Tuple and Discrete
                observations must be flattened by `gymnasium.spaces.flatten`. With `frame_stack`, the latest frames are
                stacked on the last axis, oldest first. `"action_mask"` is not a part of the observation of a task with
                masks of legal actions.
            action_mask: Whether each action is legal, `[A]` or `[B, A]` bool or 0 and 1, as the environment returns it;
                by default all are.

        Returns:
            The action in the environment's own numbering, an `int`; or an array `[B]` of actions.

        Raises:
            ValueError: The task is unknown, the observation does not have the task's shape, or the mask has another
                shape, other values, or no legal action.

        Example:
            >>> import mtq
            >>> tasks = mtq.TaskSet([mtq.Task("cart_pole", "CartPole-v1")])
            >>> model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8])), tasks)
            >>> model.act("cart_pole", [0.0, 0.1, 0.0, -0.1]) in (0, 1)
            True
            >>> model.act("cart_pole", [[0.0, 0.1, 0.0, -0.1]] * 3).shape
            (3,)
            >>> model.act("cart_pole", [0.0, 0.1, 0.0, -0.1], action_mask=[0, 1])
            1
        """
        if not isinstance(task, str) or task not in self.tasks:
            raise ValueError(
                f"task of act must be a task of the model. Received: {task!r}. Choose one of {[*self.tasks]}."
            )
        spec = self.tasks[task].spec
        batch = _as_array(observation, task, spec.observation_dtype)
        is_single = batch.shape == spec.observation_shape
        if not is_single and batch.shape[1:] != spec.observation_shape:
            raise ValueError(
                f"observation of task '{task}' must have the shape {spec.observation_shape}, or (B, …) of several. "
                f"Received: {batch.shape}. Flatten Dict, Tuple and Discrete observations with gymnasium.spaces.flatten("
                "env.observation_space, observation); with frame_stack, stack the latest frames on the last axis."
            )
        batch = batch[None] if is_single else batch
        mask = None if action_mask is None else _as_mask(action_mask, task, len(batch), spec.num_actions, is_single)
        q_values = self.paths[task](tf.cast(batch, spec.observation_dtype), training=False)
        actions = vl.greedy_actions(q_values, mask).numpy() + spec.first_action
        return int(actions[0]) if is_single else actions

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Computes the mean TD losses of every task on batches, like `keras.Model.evaluate`. No weight is changed.

        To compute returns instead, by playing episodes, use `mtq.evaluation.evaluate` or
        `mtq.callbacks.EvaluateTasks`.

        Args:
            x: A dataset or generator of `{task: Transition}`, or the batches of an experience, which are then sampled
                uniformly from its stored steps. If the experience is new, its warm-up is done first.
            *args: Further arguments of `keras.Model.evaluate`.
            **kwargs: Further arguments of `keras.Model.evaluate`, such as `steps`, which endless batches need, and
                `return_dict`.

        Returns:
            The means over all rows of `<task>/loss`, `<task>/q_mean` and `<task>/td_error`; and `loss`, the sum of the
            tasks' losses times `model.task_weights`, without regularization. A dict if `return_dict=True`, else a list
            in alphabetical order of the names.

        Raises:
            ValueError: `steps` is missing for endless batches, labels or sample weights are given, or the model has
                several replicas.
        """
        arguments = evaluate_arguments(x, args, kwargs)
        self._check_alone("evaluate")
        arguments["x"] = batches_to_evaluate(self, x, arguments.get("steps"))
        with self._evaluating(), environment_errors(), read_by(self, "evaluate"):
            return super().evaluate(**arguments)

    def make_test_function(self, force: bool = False) -> Any:
        """Returns the function that `evaluate` calls, which XLA does not compile: it would remove the batch's checks.

        Args:
            force: Whether to make a new function even if there is one.
        """
        is_compiled = bool(self.jit_compile)
        self.jit_compile = False
        try:
            return super().make_test_function(force)
        finally:
            self.jit_compile = is_compiled

    def test_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Computes the TD losses on one batch, for `evaluate`.

        Args:
            batch: The batch, `{task: Transition}`.

        Returns:
            The mean losses over the rows so far, by name.
        """
        batch, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        check_batch_arguments(y, sample_weight, method="evaluate")
        if self._checks_on_host:  # in the test function, which is not compiled by XLA
            with tf.control_dependencies([check_values(batch, self.tasks)]):
                batch = tf.nest.map_structure(tf.identity, self._checked_batch(batch, is_checked=True))
        else:
            batch = self._checked_batch(batch, is_checked=False)
        quantities = self.q_learning.losses(batch, self.td_loss)
        num_rows = tf.stack([tf.shape(batch[name].reward)[0] for name in self.tasks])
        metrics = self.keras_step.evaluation_metrics
        metrics.update_state(quantities, num_rows, tf.convert_to_tensor(self.task_weights))
        return metrics.result()

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Computes the TD losses of every task on one batch, like `evaluate`.

        Args:
            x: The batch, `{task: Transition}`.
            y: Not supported; must be None.
            sample_weight: Not supported; must be None.
            return_dict: Whether to return the losses as a dict instead of a list in alphabetical order of the names.

        Returns:
            The losses: a list or a dict.

        Raises:
            ValueError: An unsupported argument is given, or the model has several replicas.
        """
        check_batch_arguments(y, sample_weight, method="test_on_batch")
        self._check_alone("test_on_batch")
        with self._evaluating(), environment_errors():
            return super().test_on_batch(x, return_dict=return_dict)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Computes the action values of observations, like `keras.Model.predict`.

        Args:
            x: The observations of all tasks, `{task: [B, …]}`, or a dataset of them.
            *args: Further arguments of `keras.Model.predict`.
            **kwargs: Further arguments of `keras.Model.predict`.

        Returns:
            The action values, `{task: q_values [B, num_actions]}`.

        Raises:
            ValueError: The data are not the observations of every task.
        """
        if isinstance(x, Batches) or hasattr(type(x), "env_steps"):
            raise ValueError(
                f"x of predict must be {{task: observations}} for the tasks {list(self.tasks)}. Received: an object of "
                f"{type(x).__name__}. For the losses of batches, call evaluate."
            )
        return super().predict(x, *args, **kwargs)

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """A context manager in which the test function is called.

        Before the first update, the target network has the network's weights meanwhile, as it will have in training.
        """
        self.compiled_state.check_parts(("network", "tasks", "loss", "td_loss"))
        settings = traced_settings(self)
        if settings != self._test_settings:
            self.test_function, self._test_settings = None, settings
        self.keras_step.evaluation_metrics.reset_state()
        is_new = not int(self.updates.numpy()) and not self.target_network.was_set
        self._checks_on_host = not draws_on_host(self.distribute_strategy)
        try:
            with self.target_network.in_step() if is_new else contextlib.nullcontext():
                yield
        finally:
            self._checks_on_host = False

    def _validated_at_times(self, settings: dict[str, Any]) -> list[str] | None:
        """Returns the names, as far as they are known, of what `fit` logs in some epochs only; None if in all."""
        if settings.get("validation_data") is None or settings["validation_freq"] == 1:
            return None
        if type(self).test_step is not Inference.test_step:
            return []
        return [f"val_{name}" for name in self.keras_step.evaluation_metrics.result()]

    def _check_alone(self, method: str) -> None:
        if not self.compiled:
            raise ValueError(
                f"The model must be compiled before {method}, because compile sets the loss. Received: a model that is "
                "not compiled. Call model.compile(…) first."
            )
        replicas = self.distribute_strategy.num_replicas_in_sync
        if replicas > 1:
            raise ValueError(
                f"{method} must be called on a model of one replica. Received: one of {replicas}. Load the saved model "
                "outside of the strategy's scope, and evaluate it there."
            )


def _as_mask(action_mask: Any, task: str, num_rows: int, num_actions: int, is_single: bool) -> np.ndarray:
    """Returns the masks of legal actions of observations, `[num_rows, num_actions]` bool."""
    try:
        mask = np.asarray(action_mask)
    except ValueError:  # ragged
        mask = np.asarray(None)
    is_number = mask.dtype.kind in "biuf"
    wanted = (num_actions,) if is_single else (num_rows, num_actions)
    if mask.shape != wanted or not is_number or not ((mask == 0) | (mask == 1)).all():
        received = f"shape {mask.shape}" if is_number and mask.shape != wanted else str(action_mask)[:100]
        raise ValueError(
            f"action_mask of task '{task}' must be an array of 0 (illegal) and 1 (legal) of shape {wanted}. Received: "
            f"{received}. Pass it as the environment returns it."
        )
    mask = np.broadcast_to(mask != 0, (num_rows, num_actions))
    if not mask.any(axis=1).all():
        raise ValueError(
            f"action_mask of task '{task}' must allow an action for each observation. Received: a mask without a legal "
            "action. Start a new episode where none is legal."
        )
    return mask


def _as_array(observation: Any, task: str, dtype: str) -> np.ndarray:
    """Returns observations as an array, after checking that the task's dtype can hold their numbers."""
    try:
        array = np.asarray(observation)
    except ValueError:  # ragged
        array = np.asarray(None)
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    fits, wanted = array.dtype.kind in "biuf", "finite numbers"
    if fits and dtype == "uint8":
        wanted = "integers from 0 to 255"
        fits = np.array_equal(array, np.clip(np.floor(array), 0, 255))
    elif fits:
        with np.errstate(over="ignore"):
            fits = np.isfinite(array.astype(np.float32)).all()
    if not fits:
        received = str(array.ravel()[:8]) if array.size and array.dtype != object else type(observation).__name__
        raise ValueError(
            f"observation of task '{task}' must be {wanted}, as its environment returns them. Received: {received}. Do "
            "not scale it; flatten a dict or a tuple with gymnasium.spaces.flatten."
        )
    return array
