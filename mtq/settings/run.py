"""The options of a run: its folder, seed, evaluations, checkpoints and devices."""

import dataclasses

from mtq.settings.declaration import Declaration, option
from mtq.settings.learning import CombinationOptions, EpochOptions, LearningOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnvironmentOptions(Declaration):
    """Options of the environments."""

    num_envs: int = option(1, least=1)
    """The number of copies of each environment, which step together."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceOptions(Declaration):
    """Options of the devices."""

    strategy: str = option("auto", affects_results=False)
    """The distribution strategy: auto, cpu, mirrored, multi_worker (configured by TF_CONFIG) or tpu."""
    devices: int | None = option(None, least=1, affects_results=False)
    """The number of replicas of the strategy mirrored; logical CPUs if there are no GPUs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions(DeviceOptions):
    """Options of the run."""

    seed: int = option(0, least=0)
    """The seed of the network, the environments, the exploration, the replay and the evaluations."""
    episodes: int = option(20, least=1)
    """The number of episodes of each task in each evaluation."""
    out: str = option(affects_results=False)
    """The folder of the run."""
    export_to: str | None = option(None, affects_results=False)
    """The folder to which the best model is exported as a SavedModel; by default it is not exported."""
    overwrite: bool = option(False, affects_results=False)
    """Whether to replace a run and an export that are already in these folders."""
    resume: bool = option(False, affects_results=False)
    """Whether to resume the run in the folder from its last checkpoint, if there is one."""
    checkpoint_every: int = option(1, least=0, affects_results=False)
    """The number of evaluations from one checkpoint to the next, or 0 for none; each checkpoint holds the whole replay
    buffers."""
    tpu: str | None = option(None, affects_results=False)
    """The name or address of the TPU, or local."""
    startup_timeout: int = option(300, least=1, former="seconds_to_meet", affects_results=False)
    """The number of seconds for which the processes of the strategy multi_worker wait for each other at startup."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingOptions(RunOptions, CombinationOptions, LearningOptions, EnvironmentOptions, EpochOptions):
    """Options of a training run, for a recipe to extend."""
