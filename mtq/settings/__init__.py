"""The options of training: each is declared once, and exists in `mtq train`, `mtq study`, its arms and the recipes.

Nothing here imports TensorFlow when it is imported, so that `mtq --help` answers immediately.
"""

from mtq.settings.declaration import Declaration, option
from mtq.settings.learning import CombinationOptions, EpochOptions, LearningOptions
from mtq.settings.program import parse
from mtq.settings.run import DeviceOptions, EnvironmentOptions, RunOptions, TrainingOptions
from mtq.settings.study import ProtocolOptions, StudyRunOptions

__all__ = [
    "CombinationOptions",
    "Declaration",
    "DeviceOptions",
    "EnvironmentOptions",
    "EpochOptions",
    "LearningOptions",
    "ProtocolOptions",
    "RunOptions",
    "StudyRunOptions",
    "TrainingOptions",
    "option",
    "parse",
]
