"""Callbacks: what people look at while a model trains, and what guards it."""

from mtq.callbacks.best_checkpoint import BestCheckpoint
from mtq.callbacks.evaluate_tasks import EvaluateTasks
from mtq.callbacks.gradient_telemetry import GradientTelemetry
from mtq.callbacks.learning_curves import LearningCurves
from mtq.callbacks.non_finite import NonFiniteLossError, StopOnNonFiniteLoss
from mtq.callbacks.progress import TaskProgress, with_defaults
from mtq.callbacks.save_checkpoint import SaveCheckpoint
from mtq.callbacks.training_returns import TrainingReturns

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
