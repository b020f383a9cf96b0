"""What a model saves with its own weights: variables of the objects that it was compiled with."""

from typing import Any

import keras
import tensorflow as tf
from keras.src.saving.keras_saveable import KerasSaveable


class Stateful(KerasSaveable):
    """Something with variables of its own, which `MultiTaskDQN` saves and loads with its weights.

    A subclass makes them in `build`.
    """

    def build_for(self, owner: object, num_tasks: int, num_shared: int) -> None:
        """Makes the variables, or keeps them where the same owner has had them made.

        Args:
            owner: Stands for a model.
            num_tasks: T.
            num_shared: As in `build`.

        Raises:
            ValueError: The variables are those of another owner.
        """
        known = self.__dict__.get("_owner")
        if known is not owner and known is not None and self.variables:
            name = type(self).__name__
            raise ValueError(f"This {name} holds the state of another model. Make a {name} for each model.")
        if known is None or not self.variables:
            self.build(num_tasks, num_shared)
        self._owner = owner

    def build(self, num_tasks: int, num_shared: int) -> None:
        """Makes the variables.

        Args:
            num_tasks: T.
            num_shared: How many numbers the variables of more than one task hold together.
        """

    def stream(self, seed: int) -> tf.Tensor:
        """The seed that random numbers of now are drawn from: the one given, unless `use_stream` said another.

        Args:
            seed: As the object was configured.
        """
        return self._stream() + seed

    def use_stream(self, number: int) -> None:
        """Draws other random numbers from now on, without tracing anew. Not saved: for runs that begin anew.

        Args:
            number: Any integer below 2³²; 0 gives the numbers of the configured seed.
        """
        self._stream().assign(number)

    def _stream(self) -> tf.Variable:
        if "_stream_number" not in self.__dict__:
            with tf.init_scope():
                self._stream_number = tf.Variable(0, dtype=tf.int64, trainable=False)
        return self._stream_number

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
            if name not in store:
                raise ValueError(
                    f"There is no {name!r} of {type(self).__name__} in the file. Compile the model as it was when the "
                    "file was saved, load the weights, and then compile it anew."
                )
            variable.assign(store[name])

    def _obj_type(self) -> str:
        return "Loss"  # the kind of saveable that Keras expects least of
