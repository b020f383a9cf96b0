"""Transitions: what is learned from, made of stored steps."""

import tensorflow as tf

from mtq import value_learning as vl
from mtq.experience.memory import Memory
from mtq.tasks import Task


def as_transitions(task: Task, steps: Memory) -> vl.Transition:
    """Scales and clips rewards, multiplies discounts by γ, and adds up the rewards of n steps.

    Args:
        task: The task, which has the scale, the bound and γ.
        steps: Consecutive steps, `[B, n, …]`.

    Returns:
        The transitions, `[B, …]`, whose returns span n steps, or fewer where an episode ends before.
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
