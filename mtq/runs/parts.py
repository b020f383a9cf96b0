"""The parts of a training run, made from options: network, model, optimizer, exploration and experience."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras

from mtq import networks
from mtq.experience import exploration as exploration_lib
from mtq.learning.model import MultiTaskDQN
from mtq.settings.declaration import arguments
from mtq.settings.learning import BACKBONES, CombinationOptions, LearningOptions
from mtq.tasks.spec import part_specs
from mtq.tasks.task import TaskSet

if TYPE_CHECKING:
    from mtq.experience.experience import Experience  # which needs the interfaces

LEARNING_RATES = {"mlp": 1e-3, "minatar_cnn": 2.5e-4, "nature_cnn": 1e-4}
"""The default learning rates, by the backbone that suits the observations."""


def make_network(
    tasks: TaskSet,
    options: LearningOptions,
    backbone: keras.layers.Layer | Callable[..., keras.layers.Layer] | None = None,
    **settings: Any,
) -> keras.Model:
    """Makes a network with the options that are passed to it, such as `dueling`, and its seed.

    Args:
        tasks: The tasks.
        options: The options.
        backbone: The backbone, or a function that makes it from options that are passed to it, such as `normalization`;
            by default the one that `options.backbone` names or, without it, the one that suits the tasks' observations.
        settings: Further arguments of `mtq.networks.shared_q_network`.
    """
    of_backbone = {name: value for name, value in arguments(options, "backbone").items() if value is not None}
    if backbone is None:
        backbone = _backbone_of(tasks, options, of_backbone)
    if isinstance(backbone, keras.layers.Layer):
        if of_backbone:
            raise ValueError(
                f"{next(iter(of_backbone))} must be left out with a backbone that is made already. Received: "
                f"{of_backbone}. Give a function that makes the backbone, such as mtq.networks.mlp."
            )
    else:
        backbone = backbone(**of_backbone)
    settings = {"seed": getattr(options, "seed", None), **arguments(options, "network"), **settings}
    return networks.shared_q_network(tasks, backbone, **settings)


def _backbone_of(tasks: TaskSet, options: Any, settings: Mapping[str, Any]) -> Callable[..., keras.layers.Layer]:
    """Returns the function that makes the backbone which the options name, or which suits the tasks."""
    name = getattr(options, "backbone", None)
    if name is None:
        name = networks.backbone_for([task.spec.observation_shape for task in tasks.values()])
    if name not in BACKBONES:
        raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}. Received: {name!r}.")
    if name == "bro_net" and settings:
        raise ValueError(
            "normalization must be left out with the backbone bro_net, which has layer normalization. Received: "
            f"{options.normalization!r}. Leave it out, or choose the backbone mlp."
        )
    return getattr(networks, name)


def make_model(
    tasks: TaskSet,
    network: keras.Model,
    options: LearningOptions,
    *,
    optimizer: Any = None,
    steps_per_execution: int = 1,
    **settings: Any,
) -> MultiTaskDQN:
    """Makes a compiled model.

    Args:
        tasks: The tasks.
        network: The network.
        options: The options.
        optimizer: The optimizer; by default that of `make_optimizer`.
        steps_per_execution: The number of updates per call of the train function.
        settings: Further arguments of `MultiTaskDQN.compile`, which take precedence over the options.
    """
    model = MultiTaskDQN(network, tasks, **arguments(options, "model"))
    if isinstance(options, CombinationOptions):
        settings = {**combination(options), **settings}
    model.compile(
        make_optimizer(options) if optimizer is None else optimizer,
        steps_per_execution=steps_per_execution,
        **{**arguments(options, "compile"), **settings},
    )
    return model


def make_optimizer(options: Any, epsilon: float = 1e-7) -> keras.optimizers.Optimizer:
    """Makes the optimizer, Adam.

    Args:
        options: The options; see `make_learning_rate`.
        epsilon: The ε of Adam.
    """
    return keras.optimizers.Adam(make_learning_rate(options), epsilon=epsilon)


def make_learning_rate(options: Any) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Makes the learning rate: a number or, if there is a final learning rate, a schedule that decays along a cosine.

    Args:
        options: The options, which have a number of `epochs` and of `updates_per_epoch`.
    """
    rate = LEARNING_RATES["mlp"] if options.learning_rate is None else options.learning_rate
    if options.final_learning_rate is None:
        return rate
    updates = options.epochs * options.updates_per_epoch
    return keras.optimizers.schedules.CosineDecay(rate, updates, alpha=options.final_learning_rate / rate)


def make_exploration(options: LearningOptions) -> exploration_lib.EpsilonGreedy:
    """Makes the exploration: ε-greedy, where ε decreases linearly over a task's environment steps.

    Args:
        options: The options.
    """
    epsilon = exploration_lib.linear(options.initial_epsilon, options.final_epsilon, options.exploration_steps)
    return exploration_lib.EpsilonGreedy(epsilon, options.repeat_exponent)


def make_experience(
    model: MultiTaskDQN, options: LearningOptions, exploration: exploration_lib.Exploration = None
) -> "Experience":
    """Makes an experience.

    Args:
        model: The model.
        options: The options, with a `seed` or without one.
        exploration: The exploration; by default that of `make_exploration`.
    """
    from mtq.experience.experience import Experience

    if exploration is None:
        exploration = make_exploration(options)
    settings = {"seed": getattr(options, "seed", 0), **arguments(options, "experience")}
    return Experience(model, exploration=exploration, **settings)


def learning_rate_for(tasks: TaskSet) -> float:
    """Returns the default learning rate: 1e-3 for vectors, 2.5e-4 for small images and 1e-4 for large images.

    Args:
        tasks: The tasks. If one of them has images, these determine the rate, also as a part of its observations.
    """
    shapes: list[tuple[int, ...]] = []
    try:
        for task in tasks.values():
            parts = [spec.observation_shape for spec in part_specs(task.name, task.spec).values()]
            shapes += [shape for shape in parts or [task.spec.observation_shape] if len(shape) > 1]
        return LEARNING_RATES[networks.backbone_for(shapes) if shapes else "mlp"]
    except ValueError:  # a shape that is not an image, or not clearly
        return LEARNING_RATES["mlp"]


def combination(options: CombinationOptions) -> dict[str, Any]:
    """Returns the `aggregator` and the `loss_weights` of `MultiTaskDQN.compile`.

    Args:
        options: The options.
    """
    weights = options.weighting if options.loss_weights is None else parse_weights(options.loss_weights)
    return {"aggregator": options.aggregator, "loss_weights": weights}


def parse_weights(text: str | Mapping[str, float]) -> Mapping[str, float]:
    """Parses the weights of the tasks' losses.

    Args:
        text: The weights as `task=weight,…` or as a JSON object; a mapping is returned unchanged.

    Raises:
        ValueError: The text is neither.
    """
    if isinstance(text, Mapping):
        return text
    read: Callable[[str], Any] = json.loads if text.lstrip().startswith("{") else _pairs
    try:
        return read(text)
    except ValueError as error:
        raise ValueError(
            f"loss_weights must be written as task=weight,... or as a JSON object. Received: {text!r}. Write them as "
            "in 'cart_pole=1,acrobot=0.5'."
        ) from error


def _pairs(text: str) -> dict[str, float]:
    pairs = [entry.split("=") for entry in text.split(",")]
    return {task.strip(): float(weight) for task, weight in pairs}
