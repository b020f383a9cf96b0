"""A record of the objects that a model was compiled with, and checks that the model still has them."""

from collections.abc import Collection
from typing import Any

import keras
import numpy as np

from mtq.checks import LARGEST_COUNT, flag, integer, real
from mtq.keras_internals import flatten_layers, own_trainable_variables

# Attributes of a model that compile sets or that its functions use: compile must be called after they are replaced.
_REPLACED = ("optimizer", "loss", "network", "tasks", "weighting", "aggregator", "td_loss")
# Settings that are read when the functions are traced, which are traced again after these have changed.
_TRACED = ("steps_per_execution", "run_eagerly", "jit_compile", "target_update_period", "target_update_tau")


class CompiledState:
    """A record of the objects and settings of a model when it was compiled.

    Args:
        model: A `MultiTaskDQN` that has just been compiled.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._parts = {name: getattr(model, name, None) for name in _REPLACED}
        self._paths = {id(variable): variable.path for variable in model.network.trainable_variables}
        self._regularizers = _regularizers(model.network)
        self._settings = traced_settings(model)

    def check(self) -> None:
        """Raises a ValueError if something has changed that the compiled step would ignore.

        It compares the optimizer and the other objects that the model was compiled with, the trainable weights, and
        the regularizers of weights and activities.
        """
        self.check_parts()
        self._check_trainable()
        before, after = self._regularizers, _regularizers(self._model.network)
        changed = [name for name in {**before, **after} if before.get(name) is not after.get(name)]
        if changed:
            raise ValueError(
                "The regularizers of the network must be those that it was compiled with. Received: another one of "
                f"{changed[0]}. Call compile again after changing regularizers."
            )

    def check_parts(self, names: Collection[str] = _REPLACED) -> None:
        """Raises a ValueError if an object has been replaced since the model was compiled.

        Args:
            names: The names of the attributes to check.
        """
        for name, part in self._parts.items():
            if name not in names:
                continue
            current = getattr(self._model, name, None)
            if current is not part:
                raise ValueError(
                    f"model.{name} must be what the model was compiled with. Received: {current!r}, assigned since. "
                    f"Call compile again{' with it' if name not in ('network', 'tasks') else ', on a new model'}."
                )

    def _check_trainable(self) -> None:
        current = {id(variable): variable.path for variable in self._model.network.trainable_variables}
        if current.keys() == self._paths.keys():
            return
        frozen = [path for key, path in self._paths.items() if key not in current]
        freed = [path for key, path in current.items() if key not in self._paths]
        received = [f"{name} {paths}" for name, paths in (("frozen since:", frozen), ("freed since:", freed)) if paths]
        raise ValueError(
            "The trainable weights of the network must be those that it was compiled with. Received: "
            f"{'; '.join(received)}. Call compile again after freezing or unfreezing layers or enabling LoRA, with a "
            "new optimizer if there are new trainable weights."
        )

    def changed_settings(self) -> list[str]:
        """Returns the settings that have changed since the last call, after which functions must be traced again.

        Raises:
            ValueError: A setting is out of its range.
        """
        before, self._settings = self._settings, traced_settings(self._model)
        return [name for name, value in self._settings.items() if value != before[name]]


def check_lora(network: keras.Model) -> None:
    """Raises a ValueError if both LoRA matrices of a layer are zero, so that the layer cannot learn.

    Keras leaves them like this when it loads a network.

    Args:
        network: The network that is to be trained.
    """
    for layer in flatten_layers(network):
        if not getattr(layer, "lora_enabled", False):
            continue
        matrices = [variable for variable in own_trainable_variables(layer) if variable.name.startswith("lora_")]
        if matrices and not any(np.any(np.array(matrix)) for matrix in matrices):
            raise ValueError(
                f"The LoRA weights of layer '{layer.name}' must not all be zero, because their gradients would stay "
                f"zero. Received: zeros of {', '.join(matrix.name for matrix in matrices)}, as Keras leaves them when "
                "it loads a network by itself. Save and load the whole MultiTaskDQN, or assign random numbers to "
                f"{matrices[0].name}."
            )


def traced_settings(model: keras.Model) -> dict[str, Any]:
    """Checks and returns the settings of a model that are read when its functions are traced.

    Args:
        model: A `MultiTaskDQN`.

    Returns:
        The settings by name.

    Raises:
        ValueError: A setting is out of its range.
    """
    integer("steps_per_execution", model.steps_per_execution)
    flag("run_eagerly", model.run_eagerly)
    integer("target_update_period", model.target_update_period, most=LARGEST_COUNT)
    if model.target_update_tau is not None:
        real("target_update_tau", model.target_update_tau, above=0, most=1)
    return {name: getattr(model, name) for name in _TRACED}


def _regularizers(network: keras.Model) -> dict[str, Any]:
    found = {f"weight '{v.path}'": v.regularizer for v in network.trainable_variables}
    for place, layer in enumerate(flatten_layers(network)):
        found[f"the activity of layer '{layer.name}' ({place})"] = getattr(layer, "activity_regularizer", None)
    return {name: regularizer for name, regularizer in found.items() if regularizer is not None}
