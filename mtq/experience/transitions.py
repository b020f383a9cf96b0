"""The conversion of stored steps to the transitions that the model is trained on."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mtq import value_learning as vl
from mtq.experience.memory import OPTIONAL_FIELDS
from mtq.experience.replay import Draw, Replay
from mtq.named_tuples import field_of
from mtq.tasks import Task


def transitions_of(task: Task, replay: Replay, draw: Draw) -> Any:
    """Reads the transitions that start at the steps which were drawn from a replay.

    Rewards are scaled and clipped, discounts multiplied by γ, and n-step returns computed.

    Args:
        task: The task, with its `reward_scale`, `reward_clip` and `discount`.
        replay: The replay.
        draw: The steps that were drawn, in rows of n consecutive ones.

    Returns:
        The transitions, `[B, …]`. Their returns span n steps, or fewer where the episode ends earlier.
    """
    steps = replay.numbers(draw.rows)  # [B, n]
    returns, discounts, position = _returns(task, steps.reward, steps.discount, steps.is_last)
    copy = draw.selection.copy
    transition = vl.Transition(
        replay.observations(copy, steps.place[:, 0], steps.age[:, 0]),
        steps.action[:, 0],
        returns,
        discounts,
        replay.observations(copy, _at(steps.place, position) + 1, _at(steps.age, position) + 1),
    )
    weight = draw.selection.weight
    further = _further(replay.further_fields(steps.further), position)
    return vl.with_fields(transition, **further, **({} if weight is None else {"weight": weight}))


def as_transitions(task: Task, steps: Any) -> Any:
    """Converts steps from a replay buffer of the user's own to transitions, as `transitions_of` does.

    Args:
        task: The task.
        steps: The consecutive steps, a `Memory` of `[B, n, …]`.

    Returns:
        The transitions, `[B, …]`.
    """
    returns, discounts, position = _returns(task, steps.reward, steps.discount, steps.is_last)
    bootstrap = _at(steps.next_observation, position)
    transition = vl.Transition(steps.observation[:, 0], steps.action[:, 0], returns, discounts, bootstrap)
    fields = {name: field_of(steps, name) for name in OPTIONAL_FIELDS if name in steps._fields}
    return vl.with_fields(transition, **_further(fields, position))


def learned_rewards(task: Task, reward: tf.Tensor) -> tf.Tensor:
    """Returns the rewards of which a model learns the values: scaled and clipped as the task specifies.

    Args:
        task: The task.
        reward: The environment's own rewards, of any shape.
    """
    reward = reward * task.reward_scale
    if task.reward_clip is None:
        return reward
    return tf.clip_by_value(reward, -task.reward_clip, task.reward_clip)


def _further(fields: Mapping[str, tf.Tensor], position: tf.Tensor | None) -> dict[str, tf.Tensor]:
    """Returns the further fields of transitions from those of their steps, `[B, n, …]`."""
    of_last_steps = ("next_action_mask", "running_return")  # the latter has all rewards of the row
    return {name: _at(values, position) if name in of_last_steps else values[:, 0] for name, values in fields.items()}


def _returns(
    task: Task, reward: tf.Tensor, discount: tf.Tensor, is_last: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """Returns the returns and discounts of `[B, n]` steps, and the position of the last step that each spans.

    The position is None if all returns span one step.
    """
    reward, discount = learned_rewards(task, reward), discount * task.discount
    if reward.shape[1] == 1:
        return reward[:, 0], discount[:, 0], None
    return vl.n_step_returns(reward, discount, is_last)


def _at(values: tf.Tensor, position: tf.Tensor | None) -> tf.Tensor:
    """Returns the values `[B, …]` at one position of each row of `[B, n, …]`; at the first if the position is None."""
    return values[:, 0] if position is None else tf.gather(values, position, axis=1, batch_dims=1)
