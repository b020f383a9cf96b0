"""Checks of the batches of a user's own dataset, made before the model is trained on them."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq import value_learning as vl
from mtq.environments.errors import kept
from mtq.tasks import Task, TaskSet

_LARGEST = float(np.finfo(np.float32).max)
_ROLES = ("observation", "action", "reward", "discount", "next_observation")


def as_transition(task: Task, given: Any) -> vl.Transition:
    """Checks the types and shapes of one task's part of a batch, and casts its numbers to the task's types.

    Args:
        task: The task.
        given: The batch's entry for the task, a `Transition` of `[B, …]`.

    Returns:
        The transition; observations have the task's dtype, actions are int32, rewards and discounts float32.

    Raises:
        ValueError: The entry is not a `Transition`, or a field has the wrong type, shape or number of rows. The message
            names the task and the field.
    """
    if not isinstance(given, vl.Transition):
        raise ValueError(
            f"A batch must hold a Transition for task '{task.name}'. Received: {type(given).__name__}. "
            "Make mtq.Transition(observation, action, reward, discount, next_observation)."
        )
    fields = {role: _field(task, role, getattr(given, role)) for role in _ROLES}
    sizes = {role: field.shape[0] for role, field in fields.items() if field.shape[0] is not None}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"All fields of a batch of task '{task.name}' must have as many rows. Received: {sizes}. "
            "Batch them together."
        )
    return vl.Transition(**fields)


def check_values(batch: Any, tasks: TaskSet) -> tf.Tensor:
    """Checks the values of a batch, eagerly or in a graph. Call it outside the part that XLA compiles.

    Args:
        batch: A batch `{task: Transition}`, or the tuple into which Keras wraps it.
        tasks: The tasks.

    Returns:
        A bool scalar, always True. In a graph, evaluate it to run the check.

    Raises:
        ValueError: A value is out of its range or not finite; in a graph, when the returned tensor is evaluated.
    """
    batch = keras.utils.unpack_x_y_sample_weight(batch)[0]
    if not isinstance(batch, Mapping) or set(batch) != set(tasks):
        return tf.constant(True)  # the model's own check reports it in more detail
    ranges, limits, names = [], [], []
    for name, task in tasks.items():
        transition = as_transition(task, batch[name])
        for role, (low, high) in _limits(task).items():
            values = tf.reshape(tf.cast(getattr(transition, role), tf.float32), [-1])
            finite = tf.reduce_all(tf.math.is_finite(values))
            lowest, highest = tf.reduce_min(values), tf.reduce_max(values)
            rows = tf.shape(getattr(transition, role))[0]
            same = tf.equal(rows, tf.shape(transition.action)[0])
            extremes = [lowest, highest, tf.cast(finite, tf.float32), tf.cast(same, tf.float32)]
            ranges.append(tf.stack(extremes))
            limits.append((low, high))
            names.append((name, role))
    found, bounds = tf.stack(ranges), np.array(limits, np.float32)

    def report(found: np.ndarray) -> np.bool_:
        for (name, role), (low, high), row in zip(names, limits, found, strict=True):
            _check_row(name, role, low, high, row)
        return np.bool_(True)

    within = (found[:, 0] >= bounds[:, 0]) & (found[:, 1] <= bounds[:, 1]) & (found[:, 2] > 0) & (found[:, 3] > 0)
    is_good = tf.reduce_all(within)
    return tf.cond(is_good, lambda: is_good, lambda: tf.numpy_function(kept(report), [found], tf.bool))


def _check_row(name: str, role: str, low: float, high: float, row: np.ndarray) -> None:
    lowest, highest, finite, same = row
    if not same:
        raise ValueError(
            f"The {role} of a batch of task '{name}' must have as many rows as the action. Received: another number."
        )
    if finite and lowest >= low and highest <= high:
        return
    wanted = "finite" if high >= _LARGEST else f"from {low:g} to {high:g}"
    received = f"from {lowest:g} to {highest:g}" if finite else "NaN or Inf"
    raise ValueError(
        f"The {role} of a batch of task '{name}' must be {wanted}. Received: {received}. Mend the dataset"
        f"{'; actions count from 0, whatever the environment calls them' if role == 'action' else ''}."
    )


def _limits(task: Task) -> dict[str, tuple[float, float]]:
    spec = task.spec
    limits = {"action": (0.0, spec.num_actions - 1.0), "reward": (-_LARGEST, _LARGEST), "discount": (0.0, 1.0)}
    high = spec.observation_high if spec.observation_dtype == "uint8" else None
    low = 0.0 if spec.observation_dtype == "uint8" else -_LARGEST
    of_observations = (low, _LARGEST if high is None else float(np.max(high)))
    return {**limits, "observation": of_observations, "next_observation": of_observations}


def _field(task: Task, role: str, value: Any) -> tf.Tensor:
    shape = task.spec.observation_shape if role.endswith("observation") else ()
    try:
        tensor = tf.convert_to_tensor(value)
    except (ValueError, TypeError) as error:
        raise _wrong(task, role, "one dense tensor", type(value).__name__) from error
    if tensor.shape.rank is not None and not (
        tensor.shape.rank == 1 + len(shape) and tensor.shape[1:].is_compatible_with(shape)
    ):
        raise _wrong(task, role, f"of shape {('B', *shape)}".replace("'B'", "B"), f"{tuple(tensor.shape)}")
    tensor = tf.ensure_shape(tensor, [None, *shape]) if tensor.shape.rank is None else tensor
    dtype = tf.as_dtype("int32" if role == "action" else task.spec.observation_dtype if shape else "float32")
    if tensor.dtype == dtype:
        return tensor
    is_number = tensor.dtype.is_integer or tensor.dtype.is_floating
    fits = is_number if dtype.is_floating else tensor.dtype.is_integer and role == "action"
    if not fits:
        raise _wrong(task, role, f"of type {dtype.name}", tensor.dtype.name)
    return tf.cast(tensor, dtype)


def _wrong(task: Task, role: str, wanted: str, received: str) -> ValueError:
    return ValueError(
        f"The {role} of a batch of task '{task.name}' must be {wanted}. Received: {received}. Mend the dataset."
    )
