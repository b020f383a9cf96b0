"""The running returns of the open episodes, by which a task's returns are scaled."""

import tensorflow as tf

from mtq.experience.memory import Memory, with_fields
from mtq.experience.transitions import learned_rewards
from mtq.tasks import Task


class RunningReturns(tf.Module):
    """Adds to each step its running return `G_t = r_t + γ G_{t−1}`, from the start of its episode.

    The rewards are those of which the model learns the values, scaled and clipped as the task specifies.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task = task
        self._returns = tf.Variable(tf.zeros([task.num_envs]), trainable=False)  # after the latest step of each copy

    def __call__(self, steps: Memory) -> Memory:
        """Returns the steps with their running returns.

        Args:
            steps: The next step of every copy, a `Memory` of `[N, …]`.
        """
        rewards = learned_rewards(self._task, steps.reward)
        returns = rewards + self._task.discount * tf.convert_to_tensor(self._returns)
        self._returns.assign(tf.where(steps.is_last, tf.zeros_like(returns), returns))
        return with_fields(steps, running_return=returns)

    def reset(self) -> None:
        """Sets the returns of the open episodes to zero."""
        self._returns.assign(tf.zeros_like(self._returns))
