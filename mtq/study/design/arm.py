"""One way of sharing a network, to be held against others."""

import dataclasses
from typing import Any

import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from mtq import aggregators
from mtq.checks import integer, real
from mtq.storage.deserialization import deserialize
from mtq.study.design.protocol import Protocol
from mtq.study.design.serialization import as_config, as_text, loss_config
from mtq.study.running.folder import ARM_NAME

_FIXED = ("epochs", "evaluation_episodes", "evaluation_steps", "warmup_steps", "cosines_every")


class Arm:
    """One of the ways that a study compares: what is shared, how wide it is, and how the tasks are combined.

    Args:
        name: As tables, pictures and folders name it.
        shared_layers: How many layers of the backbone the tasks share, counted from its input: 0 for a network of its
            own for each task, None for all.
        width: The backbone's and the encoders' width, as a multiple of the study's.
        parameters_of: The name of another arm. The width is then chosen so that both have, as nearly as can be, as many
            parameters in all.
        aggregator: Name of an aggregator, or the object.
        loss_weights: As `MultiTaskDQN.compile` takes it.
        settings: Whatever is other than in the study's `Protocol`, by its names, such as `double=True`.

    Raises:
        ValueError: The name or the width cannot be one; there is no such setting, aggregator or loss; or all arms must
            have the setting in common.

    Example:
        >>> import mtq
        >>> mtq.study.Arm("normalized", aggregator="normalized_sum", double=True)
        Arm('normalized', aggregator='normalized_sum', double=True)
    """

    def __init__(
        self,
        name: str,
        *,
        shared_layers: int | None = None,
        width: float = 1.0,
        parameters_of: str | None = None,
        aggregator: Any = "sum",
        loss_weights: Any = None,
        **settings: Any,
    ) -> None:
        if not isinstance(name, str) or not ARM_NAME.fullmatch(name):
            raise ValueError(
                "The name of an arm must be of letters, digits, spaces and . _ , = + -, 200 at most, for it names a "
                f"folder. Received: {name!r}."
            )
        width = real(f"width of arm '{name}'", width, above=0)
        if shared_layers is not None:
            shared_layers = integer(f"shared_layers of arm '{name}'", shared_layers, least=0)
        if parameters_of is not None and not isinstance(parameters_of, str):
            raise ValueError(f"parameters_of of arm '{name}' must be the name of an arm. Received: {parameters_of!r}.")
        known = [field.name for field in dataclasses.fields(Protocol)]
        for setting in settings:
            if setting not in known:
                raise ValueError(
                    f"Arm '{name}' has a setting that there is none of. Received: {setting!r}. "
                    f"There are: {', '.join(['shared_layers', 'width', 'parameters_of', 'aggregator', 'loss_weights'])}"
                    f", {', '.join(known)}."
                )
            if setting in _FIXED:
                raise ValueError(
                    f"{setting} must be the same for all arms, or they cannot be compared. Received one for arm "
                    f"'{name}'. Set it in the study's Protocol."
                )
        if isinstance(aggregator, str):
            aggregators.get(aggregator)
        self.name, self.shared_layers, self.width, self.parameters_of = name, shared_layers, width, parameters_of
        self.aggregator, self.loss_weights = as_config(aggregator), as_config(loss_weights)
        settings = {key: value.item() if isinstance(value, np.generic) else value for key, value in settings.items()}
        if "loss" in settings:
            settings["loss"] = loss_config(settings["loss"])
        self.settings = settings

    def make_loss_weights(self) -> Any:
        """What `MultiTaskDQN.compile` is to be given, made anew."""
        if isinstance(self.loss_weights, dict) and "class_name" not in self.loss_weights:
            return {
                name: deserialize("schedule of a weight", weight, LearningRateSchedule)
                if isinstance(weight, dict)
                else weight
                for name, weight in self.loss_weights.items()
            }
        return self.loss_weights

    def protocol(self, common: Protocol) -> Protocol:
        """The study's protocol with what this arm has otherwise.

        Raises:
            ValueError: The arm would take more or fewer environment steps than others.
        """
        own = dataclasses.replace(common, **self.settings)
        if own.env_steps != common.env_steps:
            raise ValueError(
                f"Arm '{self.name}' must take as many environment steps as the others, {common.env_steps} of each "
                f"task. Received: settings for {own.env_steps}. Change steps_per_update with updates_per_epoch."
            )
        return own

    def with_width(self, width: float) -> "Arm":
        """The same arm with another width."""
        return Arm(**{**self.get_config(), "width": width})

    def get_config(self) -> dict[str, Any]:
        """The arguments, as JSON values."""
        return {
            "name": self.name,
            "shared_layers": self.shared_layers,
            "width": self.width,
            "parameters_of": self.parameters_of,
            "aggregator": self.aggregator,
            "loss_weights": self.loss_weights,
            **self.settings,
        }

    def __repr__(self) -> str:
        defaults = Arm("none").get_config()
        given = {k: v for k, v in self.get_config().items() if k != "name" and v != defaults.get(k, object())}
        shown = {k: as_text(v) if isinstance(v, dict) and "class_name" in v else repr(v) for k, v in given.items()}
        return f"Arm({', '.join([repr(self.name), *(f'{key}={value}' for key, value in shown.items())])})"
