"""The options of learning, which `mtq train`, studies, their arms and the recipes have in common."""

import dataclasses

from mtq.settings.declaration import Declaration, option
from mtq.settings.presets import PRESETS

BACKBONES = ("mlp", "bro_net", "minatar_cnn", "nature_cnn", "data_efficient_cnn", "impala_cnn")
"""The backbones of `mtq.networks` that an option may name."""
HEADS = ("scalar", "categorical", "hl_gauss", "quantile")
"""The heads of `mtq.heads`."""
RETURN_SCALINGS = ("running", "popart")
"""The scalings of returns of `mtq.heads`."""
NORMALIZATIONS = ("layer", "rms")
"""The normalizations of backbones."""
SAMPLERS = ("uniform", "prioritized")
"""The samplers of `mtq.samplers`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochOptions(Declaration):
    """Options of the length of the training."""

    epochs: int = option(20, least=1, differs_between_arms=False)
    """The number of epochs, each of which ends with an evaluation."""
    updates_per_epoch: int = option(1_000, least=1)
    """The number of updates of the network in each epoch; each uses one batch of every task."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearningOptions(Declaration):
    """Options of learning."""

    batch_size: int = option(32, least=1)
    """The batch size of each task."""
    steps_per_update: float = option(1.0, above=0, passed_to="experience")
    """The number of environment steps of each task per update, the inverse of the replay ratio."""
    learning_rate: float | None = option(None, above=0, kept=True)
    """The learning rate of Adam; by default 1e-3 for vectors, 2.5e-4 for small images and 1e-4 for large images."""
    final_learning_rate: float | None = option(None, least=0)
    """The learning rate at the last update, to which it decays along a cosine; by default it is constant."""
    loss: str | None = option(None, passed_to="compile", kept=True)
    """The loss of scalar heads: squared (the default), huber or a loss of Keras. Other heads have their own."""
    double: bool = option(False, passed_to="model", excludes="munchausen")
    """Whether to use the targets of Double DQN."""
    munchausen: bool = option(False, passed_to="model")
    """Whether to use the targets of Munchausen-DQN."""
    heads: str = option("scalar", choices=HEADS, passed_to="network")
    """The heads: scalar, categorical (C51), hl_gauss (a histogram of the return) or quantile (QR-DQN). categorical
    and hl_gauss represent values from -10 to 10: add return_scaling running unless all returns are in this range."""
    dueling: bool = option(False, passed_to="network")
    """Whether to use dueling heads."""
    noisy: bool = option(False, passed_to="network")
    """Whether the layers of the heads are noisy. Their noise explores, so ε is 0 by default. If only
    the initial ε is given, ε falls to 0; if only the final one is, ε is constant."""
    return_scaling: str | None = option(None, choices=RETURN_SCALINGS, passed_to="network")
    """The scaling of returns: running, a running scale of each task's returns, or popart (scalar and quantile heads
    only); by default none."""
    normalization: str | None = option(None, choices=NORMALIZATIONS, passed_to="backbone")
    """The normalization before each activation of the backbone, layer or rms; by default none. bro_net has its own."""
    sampler: str | None = option(None, choices=SAMPLERS, alias="replay", passed_to="experience")
    """The sampling of transitions from the replay: uniform, the default, or prioritized by their errors."""
    preset: str | None = option(None, choices=tuple(PRESETS))
    """The preset, a named set of options: rainbow. Other options must not contradict it."""
    n_step: int = option(1, least=1, passed_to="experience")
    """The number of steps of an n-step return."""
    target_update_period: int = option(100, least=1, passed_to="model")
    """The number of updates from one copy of the network to the target network to the next."""
    target_update_tau: float | None = option(
        None, above=0, most=1, alias="tau", metavar="TAU", passed_to="model", excludes="target_update_period"
    )
    """The fraction of the way by which each update moves the target network toward the network, in place of copies."""
    replay_capacity: int = option(50_000, least=1, passed_to="experience")
    """The capacity of each task's replay buffer, in environment steps."""
    warmup_steps: int = option(1_000, least=1, passed_to="experience", differs_between_arms=False)
    """The number of random environment steps of each task before the first update."""
    initial_epsilon: float = option(1.0, least=0, most=1)
    """The probability of random actions, ε, at the first step after the warm-up."""
    final_epsilon: float = option(0.05, least=0, most=1, alias="epsilon", metavar="ε")
    """The probability of random actions, ε, after exploration_steps steps."""
    exploration_steps: int = option(10_000, least=1)
    """The number of environment steps of each task in which ε decreases linearly."""
    repeat_exponent: float | None = option(None, above=1)
    """The exponent of the zeta distribution of the number of times that a random action is repeated, such as 2; by
    default no action is repeated."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CombinationOptions(Declaration):
    """Options of how the tasks are combined."""

    aggregator: str = option("normalized_sum")
    """The aggregator that combines the tasks' gradients."""
    loss_weights: str | None = option(None, metavar="WEIGHTS")
    """The weights of the tasks' losses, task=weight,... or a JSON object; by default each task's own weight."""
    weighting: str | None = option(None, excludes="loss_weights")
    """The weighting that adapts the weights of the tasks' losses, such as famo; by default they are constant."""
