"""Pluggable objects, such as aggregators and weightings: looked up by name, and saved with the model's weights."""

import difflib
import zlib
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf

from mtq.keras_internals import Saveable
from mtq.storage.deserialization import deserialize


class Stateful(Saveable):
    """An object with variables of its own, which `MultiTaskDQN` saves and loads with its weights.

    A subclass creates the variables in `build`.

    Attributes:
        stream_name: The name from which the class's random numbers are derived, by default the class's own name. A
            renamed class sets its old name here and so keeps its numbers. Subclasses do not inherit it.
    """

    stream_name: ClassVar[str]

    def build_for(self, owner: object, num_tasks: int, num_shared: int) -> None:
        """Creates the variables for a model, unless they were created for the same model before.

        Args:
            owner: The object that identifies the model.
            num_tasks: The number of tasks, T.
            num_shared: The total number of elements of the variables that belong to more than one task.

        Raises:
            ValueError: The variables were created for another owner.
        """
        previous_owner = self.__dict__.get("_owner")
        if previous_owner is not owner and previous_owner is not None and self.variables:
            name = type(self).__name__
            raise ValueError(f"This {name} holds the state of another model. Make a {name} for each model.")
        if previous_owner is None or not self.variables:
            self.build(num_tasks, num_shared)
        self._owner = owner

    def build(self, num_tasks: int, num_shared: int) -> None:
        """Creates the variables. The default implementation creates none.

        Args:
            num_tasks: The number of tasks, T.
            num_shared: The total number of elements of the variables that belong to more than one task.
        """

    def stream(self, seed: int, place: int = 0) -> int | tf.Tensor:
        """Returns the seed of the random numbers to draw now.

        It depends on the configured seed, the class, the place and the number given to `use_stream`. As long as the sum
        of seed and number is from 0 to 2³¹ − 1, different classes and different places of one class never share random
        numbers, unless the CRC-32 checksums of their names collide. With larger seeds they may.

        Args:
            seed: The configured seed.
            place: The index of the draw, if an update draws several times.

        Returns:
            The seed: an integer, or an int64 scalar tensor after `use_stream`.
        """
        name = vars(type(self)).get("stream_name", type(self).__name__)
        seed += zlib.crc32(f"{name}/{place}".encode()) << 31
        number = self.__dict__.get("_stream")
        self.__dict__["_stream_is_settled"] = True
        return seed if number is None else number + seed

    def use_stream(self, number: int) -> None:
        """Switches to another stream of random numbers, for a run that is started again. The choice is not saved.

        The first call must come before the first draw. Later calls may come at any time and cause no retracing.

        Args:
            number: The number of the stream, from 0 to 2³² − 1; 0 is the stream of the configured seed.

        Raises:
            RuntimeError: Random numbers were drawn before the first call. A traced function may then contain the
                configured seed as a constant.
        """
        if "_stream" not in self.__dict__:
            if "_stream_is_settled" in self.__dict__:
                raise RuntimeError(f"use_stream of {type(self).__name__} must be called before it first draws numbers.")
            self._stream = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._stream.assign(number)

    def add_variable(self, name: str, initial: Any, dtype: str = "float32") -> keras.Variable:
        """Creates a variable that is not trained, and is saved with the model.

        Args:
            name: The name under which the variable is saved.
            initial: The initial value.
            dtype: The dtype of the variable.

        Returns:
            The variable.
        """
        variables = self.__dict__.setdefault("_variables", {})
        variables[name] = keras.Variable(initial, dtype=dtype, trainable=False, name=name)
        return variables[name]

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """The variables by name."""
        return self.__dict__.get("_variables", {})

    def save_own_variables(self, store: dict[str, Any]) -> None:
        """Writes the variables to a store; called by Keras.

        Args:
            store: The store to which arrays are added by name.
        """
        for name, variable in self.variables.items():
            store[name] = variable.numpy()

    def load_own_variables(self, store: dict[str, Any]) -> None:
        """Reads the variables from a store; called by Keras.

        Args:
            store: The store that holds arrays by name.

        Raises:
            ValueError: The store lacks a variable, because the model was compiled differently when it was saved.
        """
        for name, variable in self.variables.items():
            if name not in store:
                raise ValueError(
                    f"The file must hold the variable {name!r} of {type(self).__name__}. Received: a file without it. "
                    "Compile the model as it was when the file was saved, load the weights, and then compile it again."
                )
            variable.assign(store[name])


def lookup(role: str, name: str, classes: Mapping[str, type]) -> type:
    """Looks up a class by its name.

    Args:
        role: The role of the class, such as `"aggregator"`, for the error message.
        name: The name to look up.
        classes: The available classes by name.

    Returns:
        The class.

    Raises:
        ValueError: The name is unknown. The message suggests the nearest known name.
    """
    if name not in classes:
        nearest = difflib.get_close_matches(name, classes, n=1, cutoff=0.4)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"The {role} must be one of {sorted(classes)}. Received: {name!r}.{hint}")
    return classes[name]


def ensure_instance(role: str, value: Any, base: type) -> Any:
    """Returns an object of a class, deserialized if the value is a config.

    Args:
        role: The role of the object, such as `"aggregator"`, for the error message.
        value: An object of the class, or its Keras config.
        base: The class.

    Returns:
        The object.

    Raises:
        ValueError: The value is neither an object of the class nor the config of one.
    """
    if isinstance(value, Mapping) and "class_name" in value:
        value = deserialize(role, value, base)
    if not isinstance(value, base):
        raise ValueError(f"The {role} must be a name or an object of {base.__name__}. Received: {value!r}.")
    return value
