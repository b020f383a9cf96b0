"""Per-task gradients at about the cost of one backward pass."""

from mtq.task_gradients.gradients import TaskGradients
from mtq.task_gradients.tape import TaskGradientTape

__all__ = ["TaskGradientTape", "TaskGradients"]
