"""Callbacks that evaluate, visualize, save and guard a model during the training."""

from mtq.callbacks.best_checkpoint import BestCheckpoint
from mtq.callbacks.evaluate_tasks import EvaluateTasks
from mtq.callbacks.gradient_telemetry import GradientTelemetry
from mtq.callbacks.learning_curves import LearningCurves
from mtq.callbacks.save_checkpoint import SaveCheckpoint
from mtq.callbacks.training_returns import TrainingReturns
from mtq.errors import NonFiniteLossError
from mtq.learning.default_callbacks import StopOnNonFiniteLoss, TaskProgress, with_defaults

__all__ = [
    "BestCheckpoint",
    "EvaluateTasks",
    "GradientTelemetry",
    "LearningCurves",
    "NonFiniteLossError",
    "SaveCheckpoint",
    "StopOnNonFiniteLoss",
    "TaskProgress",
    "TrainingReturns",
    "with_defaults",
]
