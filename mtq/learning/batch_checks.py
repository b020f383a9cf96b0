"""Checks of the batches of a user's own dataset, made before the model is trained on them."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq import value_learning as vl
from mtq.environments.errors import kept
from mtq.tasks.observation_spaces import LARGEST, scaling_bounds, with_rounding
from mtq.tasks.task import Task, TaskSet

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
    ranges, names = [], []
    for name, task in tasks.items():
        transition = as_transition(task, batch[name])
        for role, limits in _limits(task).items():
            ranges.append(_range(getattr(transition, role), *limits, transition.action))
            names.append((name, role, *limits))
    found = tf.stack(ranges)

    def report(found: np.ndarray) -> np.bool_:
        for (name, role, low, high), row in zip(names, found, strict=True):
            _check_row(name, role, low, high, row)
        return np.bool_(True)

    is_good = tf.reduce_all(found[:, 2:] > 0)
    return tf.cond(is_good, lambda: is_good, lambda: tf.numpy_function(kept(report), [found], tf.bool))


def with_assertions(batch: Mapping[str, vl.Transition], tasks: TaskSet) -> dict[str, vl.Transition]:
    """Adds the checks of `check_values` as assertions to the graph that is being traced. XLA leaves them out.

    Args:
        batch: A batch as `as_transition` returns its parts.
        tasks: The tasks.

    Returns:
        The batch, with control dependencies on the assertions.
    """
    assertions = []
    for name, task in tasks.items():
        for role, (low, high) in _limits(task).items():
            row = _range(getattr(batch[name], role), low, high, batch[name].action)
            must = f"The {role} of a batch of task {name} must"  # TensorFlow would escape quotes
            wanted = f"{must} be {_wanted(low, high)}. Fix the dataset. Received values whose minimum and maximum are:"
            rows = f"{must} be as many rows as there are actions, and one or more. Fix the dataset."
            assertions.append(tf.debugging.Assert(tf.reduce_all(row[2:4] > 0), [wanted, row[0], row[1]]))
            assertions.append(tf.debugging.Assert(tf.reduce_all(row[4:] > 0), [rows]))
    with tf.control_dependencies(assertions):
        return {name: vl.Transition(*map(tf.identity, transition)) for name, transition in batch.items()}


def _range(values: tf.Tensor, low: np.ndarray, high: np.ndarray, action: tf.Tensor) -> tf.Tensor:
    """The lowest and the highest value, and whether all are finite, within bounds, as many as the actions, and any."""
    rows = tf.shape(values)[0]
    values = tf.cast(values, tf.float32)
    finite = tf.reduce_all(tf.math.is_finite(values))
    within = tf.reduce_all((values >= low) & (values <= high))
    flags = [finite, within, tf.equal(rows, tf.shape(action)[0]), rows > 0]
    return tf.stack([tf.reduce_min(values), tf.reduce_max(values), *(tf.cast(flag, tf.float32) for flag in flags)])


def _check_row(name: str, role: str, low: np.ndarray, high: np.ndarray, row: np.ndarray) -> None:
    lowest, highest, finite, within, same, any_rows = row
    if not any_rows:
        raise ValueError(
            f"The {role} of a batch of task '{name}' must have at least one row. Received: none. Fix the dataset."
        )
    if not same:
        raise ValueError(
            f"The {role} of a batch of task '{name}' must have as many rows as the action. Received: another number."
        )
    if finite and within:
        return
    received = f"from {lowest:g} to {highest:g}" if finite else "NaN or Inf"
    remedy = {
        "action": "; actions count from 0, whatever the environment calls them",
        "observation": ", which holds observations as the environment returns them, not scaled",
    }.get(role.removeprefix("next_"), "")
    raise ValueError(
        f"The {role} of a batch of task '{name}' must be {_wanted(low, high)}. Received: {received}. Fix the "
        f"dataset{remedy}."
    )


def _wanted(low: np.ndarray, high: np.ndarray) -> str:
    return f"from {_text(low)} to {_text(high)}" if np.min(high) < LARGEST else "finite"


def _text(bound: np.ndarray) -> str:
    if np.all(bound == bound.flat[0]):
        return f"{bound.flat[0]:g}"
    entries = ", ".join("any" if abs(one) >= LARGEST else f"{one:g}" for one in bound.flat[:8])
    return f"[{entries}{', …' if bound.size > 8 else ''}]"


def _limits(task: Task) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The smallest and the largest value of each field; of observations, by which the network scales them."""
    spec = task.spec
    of_action, of_reward, of_discount = (0.0, spec.num_actions - 1.0), (-LARGEST, LARGEST), (0.0, 1.0)
    bounds = scaling_bounds(spec.observation_dtype, spec.observation_low, spec.observation_high)
    of_observation = with_rounding(*bounds, is_integer=spec.observation_dtype == "uint8")
    limits = (of_action, of_reward, of_discount, of_observation, of_observation)
    fields = ("action", "reward", "discount", "observation", "next_observation")
    return {
        role: (np.asarray(low, np.float32), np.asarray(high, np.float32))
        for role, (low, high) in zip(fields, limits, strict=True)
    }


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
    if dtype == tf.int32 and tensor.dtype.max > tf.int32.max:  # so that no action wraps into the range
        tensor = tf.clip_by_value(tensor, tf.cast(max(tensor.dtype.min, -1), tensor.dtype), tf.int32.max)
    return tf.cast(tensor, dtype)


def _wrong(task: Task, role: str, wanted: str, received: str) -> ValueError:
    return ValueError(
        f"The {role} of a batch of task '{task.name}' must be {wanted}. Received: {received}. Fix the dataset."
    )
