"""Pluggable objects, such as aggregators and weightings: found by name, and saved with the model's weights."""

import difflib
import zlib
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras.src.saving.keras_saveable import KerasSaveable

from mtq.storage.deserialization import deserialize


class Stateful(KerasSaveable):
    """An object with variables of its own, which `MultiTaskDQN` saves and loads with its weights.

    A subclass creates the variables in `build`.

    Attributes:
        stream_name: The name from which the class's random numbers are derived, by default the class's own name. A
            renamed class sets its old name here and so keeps its numbers. Subclasses do not inherit it.
    """

    stream_name: ClassVar[str]

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

    def stream(self, seed: int, place: int = 0) -> int | tf.Tensor:
        """The seed that random numbers of now are drawn from: the one given, unless `use_stream` said another.

        No two classes share numbers, nor two places of one class, whatever their seeds.

        Args:
            seed: As the object was configured.
            place: Which of several draws of one update.
        """
        name = vars(type(self)).get("stream_name", type(self).__name__)
        seed += zlib.crc32(f"{name}/{place}".encode()) << 31
        number = self.__dict__.get("_stream")
        self.__dict__["_stream_is_settled"] = True
        return seed if number is None else number + seed

    def use_stream(self, number: int) -> None:
        """Draws other random numbers from now on, for runs that begin anew. Not saved.

        To be called before numbers are first drawn; then again whenever wanted, and nothing is traced anew.

        Args:
            number: An integer from 0 to below 2³²; 0 gives the numbers of the configured seed.

        Raises:
            RuntimeError: Numbers were drawn before by the configured seed alone, which may stand in a traced function.
        """
        if "_stream" not in self.__dict__:
            if "_stream_is_settled" in self.__dict__:
                raise RuntimeError(f"use_stream of {type(self).__name__} must be called before it first draws numbers.")
            self._stream = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._stream.assign(number)

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


def lookup(role: str, name: str, classes: Mapping[str, type]) -> type:
    """Finds a class by its name.

    Args:
        role: What it is, for the message.
        name: The name given.
        classes: All there are.

    Raises:
        ValueError: There is none of this name; the message suggests the nearest.
    """
    if name not in classes:
        nearest = difflib.get_close_matches(name, classes, n=1, cutoff=0.4)
        hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
        raise ValueError(f"There is no {role} of this name. Received: {name!r}. {hint}There are: {sorted(classes)}.")
    return classes[name]


def ensure_instance(role: str, value: Any, base: type) -> Any:
    """Returns a serialized or ready-made object of a class.

    Args:
        role: What it is, for the message.
        value: An object of the class, or a Keras config of one.
        base: The class.

    Raises:
        ValueError: It is something else.
    """
    if isinstance(value, Mapping) and "class_name" in value:
        value = deserialize(role, value, base)
    if not isinstance(value, base):
        raise ValueError(f"The {role} must be a name or an object of {base.__name__}. Received: {value!r}.")
    return value
