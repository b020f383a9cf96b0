"""The running returns of the open episodes, by which a task's returns are scaled."""

import tensorflow as tf

from mtq.experience.memory import Memory, with_fields
from mtq.experience.transitions import learned_rewards
from mtq.tasks import Task


class RunningReturns(tf.Module):
    """Adds to each step its running return `G_t = r_t + γ G_{t−1}`, from the start of its episode.

    The rewards are those of which the model learns the values, scaled and clipped as the task specifies. Values are
    bootstrapped at a time limit, but a running return ends there. That of the last step, the t-th, is therefore divided
    by `1 − γ^t`, as if rewards of the same average went on forever.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task = task
        self._returns = tf.Variable(tf.zeros([task.num_envs]), trainable=False)  # after the latest step of each copy
        self._past = tf.Variable(tf.ones([task.num_envs]), trainable=False)  # γ^t after t steps

    def __call__(self, steps: Memory) -> Memory:
        """Returns the steps with their running returns.

        Args:
            steps: The next step of every copy, a `Memory` of `[N, …]`.
        """
        rewards = learned_rewards(self._task, steps.reward)
        returns = rewards + self._task.discount * tf.convert_to_tensor(self._returns)
        past = self._task.discount * tf.convert_to_tensor(self._past)
        self._returns.assign(tf.where(steps.is_last, tf.zeros_like(returns), returns))
        self._past.assign(tf.where(steps.is_last, tf.ones_like(past), past))
        is_truncated = steps.is_last & (steps.discount > 0) & (past < 1)
        extended = returns / tf.where(is_truncated, 1.0 - past, tf.ones_like(past))
        return with_fields(steps, running_return=extended)

    def reset(self) -> None:
        """Sets the returns of the open episodes to zero."""
        self._returns.assign(tf.zeros_like(self._returns))
        self._past.assign(tf.ones_like(self._past))
