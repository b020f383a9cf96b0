"""Per-task gradients at about the price of one backward pass."""

from mtq.task_gradients.gradients import TaskGradients
from mtq.task_gradients.recorder import GradientRecorder

__all__ = ["GradientRecorder", "TaskGradients"]
