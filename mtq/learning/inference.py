"""Inference with a `MultiTaskDQN`: actions, and the losses of batches."""

import inspect
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq.environments.errors import environment_errors
from mtq.experience.batches import Batches, read_by
from mtq.learning.q_learning import Batch
from mtq.trainer.keras_trainer import KerasTrainer, check_batch_arguments


class Inference(KerasTrainer):
    """The methods of `MultiTaskDQN` that change no weight."""

    def act(self, task: str, observation: Any) -> Any:
        """Selects the actions with the largest values.

        Args:
            task: The name of the task.
            observation: One observation in the shape of `task.spec`, or several, `[B, …]`. Dict, Tuple and Discrete
                observations must be flattened by `gymnasium.spaces.flatten`.

        Returns:
            The action in the environment's own numbering, an `int`; or an array `[B]` of actions.

        Raises:
            ValueError: The task is unknown, or the observation does not have the task's shape.

        Example:
            >>> import mtq
            >>> tasks = mtq.TaskSet([mtq.Task("cart_pole", "CartPole-v1")])
            >>> model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8])), tasks)
            >>> model.act("cart_pole", [0.0, 0.1, 0.0, -0.1]) in (0, 1)
            True
            >>> model.act("cart_pole", [[0.0, 0.1, 0.0, -0.1]] * 3).shape
            (3,)
        """
        if task not in self.tasks:
            raise ValueError(
                f"task of act must be a task of the model. Received: {task!r}. Choose one of {[*self.tasks]}."
            )
        spec = self.tasks[task].spec
        batch = np.asarray(observation)
        is_single = batch.shape == spec.observation_shape
        if not is_single and batch.shape[1:] != spec.observation_shape:
            raise ValueError(
                f"observation of task '{task}' must have the shape {spec.observation_shape}, or (B, …) of several. "
                f"Received: {batch.shape}. Flatten Dict, Tuple and Discrete observations with gymnasium.spaces.flatten("
                "env.observation_space, observation)."
            )
        batch = batch[None] if is_single else batch
        q_values = self.paths[task](tf.cast(batch, spec.observation_dtype), training=False)
        actions = tf.argmax(q_values, axis=-1, output_type=tf.int32).numpy() + spec.first_action
        return int(actions[0]) if is_single else actions

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Computes the mean TD losses of every task on batches, like `keras.Model.evaluate`. No weight is changed.

        To compute returns instead, by playing episodes, use `mtq.evaluation.evaluate` or
        `mtq.callbacks.EvaluateTasks`.

        Args:
            x: A dataset of `{task: Transition}`, or the batches of an experience, which are then sampled from its
                stored steps.
            *args: Further arguments of `keras.Model.evaluate`.
            **kwargs: Further arguments of `keras.Model.evaluate`, such as `steps`, which endless batches need, and
                `return_dict`.

        Returns:
            The weighted sum of the tasks' losses, `loss`, and `<task>/loss`, `<task>/q_mean` and `<task>/td_error`: a
            dict if `return_dict=True`, else a list in alphabetical order of the names.

        Raises:
            ValueError: `steps` is missing for endless batches, labels or sample weights are given, or the model has
                several replicas.
        """
        given = inspect.signature(keras.Model.evaluate).bind(self, x, *args, **kwargs).arguments
        check_batch_arguments(given.get("y"), given.get("sample_weight"), method="evaluate")
        self._check_alone("evaluate")
        x = _as_dataset(x, given.get("steps"), "steps", "evaluate")
        steps = given.get("steps")
        if steps is not None and steps % self.steps_per_execution:
            raise ValueError(
                f"steps of evaluate must be a multiple of compile's steps_per_execution = {self.steps_per_execution}. "
                f"Received: {steps}. Change one of them."
            )
        self.keras_step.evaluation_metrics.reset_state()
        with environment_errors(), read_by(self, "evaluate"):
            return super().evaluate(x, *args, **kwargs)

    def test_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Computes the TD losses on one batch, for `evaluate`.

        Args:
            batch: The batch, `{task: Transition}`.

        Returns:
            The mean losses over the batches so far, by name.
        """
        batch, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        check_batch_arguments(y, sample_weight, method="evaluate")
        quantities = self.q_learning.losses(self._checked_batch(batch, is_checked=False), self.td_loss)
        weights = tf.convert_to_tensor(self.task_weights)
        self.keras_step.evaluation_metrics.update_state({**quantities, "weight": weights})
        return self.keras_step.evaluation_metrics.result()

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
        self.keras_step.evaluation_metrics.reset_state()
        return super().test_on_batch(x, return_dict=return_dict)

    def _check_validation(self, settings: dict[str, Any]) -> None:
        """Checks the `validation_data` of `fit`, and turns the batches of an experience into a dataset."""
        data = settings.get("validation_data")
        if data is None:
            return
        self._check_alone("fit with validation_data")
        settings["validation_data"] = _as_dataset(data, settings.get("validation_steps"), "validation_steps", "fit")

    def _validated_at_times(self, settings: dict[str, Any]) -> list[str]:
        """Returns the names of the quantities that `fit` logs in some epochs only, because of `validation_freq`."""
        if settings.get("validation_data") is None or settings.get("validation_freq", 1) == 1:
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


def _as_dataset(data: Any, steps: Any, argument: str, method: str) -> Any:
    """Turns the batches of an experience into a dataset of stored steps, if their number is given."""
    if not isinstance(data, Batches):
        return data
    if steps is None:
        raise ValueError(
            f"{argument} of {method} must be the number of batches, because the batches of an experience are endless. "
            f"Received: None. Pass {argument}=100 to {method}, for example."
        )
    return data.stored()
