"""Layers and paths of the online network that compute with the target network's values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from mtq.keras_internals import supports_jit


class TargetView:
    """A layer of the online network, or a task's path through it, that computes with the target's values.

    Args:
        target: The target network.
        layer: The layer of the online network, or the path through it.
    """

    def __init__(self, target: Any, layer: keras.layers.Layer) -> None:
        self._target, self._layer, self.name = target, layer, layer.name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer with the target's values, in inference mode unless `training=True` is passed."""
        with self._target.in_place(self._layer.variables):
            return self._layer(*args, **{"training": False, **kwargs})

    @property
    def inputs(self) -> Any:
        """The symbolic inputs of the layer."""
        return self._layer.inputs

    @property
    def variables(self) -> list[keras.Variable]:
        """The target's values of the layer's variables, in the same order."""
        return self._target.values_of(self._layer.variables)

    @property
    def weights(self) -> list[keras.Variable]:
        """The target's values of the layer's weights, in the same order."""
        return self._target.values_of(self._layer.weights)

    def get_weights(self) -> list[np.ndarray]:
        """Returns the target's values of the layer's weights as arrays."""
        return [np.array(value) for value in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets the target's values of the layer's weights; `fit` then does not sync the target before the first update.

        Args:
            weights: An array for each weight.
        """
        for value, given in zip(self.weights, weights, strict=True):
            value.assign(given)

    def get_layer(self, name: str | None = None, index: int | None = None) -> "TargetView":
        """Returns a view of a layer inside this one.

        Args:
            name: The name of the layer.
            index: The index of the layer, if no name is given.
        """
        return TargetView(self._target, self._layer.get_layer(name=name, index=index))

    @property
    def supports_jit(self) -> bool:
        """Whether XLA can compile the layer and all layers inside it."""
        return supports_jit(self._layer)


class TargetPaths(Mapping[str, TargetView]):
    """The tasks' paths `observation` → `q_values` through the target network.

    Args:
        target: The target network.
        paths: The tasks' paths through the online network.
    """

    def __init__(self, target: Any, paths: Mapping[str, keras.Model]) -> None:
        self._views = {name: TargetView(target, path) for name, path in paths.items()}

    def __getitem__(self, name: str) -> TargetView:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)
