"""Named sets of arguments for networks, models and experiences."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mtq.settings.declaration import arguments
from mtq.settings.learning import LearningOptions
from mtq.settings.presets import PRESETS, expanded, resolved


@dataclasses.dataclass(frozen=True)
class Preset:
    """The arguments by which a method differs from the defaults.

    Attributes:
        network: The arguments of `mtq.networks.shared_q_network`.
        model: The arguments of `mtq.MultiTaskDQN`.
        experience: The arguments of `mtq.Experience`.
    """

    network: Mapping[str, Any]
    model: Mapping[str, Any]
    experience: Mapping[str, Any]


def names() -> list[str]:
    """Returns the names by which `get` finds presets."""
    return sorted(PRESETS)


def get(name: str) -> Preset:
    """Returns a preset.

    `"rainbow"` has the six parts of Rainbow: double targets, priorities, dueling, 3-step returns, C51 and noisy layers.
    Actions are selected greedily, because the noise explores. The paper clips rewards to [−1, 1], for which its support
    from −10 to 10 was chosen. Here a running scale of each task's returns takes the place of the clipping, so that the
    same support fits any task. Also other than in the paper, priorities are cross-entropies instead of Kullback-Leibler
    divergences, α is 0.6 instead of 0.5, and β stays at 0.4 unless `sampler` is replaced by one with a schedule.

    Args:
        name: The name of the preset.

    Raises:
        ValueError: The name is unknown.

    Example:
        >>> import mtq
        >>> preset, tasks = mtq.presets.get("rainbow"), mtq.TaskSet([mtq.Task("cart_pole", "CartPole-v1")])
        >>> network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([32]), **preset.network)
        >>> model = mtq.MultiTaskDQN(network, tasks, **preset.model)
        >>> experience = mtq.Experience(model, **preset.experience)

    Reference:
        Hessel et al., "Rainbow: Combining Improvements in Deep Reinforcement Learning", AAAI 2018.
    """
    expanded(name, {})  # raises an error if there is no such preset
    options = resolved(LearningOptions(preset=name))
    parts = {
        part: {option: value for option, value in arguments(options, part).items() if option in PRESETS[name]}
        for part in ("network", "model", "experience")
    }
    return Preset(parts["network"], parts["model"], {**parts["experience"], "exploration": options.final_epsilon})
