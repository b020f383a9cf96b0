"""Checks of the batches of a user's own dataset, before the model is trained on them."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq import value_learning as vl
from mtq.environments.errors import kept
from mtq.tasks.observation_spaces import LARGEST, scaling_bounds, with_rounding
from mtq.tasks.task import Task, TaskSet

_MASKS = ("action_mask", "next_action_mask")


def as_transition(task: Task, given: Any) -> vl.Transition:
    """Checks the dtypes and shapes of one task's part of a batch, and casts them to the task's dtypes.

    Args:
        task: The task.
        given: The batch's entry for the task, a `Transition` of `[B, …]`.

    Returns:
        The transition. Observations have the task's dtype, actions are int32, rewards and discounts float32.

    Raises:
        ValueError: The entry is not a `Transition`, or a field has the wrong dtype, shape or number of rows. The
            message names the task and the field.
    """
    if not vl.is_transition(given):
        raise ValueError(
            f"A batch must hold a Transition for task '{task.name}'. Received: {type(given).__name__}. "
            "Make mtq.Transition(observation, action, reward, discount, next_observation)."
        )
    missing = [role for role in _MASKS if task.spec.has_action_mask and role not in given._fields]
    if missing:
        raise ValueError(
            f"A batch of task '{task.name}', which has masks of legal actions, must hold {_MASKS[0]} and {_MASKS[1]}. "
            f"Received: a Transition without {missing[0]}. Add them by mtq.value_learning.with_fields, or pass "
            "action_mask=False to mtq.Task."
        )
    fields = {role: _field(task, role, getattr(given, role)) for role in given._fields}
    sizes = {role: field.shape[0] for role, field in fields.items() if field.shape[0] is not None}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"All fields of a batch of task '{task.name}' must have the same number of rows. Received: {sizes}. "
            "Batch them together."
        )
    return type(given)(**fields)


def check_values(batch: Any, tasks: TaskSet) -> tf.Tensor:
    """Checks the values of a batch, eagerly or in a graph. For use outside the part that XLA compiles.

    Args:
        batch: A batch `{task: Transition}`, or the tuple that Keras makes of it.
        tasks: The tasks.

    Returns:
        A bool scalar that is always True. In a graph, the check runs when it is evaluated.

    Raises:
        ValueError: A value is out of its range or not finite. In a graph, it is raised when the result is evaluated.
    """
    batch = keras.utils.unpack_x_y_sample_weight(batch)[0]
    if not isinstance(batch, Mapping) or set(batch) != set(tasks):
        return tf.constant(True)  # the model's own check has a more detailed message
    ranges, names, masks, masked = [], [], [], []
    for name, task in tasks.items():
        transition = as_transition(task, batch[name])
        for role, limits in _limits(task, transition).items():
            ranges.append(_range(_as_given(transition, batch[name], role), *limits, transition.action))
            names.append((name, role, *limits))
        for role in _masks_of(transition):
            masks.append(_are_legal(transition, role))
            masked.append((name, role))
    rows, legal = tf.stack(ranges), tf.stack([tf.constant(True), *masks])

    def report(rows: np.ndarray, legal: np.ndarray) -> np.bool_:
        for (name, role, low, high), row in zip(names, rows, strict=True):
            _check_row(name, role, low, high, row)
        for (name, role), is_legal in zip(masked, legal[1:], strict=True):
            if not is_legal:
                raise ValueError(
                    f"The {role} of a batch of task '{name}' must {_MUST_ALLOW[role]}. Received: a row in which it "
                    "does not. Fix the dataset."
                )
        return np.bool_(True)

    is_valid = tf.reduce_all(rows[:, 2:] > 0) & tf.reduce_all(legal)
    return tf.cond(is_valid, lambda: is_valid, lambda: tf.numpy_function(kept(report), [rows, legal], tf.bool))


def with_assertions(
    batch: Mapping[str, vl.Transition], given: Mapping[str, Any], tasks: TaskSet
) -> dict[str, vl.Transition]:
    """Adds the checks of `check_values` to the graph that is being traced, as assertions. XLA removes them.

    Args:
        batch: A batch whose entries come from `as_transition`.
        given: The entries from which these came.
        tasks: The tasks.

    Returns:
        The batch, with control dependencies on the assertions.
    """
    assertions = []
    for name, task in tasks.items():
        for role, (low, high) in _limits(task, batch[name]).items():
            row = _range(_as_given(batch[name], given[name], role), low, high, batch[name].action)
            subject = f"The {role} of a batch of task {name} must"  # without quotes, which TensorFlow would escape
            # TensorFlow appends the tensors to the text, so what was received comes last.
            value_text = f"{subject} be {_wanted(low, high)}. Fix the dataset. Received: minimum and maximum:"
            rows_text = f"{subject} have as many rows as the action, and at least one. Fix the dataset."
            assertions.append(tf.debugging.Assert(tf.reduce_all(row[2:4] > 0), [value_text, row[0], row[1]]))
            assertions.append(tf.debugging.Assert(tf.reduce_all(row[4:] > 0), [rows_text]))
        for role in _masks_of(batch[name]):
            text = f"The {role} of a batch of task {name} must {_MUST_ALLOW[role]}. Fix the dataset."
            assertions.append(tf.debugging.Assert(_are_legal(batch[name], role), [text]))
    with tf.control_dependencies(assertions):
        return tf.nest.map_structure(tf.identity, dict(batch))


_MUST_ALLOW = {
    "action_mask": "allow the row's action",
    "next_action_mask": "allow an action where the discount is not 0, because the next value is then bootstrapped",
}


def _as_given(transition: vl.Transition, given: Any, role: str) -> tf.Tensor:
    """Returns a field of a transition; a mask as it was given, because its numbers are lost once it is bool."""
    return tf.convert_to_tensor(getattr(given if role in _MASKS else transition, role))


def _masks_of(transition: vl.Transition) -> list[str]:
    return [role for role in _MASKS if role in transition._fields]


def _are_legal(transition: vl.Transition, role: str) -> tf.Tensor:
    """Returns whether the masks of a batch allow what they must, a bool scalar; whatever numbers of rows it has."""
    mask = vl.field_of(transition, role)
    rows = tf.minimum(tf.shape(mask)[0], tf.minimum(tf.shape(transition.action)[0], tf.shape(transition.discount)[0]))
    if role == "action_mask":
        chosen = tf.one_hot(transition.action[:rows], mask.shape[1], on_value=True, off_value=False, dtype=tf.bool)
        return tf.reduce_all(tf.reduce_any(mask[:rows] & chosen, axis=1))
    return tf.reduce_all(tf.reduce_any(mask[:rows], axis=1) | (transition.discount[:rows] == 0.0))


def _range(values: tf.Tensor, low: np.ndarray, high: np.ndarray, action: tf.Tensor) -> tf.Tensor:
    """Returns the lowest and the highest value, and four flags, `[6]` float32.

    The flags are 1 if all values are finite, if all are within the bounds, if `action` has the same number of rows, and
    if there is at least one row.
    """
    rows = tf.shape(values)[0]
    values = tf.cast(values, tf.float32)
    are_finite = tf.reduce_all(tf.math.is_finite(values))
    are_within = tf.reduce_all((values >= low) & (values <= high))
    flags = [are_finite, are_within, tf.equal(rows, tf.shape(action)[0]), rows > 0]
    return tf.stack([tf.reduce_min(values), tf.reduce_max(values), *(tf.cast(flag, tf.float32) for flag in flags)])


def _check_row(name: str, role: str, low: np.ndarray, high: np.ndarray, row: np.ndarray) -> None:
    lowest, highest, are_finite, are_within, has_same_rows, has_rows = row
    if not has_rows:
        raise ValueError(
            f"The {role} of a batch of task '{name}' must have at least one row. Received: none. Fix the dataset."
        )
    if not has_same_rows:
        raise ValueError(
            f"The {role} of a batch of task '{name}' must have as many rows as the action. Received: a different "
            "number. Fix the dataset."
        )
    if are_finite and are_within:
        return
    received = f"from {lowest:g} to {highest:g}" if are_finite else "NaN or Inf"
    remedy = {
        "action": "; actions are counted from 0, whatever the environment's own numbers are",
        "observation": ", which must hold observations as the environment returns them, not scaled",
    }.get(role.removeprefix("next_"), "")
    raise ValueError(
        f"The {role} of a batch of task '{name}' must be {_wanted(low, high)}. Received: {received}. Fix the "
        f"dataset{remedy}."
    )


def _wanted(low: np.ndarray, high: np.ndarray) -> str:
    if np.min(high) < LARGEST:
        return f"from {_text(low)} to {_text(high)}"
    return "finite" if np.max(low) < 0 else f"finite and at least {_text(low)}"


def _text(bound: np.ndarray) -> str:
    if np.all(bound == bound.flat[0]):
        return f"{bound.flat[0]:g}"
    entries = ", ".join("any" if abs(entry) >= LARGEST else f"{entry:g}" for entry in bound.flat[:8])
    return f"[{entries}{', …' if bound.size > 8 else ''}]"


def _limits(task: Task, transition: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns the bounds of each field. Those of observations are the bounds from which the network scales them."""
    spec = task.spec
    action_limits, reward_limits, discount_limits = (0.0, spec.num_actions - 1.0), (-LARGEST, LARGEST), (0.0, 1.0)
    bounds = scaling_bounds(spec.observation_dtype, spec.observation_low, spec.observation_high)
    observation_limits = with_rounding(*bounds, is_integer=spec.observation_dtype == "uint8")
    limits = (action_limits, reward_limits, discount_limits, observation_limits, observation_limits)
    fields = ("action", "reward", "discount", "observation", "next_observation")
    by_field: dict[str, Any] = dict(zip(fields, limits, strict=True))
    optional_limits = {
        "weight": (0.0, LARGEST),
        "action_mask": (0.0, 1.0),
        "next_action_mask": (0.0, 1.0),
        "running_return": (-LARGEST, LARGEST),
    }
    by_field |= {role: limits for role, limits in optional_limits.items() if role in transition._fields}
    return {role: (np.asarray(low, np.float32), np.asarray(high, np.float32)) for role, (low, high) in by_field.items()}


def _shape(task: Task, role: str) -> tuple[int, ...]:
    """Returns the shape of a row of a field."""
    if role.endswith("observation"):
        return task.spec.observation_shape
    return (task.num_actions,) if role.endswith("action_mask") else ()


def _dtype(task: Task, role: str) -> tf.DType:
    if role.endswith("observation"):
        return tf.as_dtype(task.spec.observation_dtype)
    return {"action": tf.int32, "action_mask": tf.bool, "next_action_mask": tf.bool}.get(role, tf.float32)


def _field(task: Task, role: str, value: Any) -> tf.Tensor:
    shape = _shape(task, role)
    try:
        tensor = tf.convert_to_tensor(value)
    except (ValueError, TypeError) as error:
        raise _wrong(task, role, "one dense tensor", type(value).__name__) from error
    if tensor.shape.rank is not None and not (
        tensor.shape.rank == 1 + len(shape) and tensor.shape[1:].is_compatible_with(shape)
    ):
        raise _wrong(task, role, f"of shape {('B', *shape)}".replace("'B'", "B"), f"{tuple(tensor.shape)}")
    tensor = tf.ensure_shape(tensor, [None, *shape]) if tensor.shape.rank is None else tensor
    dtype = _dtype(task, role)
    if tensor.dtype == dtype:
        return tensor
    is_number = tensor.dtype.is_integer or tensor.dtype.is_floating
    fits = is_number if dtype.is_floating else tensor.dtype.is_integer and not role.endswith("observation")
    if not fits:
        raise _wrong(task, role, f"of dtype {dtype.name}", tensor.dtype.name)
    if dtype == tf.int32 and tensor.dtype.max > tf.int32.max:  # so that no action wraps around into the valid range
        tensor = tf.clip_by_value(tensor, tf.cast(max(tensor.dtype.min, -1), tensor.dtype), tf.int32.max)
    return tf.cast(tensor, dtype)


def _wrong(task: Task, role: str, wanted: str, received: str) -> ValueError:
    return ValueError(
        f"The {role} of a batch of task '{task.name}' must be {wanted}. Received: {received}. Fix the dataset."
    )
