"""The settings of Munchausen targets."""

from collections.abc import Mapping
from typing import Any

import keras

from mtq.checks import real
from mtq.storage.deserialization import deserialize


@keras.saving.register_keras_serializable("mtq")
class Munchausen:
    """Targets of Munchausen-DQN: `r + α clip(τ log π(a|s), lowest, 0) + γ Σ_a' π(a'|s') (q(s', a') − τ log π(a'|s'))`.

    π is the soft policy `softmax(q / τ)` of the target network. All values are in the units in which the head computes:
    those of rewards, or normalized ones with a return scaling. With n-step returns, which the paper does not use, only
    the first of the n steps has a bonus.

    Args:
        alpha: The factor α of the bonus, from 0 to 1.
        temperature: The temperature τ, greater than 0.
        lowest: The value below which `τ log π` is clipped, at most 0.

    Reference:
        Vieillard, Pietquin and Geist, "Munchausen Reinforcement Learning", NeurIPS 2020, equation 2.
    """

    def __init__(self, alpha: float = 0.9, temperature: float = 0.03, lowest: float = -1.0) -> None:
        self.alpha = real("alpha of Munchausen", alpha, least=0, most=1)
        self.temperature = real("temperature of Munchausen", temperature, above=0)
        self.lowest = real("lowest of Munchausen", lowest, most=0)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"alpha": self.alpha, "temperature": self.temperature, "lowest": self.lowest}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Munchausen":
        """Creates the settings from their config."""
        return cls(**config)


def get_munchausen(value: Any) -> Munchausen | None:
    """Returns the settings of Munchausen targets; None for other targets.

    Args:
        value: True for the paper's settings, False or None for none, a `Munchausen` or its Keras config.

    Raises:
        ValueError: The value is none of these.
    """
    if value is None or value is False:
        return None
    if value is True:
        return Munchausen()
    if isinstance(value, Mapping) and "class_name" in value:
        value = deserialize("munchausen", value, Munchausen)
    if not isinstance(value, Munchausen):
        raise ValueError(f"munchausen must be True, False or an mtq.Munchausen. Received: {value!r}.")
    return value
