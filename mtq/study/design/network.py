"""The network of an arm: the default one, and widths that match a number of parameters."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from mtq.networks import backbone_for, dense_encoder, minatar_cnn, mlp, nature_cnn, shared_q_network
from mtq.networks.encoding import TaskEncoder
from mtq.networks.parts import has_images
from mtq.study.design.arm import Arm
from mtq.tasks.spec import part_specs
from mtq.tasks.task import Task, TaskSet

MakeNetwork = Callable[[TaskSet, Arm], keras.Model]
_TOLERANCE = 0.25


def default_network(tasks: TaskSet, arm: Arm) -> keras.Model:
    """Returns the default network of an arm, which depends on the tasks' observations.

    For vectors it has an encoder of 128 units for each task and two layers of 128 units, so that separate and shared
    networks are equally deep; for small and large images, the convolutions of MinAtar's and the Nature DQN's networks.
    Images in a Dict or Tuple have such convolutions in front of the encoder.

    Args:
        tasks: The tasks.
        arm: The arm. Its `width` multiplies the numbers of units and channels, its `shared_layers` are shared, its
            `network_settings` are passed to `mtq.networks.shared_q_network`, and its `backbone_settings` to the
            backbone.
    """
    settings = {"shared_layers": arm.shared_layers, **arm.network_settings}
    name = backbone_for([task.spec.observation_shape for task in tasks.values()])
    if name == "mlp":
        units = scaled(128, arm.width)
        encoders = {name: _encoder(task, units, arm.width) for name, task in tasks.items()}
        return shared_q_network(tasks, mlp([units, units], **arm.backbone_settings), encoders, **settings)
    return shared_q_network(tasks, _convolutions(name, arm.width, **arm.backbone_settings), **settings)


def _encoder(task: Task, units: int, width: float) -> TaskEncoder:
    """Returns the encoder of a task's vectors; of a Dict with images, also the convolutions of these."""
    dense = dense_encoder(task, units)
    if not has_images(task):
        return dense
    shapes = {part: spec.observation_shape for part, spec in part_specs(task.name, task.spec).items()}
    convolutions = {
        part: _convolutions(backbone_for([shape]), width) if len(shape) > 1 else None for part, shape in shapes.items()
    }
    return convolutions, dense


def _convolutions(name: str, width: float, **settings: Any) -> keras.Sequential:
    if name == "nature_cnn":
        return nature_cnn(scaled(512, width), **settings)
    return minatar_cnn(scaled(16, width), scaled(128, width), **settings)


def scaled(units: int, width: float) -> int:
    """Returns the number of units multiplied by a width and rounded, at least one.

    Args:
        units: The number of units at width 1.
        width: The width of an arm.
    """
    return max(1, round(units * width))


def matched_width(make_network: MakeNetwork, tasks: TaskSet, arm: Arm, num_parameters: int) -> float:
    """Computes the width at which the number of parameters of an arm's network is nearest to a given one.

    Args:
        make_network: A function of the tasks and an arm that returns the arm's network.
        tasks: The tasks.
        arm: The arm.
        num_parameters: The number of parameters that the network should have.

    Raises:
        ValueError: The size of the network does not follow the width.
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
                f"Received: {count(high)} at width {high:g}. Let make_network multiply its widths by arm.width."
            )
    for _ in range(14):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if count(middle) < num_parameters else (low, middle)
    best = min((low, high), key=lambda width: abs(count(width) - num_parameters))
    if abs(count(best) - num_parameters) > _TOLERANCE * num_parameters:
        raise ValueError(
            f"The network of arm '{arm.name}' must have about {num_parameters} parameters at some width. Received: at "
            f"best {count(best)}, at width {best:.3g}. Let make_network multiply its widths by arm.width."
        )
    return best
