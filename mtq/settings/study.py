"""The options of a study: what all its runs have in common, and where the runs are made."""

import dataclasses

from mtq.settings.declaration import option
from mtq.settings.learning import EpochOptions, LearningOptions
from mtq.settings.run import DeviceOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProtocolOptions(LearningOptions, EpochOptions):
    """Options of the protocol."""

    restarts_episodes: bool = option(False)
    """Whether every epoch starts new episodes. Unfinished episodes then count as truncated."""
    evaluation_episodes: int = option(20, least=1, alias="episodes", metavar="N", differs_between_arms=False)
    """The number of greedy episodes of each task in each evaluation. The score is their mean return."""
    evaluation_steps: int | None = option(None, least=1, differs_between_arms=False)
    """The number of greedy steps of each task in each evaluation, instead of episodes. The score is the mean discounted
    return of the episodes that ended within them, and 0 if none ended: give more steps than the longest episode has."""
    evaluates_target: bool = option(False)
    """Whether evaluations use the target network instead of the online network. With a small factor τ the target
    network is a running mean of the online network."""
    cosines_every: int = option(100, least=1, differs_between_arms=False)
    """The number of updates between two samples of the cosines of the tasks' gradients."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyRunOptions(DeviceOptions):
    """Options of the runs."""

    strategy: str = "auto"
    """The strategy of each run: auto, cpu or mirrored; with multi_worker, each process of TF_CONFIG executes one shard
    of the runs."""
    devices: int | None = None
    """The number of replicas of the strategy mirrored, which execute each run together; logical CPUs if there are no
    GPUs."""
    out: str = option()
    """The folder of the study."""
    workers: int | None = option(None, least=1)
    """The number of runs that are executed at once; by default the number of cores."""
    shard: str | None = option(None)
    """The shard of the runs that this machine executes, I/N with I from 0 to N-1; other machines execute the other
    shards in the same folder."""
