"""One way of sharing a network, to be held against others."""

import dataclasses
import re
from typing import Any

import keras

from mtq import aggregators
from mtq.study.protocol import Protocol
from mtq.td_losses import as_config

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._,=+-]*")
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
        ValueError: There is no such setting, or all arms must have it in common.

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
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(
                "The name of an arm must be of letters, digits, spaces and . _ , = + -, for it names a folder. "
                f"Received: {name!r}."
            )
        if width <= 0:
            raise ValueError(f"width of arm '{name}' must be above 0. Received: {width!r}.")
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
        self.name, self.shared_layers, self.width, self.parameters_of = name, shared_layers, float(width), parameters_of
        self.aggregator, self.loss_weights = _as_config(aggregator), _as_config(loss_weights)
        if "loss" in settings:
            settings["loss"] = as_config(settings["loss"])
        self.settings = settings

    def make_loss_weights(self) -> Any:
        """What `MultiTaskDQN.compile` is to be given, made anew."""
        if isinstance(self.loss_weights, dict) and "class_name" not in self.loss_weights:
            return {name: keras.saving.deserialize_keras_object(weight) for name, weight in self.loss_weights.items()}
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
        shown = {k: v["class_name"] if isinstance(v, dict) and "class_name" in v else v for k, v in given.items()}
        return f"Arm({', '.join([repr(self.name), *(f'{key}={value!r}' for key, value in shown.items())])})"


def _as_config(pluggable: Any) -> Any:
    """Objects as configs, of which every run makes one of its own: some have a memory."""
    if pluggable is None or isinstance(pluggable, str):
        return pluggable
    if isinstance(pluggable, dict) and "class_name" not in pluggable:
        return {name: keras.saving.serialize_keras_object(weight) for name, weight in pluggable.items()}
    return keras.saving.serialize_keras_object(pluggable)
