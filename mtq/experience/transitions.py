"""The conversion of stored steps to the transitions that the model is trained on."""

import tensorflow as tf

from mtq import value_learning as vl
from mtq.experience.memory import Memory
from mtq.tasks import Task


def as_transitions(task: Task, steps: Memory) -> vl.Transition:
    """Converts steps to transitions: scales and clips rewards, multiplies discounts by γ, and computes n-step returns.

    Args:
        task: The task, with its `reward_scale`, `reward_clip` and `discount`.
        steps: The consecutive steps, a `Memory` of `[B, n, …]`.

    Returns:
        The transitions, `[B, …]`. Their returns span n steps, or fewer where the episode ends earlier.
    """
    reward = steps.reward * task.reward_scale
    if task.reward_clip is not None:
        reward = tf.clip_by_value(reward, -task.reward_clip, task.reward_clip)
    discount = steps.discount * task.discount
    observation, action = steps.observation[:, 0], steps.action[:, 0]
    if reward.shape[1] == 1:
        return vl.Transition(observation, action, reward[:, 0], discount[:, 0], steps.next_observation[:, 0])
    returns, discounts, position = vl.n_step_returns(reward, discount, steps.is_last)
    bootstrap = tf.gather(steps.next_observation, position, axis=1, batch_dims=1)
    return vl.Transition(observation, action, returns, discounts, bootstrap)
