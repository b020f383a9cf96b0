"""`Arm`: one of the ways of sharing a network that a study compares."""

from typing import Any

import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from mtq import aggregators
from mtq.checks import integer, real
from mtq.learning.losses import fits_heads
from mtq.settings.checking import check_contradictions, check_effects, replaced_by
from mtq.settings.declaration import arguments, changed, defaults, facts, fields, names_given
from mtq.settings.presets import EPSILONS, expanded, resolved
from mtq.storage.deserialization import deserialize
from mtq.study.design.protocol import Protocol
from mtq.study.design.serialization import as_config, as_text, loss_config
from mtq.study.running.folder import ARM_NAME


class Arm:
    """One of the ways that a study compares: what is shared, how wide it is, and how the tasks are combined.

    Args:
        name: The name of the arm in tables, pictures and folders.
        shared_layers: The number of layers of the backbone that the tasks share, counted from its input: 0 for a
            separate network for each task, None for all layers.
        width: The width of the backbone and the encoders, as a multiple of the study's.
        parameters_of: The name of another arm. The width is then chosen so that the two networks have as nearly as
            possible the same number of parameters.
        aggregator: The name of an aggregator, or an `Aggregator`.
        loss_weights: The weights of the tasks' losses; see `MultiTaskDQN.compile`.
        settings: The settings that differ from the study's `Protocol`, by name, such as `double=True`. They also
            replace those of the protocol that have no effect beside them, such as `munchausen=True` does `double=True`.

    Raises:
        ValueError: The name or the width is invalid; a setting, the aggregator or the loss is unknown; or a setting
            must be the same for all arms.

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
                "The name of an arm must consist of at most 200 letters, digits, spaces and . _ , = + -, and start "
                f"with a letter or a digit, because it names a folder. Received: {name!r}."
            )
        width = real(f"width of arm '{name}'", width, above=0)
        if shared_layers is not None:
            shared_layers = integer(f"shared_layers of arm '{name}'", shared_layers, least=0)
        if parameters_of is not None and not isinstance(parameters_of, str):
            raise ValueError(f"parameters_of of arm '{name}' must be the name of an arm. Received: {parameters_of!r}.")
        known = fields(Protocol)
        preset = settings.pop("preset", None)
        if preset is not None:
            settings = expanded(preset, settings)
        for setting in settings:
            if setting not in known:
                own = ["shared_layers", "width", "parameters_of", "aggregator", "loss_weights"]
                raise ValueError(
                    f"The settings of arm '{name}' must be known ones. Received: {setting!r}. Give one of: "
                    f"{', '.join([*own, *known])}."
                )
            if not facts(known[setting]).differs_between_arms:
                raise ValueError(
                    f"{setting} must be the same for all arms, which could not be compared otherwise. Received: one "
                    f"for arm '{name}'. Set it in the study's Protocol."
                )
        if isinstance(aggregator, str):
            aggregators.get(aggregator)
        self.name, self.shared_layers, self.width, self.parameters_of = name, shared_layers, width, parameters_of
        self.aggregator, self.loss_weights = as_config(aggregator), as_config(loss_weights)
        settings = {key: value.item() if isinstance(value, np.generic) else value for key, value in settings.items()}
        if "loss" in settings:
            settings["loss"] = loss_config(settings["loss"])
        self.settings = settings

    @property
    def network_settings(self) -> dict[str, Any]:
        """The settings that `mtq.networks.shared_q_network` takes as arguments, such as `dueling`, by name."""
        return self._settings_of("network")

    @property
    def backbone_settings(self) -> dict[str, Any]:
        """The settings that backbones of `mtq.networks` take as arguments, such as `normalization`, by name."""
        return self._settings_of("backbone")

    def _settings_of(self, part: str) -> dict[str, Any]:
        names = [name for name, field in fields(Protocol).items() if facts(field).passed_to == part]
        return {name: self.settings[name] for name in names if name in self.settings}

    def with_network_settings(self, common: Protocol) -> "Arm":
        """Returns the arm with the protocol's settings of the network filled in where the arm has none.

        Args:
            common: The study's protocol.
        """
        settings = {**arguments(common, "network"), **arguments(common, "backbone")}
        usual = {name: value for name, value in settings.items() if name in changed(common)}
        return Arm(**{**usual, **self.get_config()}) if usual else self

    def without(self, setting: str) -> "Arm":
        """Returns the arm without one of its settings, so that the protocol's value applies.

        Args:
            setting: The name of the setting.
        """
        return Arm(**{name: value for name, value in self.get_config().items() if name != setting})

    def make_loss_weights(self) -> Any:
        """Returns the `loss_weights` for `MultiTaskDQN.compile`, with new objects."""
        if isinstance(self.loss_weights, dict) and "class_name" not in self.loss_weights:
            return {
                name: deserialize("schedule of a weight", weight, LearningRateSchedule)
                if isinstance(weight, dict)
                else weight
                for name, weight in self.loss_weights.items()
            }
        return self.loss_weights

    def protocol(self, common: Protocol) -> Protocol:
        """Returns the study's protocol with the settings of this arm, and with defaults that follow from these.

        Args:
            common: The study's protocol.

        Raises:
            ValueError: Settings contradict each other, one of the arm's has no effect, or the arm would take more or
                fewer environment steps than the other arms.
        """
        own = self._own(common)
        if own.learning_rate is None:
            own = own.replace(learning_rate=common.learning_rate)
        if own.env_steps != common.env_steps:
            raise ValueError(
                f"Arm '{self.name}' must take as many environment steps as the others, {common.env_steps} of each "
                f"task. Received: settings for {own.env_steps}. Change steps_per_update along with updates_per_epoch."
            )
        return own

    def _own(self, common: Protocol) -> Protocol:
        try:
            check_contradictions(common, self.settings)
            own = common.replace(**replaced_by(common, self.settings), **self.settings)
            if "loss" not in self.settings and not fits_heads(own.loss, own.heads):
                own = own.replace(loss=None)  # the default of the arm's heads
            if common.noisy and not own.noisy:  # an ε that follows from the protocol's noise does not hold without it
                usual, known = defaults(Protocol), {*names_given(common), *self.settings}
                own = own.replace(**{name: usual[name] for name in EPSILONS if name not in known})
            own = resolved(own)
            check_effects(own, self.settings)
        except ValueError as error:
            raise ValueError(f"Arm '{self.name}' cannot be trained by the study's protocol: {error}") from error
        return own

    def with_width(self, width: float) -> "Arm":
        """Returns a copy of the arm with another width."""
        return Arm(**{**self.get_config(), "width": width})

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the arm, as JSON values."""
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
        changed = {k: v for k, v in self.get_config().items() if k != "name" and v != defaults.get(k, object())}
        texts = {k: as_text(v) if isinstance(v, dict) and "class_name" in v else repr(v) for k, v in changed.items()}
        return f"Arm({', '.join([repr(self.name), *(f'{key}={value}' for key, value in texts.items())])})"
