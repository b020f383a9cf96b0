"""What a model saves with its own weights: variables of the objects that it was compiled with."""

from typing import Any

import keras
from keras.src.saving.keras_saveable import KerasSaveable


class Stateful(KerasSaveable):
    """Something with variables of its own, which `MultiTaskDQN` saves and loads with its weights.

    A subclass makes them in `build`.
    """

    def build(self, num_tasks: int, num_shared: int) -> None:
        """Makes the variables, once.

        Args:
            num_tasks: T.
            num_shared: How many numbers the variables of more than one task hold together.
        """

    def add_variable(self, name: str, initial: Any, dtype: str = "float32") -> keras.Variable:
        """A variable that is saved under this name, and not trained."""
        variables = self.__dict__.setdefault("_variables", {})
        variables[name] = keras.Variable(initial, dtype=dtype, trainable=False, name=name)
        return variables[name]

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """By name."""
        return self.__dict__.get("_variables", {})

    def save_own_variables(self, store: dict[str, Any]) -> None:
        """Called by Keras."""
        for name, variable in self.variables.items():
            store[name] = variable.numpy()

    def load_own_variables(self, store: dict[str, Any]) -> None:
        """Called by Keras."""
        for name, variable in self.variables.items():
            variable.assign(store[name])

    def _obj_type(self) -> str:
        return "Loss"  # the kind of saveable that Keras expects least of
