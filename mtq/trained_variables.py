"""Which variables of a network a model was compiled to train."""

from typing import Any

import keras


class TrainedVariables:
    """The network's trainable variables at the time of `compile`, which are those that the compiled step trains.

    Args:
        network: The network; None where nothing was compiled.
    """

    def __init__(self, network: keras.Model | None = None) -> None:
        self._network, self._variables = network, [] if network is None else list(network.trainable_variables)

    def check(self) -> None:
        """Raises a ValueError that names layers if others are trainable now."""
        if self._network is None:
            return
        now, before = _by_id(self._network.trainable_variables), _by_id(self._variables)
        changes = {
            "now trainable": [now[key].path for key in now if key not in before],
            "no longer trainable": [before[key].path for key in before if key not in now],
        }
        if any(changes.values()):
            received = "; ".join(f"{', '.join(paths)}, {what}" for what, paths in changes.items() if paths)
            raise ValueError(
                "The trainable variables of the network must be those that the model was compiled with. Received: "
                f"{received}. Call model.compile(...) again after layers are frozen, unfrozen or given LoRA."
            )


def _by_id(variables: Any) -> dict[int, Any]:
    return {id(variable): variable for variable in variables}
