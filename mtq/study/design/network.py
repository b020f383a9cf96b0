"""The network of an arm."""

import functools
from collections.abc import Callable

import keras

from mtq.networks import backbone_for, dense_encoder, minatar_cnn, mlp, nature_cnn, shared_q_network
from mtq.study.design.arm import Arm
from mtq.tasks.task import TaskSet

MakeNetwork = Callable[[TaskSet, Arm], keras.Model]
_TOLERANCE = 0.25


def default_network(tasks: TaskSet, arm: Arm) -> keras.Model:
    """Two layers of 128 units for vectors, MinAtar's and Nature DQN's convolutions for small and large images.

    Vectors get an encoder of 128 units for each task, so that separate and shared networks are equally deep.

    Args:
        tasks: The tasks.
        arm: Whose `width` multiplies these numbers, and whose `shared_layers` are shared.
    """
    name = backbone_for([task.spec.observation_shape for task in tasks.values()])
    if name == "mlp":
        units = scaled(128, arm.width)
        encoders = {name: dense_encoder(task, units) for name, task in tasks.items()}
        return shared_q_network(tasks, mlp([units, units]), encoders, shared_layers=arm.shared_layers)
    if name == "nature_cnn":
        backbone = nature_cnn(scaled(512, arm.width))
    else:
        backbone = minatar_cnn(scaled(16, arm.width), scaled(128, arm.width))
    return shared_q_network(tasks, backbone, shared_layers=arm.shared_layers)


def scaled(units: int, width: float) -> int:
    """So many times as many units, at least one."""
    return max(1, round(units * width))


def matched_width(make_network: MakeNetwork, tasks: TaskSet, arm: Arm, num_parameters: int) -> float:
    """The width at which an arm's network has as many parameters as it should, as nearly as can be.

    Args:
        make_network: Makes networks.
        tasks: The tasks.
        arm: Whose width is wanted.
        num_parameters: How many there are to be.

    Raises:
        ValueError: The network's size does not follow the width.
    """

    @functools.cache
    def count(width: float) -> int:
        return make_network(tasks, arm.with_width(width)).count_params()

    low, high = 1e-3, 1.0
    while count(high) < num_parameters:
        low, high = high, 2 * high
        if high > 1e4:
            raise ValueError(
                f"The network of arm '{arm.name}' must grow with arm.width to have {num_parameters} parameters. "
                f"Received: one of {count(high)} at width {high:g}. Let make_network multiply its widths by arm.width."
            )
    for _ in range(14):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if count(middle) < num_parameters else (low, middle)
    best = min((low, high), key=lambda width: abs(count(width) - num_parameters))
    if abs(count(best) - num_parameters) > _TOLERANCE * num_parameters:
        raise ValueError(
            f"The network of arm '{arm.name}' must be able to have about {num_parameters} parameters. Received: one of "
            f"{count(best)} at width {best:.3g}. Let make_network multiply its widths by arm.width."
        )
    return best
