"""The target network θ⁻: a second set of values for the online network's variables, which follows it slowly."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq.keras_internals import flatten_layers, has_path, load_state, own_variables, unlock
from mtq.learning.target_paths import TargetView

_OTHER_STREAM = 0x5851F42D  # a seed with these bits inverted is that of other random numbers
# The paths of both networks in files of earlier versions, in which the target network had its own layers.
_ONLINE_BEFORE, _TARGET_BEFORE = "layers/functional", "layers/functional_1"


class TargetValue(keras.Variable):
    """The target network's value of a variable, which records whether it was assigned outside of graphs.

    Attributes:
        was_assigned: Whether the value was assigned eagerly since the last sync.
        is_replaced: Whether the network has since replaced the variable of this value.
    """

    was_assigned = False
    is_replaced = False

    def assign(self, value: Any) -> Any:
        """Assigns a value, like any Keras variable."""
        self.was_assigned = self.was_assigned or tf.executing_eagerly()
        return super().assign(value)


class TargetNetwork(keras.Model):
    """The target network: the online network's layers with a second set of values.

    The target network has no layers of its own, so it cannot differ from the online network in anything but values. It
    calls the online network's layers, with the values of their variables replaced for the duration of the call. State
    that layers update during the call, such as that of a random number generator, goes to the target's values.

    Args:
        network: The online network.
        name: The name in summaries, files and logs, which prefixes the path of each variable.
    """

    def __init__(self, network: keras.Model, name: str = "target_network") -> None:
        name = f"{name}_values" if network.name == name else name
        # The layers have their own precision. A mixed policy here would cast the values before the layers see them.
        super().__init__(name=name, trainable=False, autocast=False, dtype="float32")
        self._online = _Untracked(network)
        self._values: Any = _Untracked({})
        self.follow()
        self.built = True

    @property
    def variables(self) -> list[keras.Variable]:
        """The target's values of all variables of the network, in the order of `network.variables`."""
        return self.values_of(self._online.it.variables)

    @property
    def weights(self) -> list[keras.Variable]:
        """The target's values of `network.weights`, which leave out the states of random number generators."""
        return self.values_of(self._online.it.weights)

    def values_of(self, variables: Sequence[keras.Variable]) -> list[keras.Variable]:
        """Returns the target's values of some of the network's variables.

        Args:
            variables: Variables of the online network.

        Returns:
            The values, in the same order.
        """
        self.follow()
        return [self._values.it[id(variable)] for variable in variables]

    def follow(self) -> None:
        """Creates a value for each variable that was added to the network since the last call, as by LoRA.

        Raises:
            ValueError: Variables were added, but a graph is being traced, in which none can be created.

        Warns:
            UserWarning: The new variables replace others, as after `quantize`. The target network is then set equal to
                the network.
        """
        missing = [variable for variable in self._online.it.variables if id(variable) not in self._values.it]
        if not missing:
            return
        if not tf.executing_eagerly():
            raise ValueError(
                "All variables of the network must exist before it is trained. Received: "
                f"{', '.join(variable.path for variable in missing)}, which were added later. Call model.compile(...) "
                "again after variables are added to layers, as by enable_lora."
            )
        taken = {variable.path for variable in self._online.it.variables}
        taken |= {value.path for value in self._values.it.values()}
        unlock(self)  # which Keras locks after quantize
        with self.distribute_strategy.scope():
            for variable in missing:
                value = _value_for(variable, self.name, taken)
                if variable.name == "seed_generator_state":  # the target draws other random numbers
                    value.assign([int(np.array(variable)[0]) ^ _OTHER_STREAM, 0])
                    value.was_assigned = False
                setattr(self, f"value_{len(self._values.it)}", value)  # so that TensorFlow's checkpoints find it
                self._values.it[id(variable)] = value
                value.keeps = variable  # kept alive so that its id is never reused
                taken.add(value.path)
        self._sync_if_replaced()

    def _sync_if_replaced(self) -> None:
        """Sets the target equal to the network, and warns, if the network has replaced variables."""
        current = {id(variable) for variable in self._online.it.variables}
        replaced = [value for key, value in self._values.it.items() if key not in current and not value.is_replaced]
        if not replaced:
            return
        for value in replaced:
            value.is_replaced = True
        self.sync()
        warnings.warn(
            f"Weights of the network, such as '{replaced[0].keeps.path}', were replaced, for example by quantize. The "
            "target network has no values for the new ones, and was set equal to the network. Quantize after training.",
            stacklevel=2,
        )

    @contextlib.contextmanager
    def in_place(self, variables: Sequence[keras.Variable] | None = None) -> Iterator[None]:
        """A context manager in which the network's layers compute with the target's values.

        Args:
            variables: The variables of the network whose values are replaced; all by default.
        """
        online = self._online.it.variables if variables is None else variables
        values = self.values_of(online)
        mapping = [(online_var, tf.convert_to_tensor(value)) for online_var, value in zip(online, values, strict=True)]
        with keras.StatelessScope(state_mapping=mapping, initialize_variables=False) as scope:
            before = dict(scope.state_mapping)
            yield
        for online_var, value in zip(online, values, strict=True):
            after = scope.get_current_value(online_var)
            if after is not before[id(online_var)]:
                value.assign(after)

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[keras.Model]:
        """A context manager in which the network's variables hold the target's values, for saving.

        Yields:
            The online network.
        """
        online, values = self._online.it.variables, self.variables
        before = [np.array(variable) for variable in online]
        try:
            for variable, value in zip(online, values, strict=True):
                variable.assign(np.array(value))
            yield self._online.it
        finally:
            for variable, value in zip(online, before, strict=True):
                variable.assign(value)

    def call(self, inputs: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """Computes the action values of all tasks with the target's values.

        Args:
            inputs: The observations, `{task: [B, …]}`.
            training: Whether to call the layers in training mode.

        Returns:
            The action values, `{task: [B, num_actions]}`.
        """
        with self.in_place():
            return self._online.it(inputs, training=training)

    def sync(self) -> None:
        """Copies the online network's values to the target, but for the states of random numbers."""
        online = self._online.it.weights
        for value, variable in zip(self.values_of(online), online, strict=True):
            value.assign(tf.convert_to_tensor(variable))
            value.was_assigned = False

    @contextlib.contextmanager
    def in_step(self) -> Iterator[None]:
        """A context manager in which the target has the online network's values; afterwards it has its own again."""
        values = list(self._values.it.values())
        before = [(np.array(value), value.was_assigned) for value in values]
        self.sync()
        try:
            yield
        finally:
            for value, (numbers, was_assigned) in zip(values, before, strict=True):
                value.assign(numbers)
                value.was_assigned = was_assigned

    @property
    def was_set(self) -> bool:
        """Whether values were assigned outside of graphs since the target was last equal to the network."""
        return any(value.was_assigned for value in self._values.it.values())

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets the values, in the order of `network.weights`.

        Values set before the first update are kept: `fit` then does not sync the target with the network.

        Args:
            weights: An array for each weight.
        """
        super().set_weights(weights)
        self._mark_synced_if_equal()

    def _mark_synced_if_equal(self) -> None:
        online = self._online.it.weights
        pairs = zip(self.values_of(online), online, strict=True)
        if all(np.array_equal(value, variable) for value, variable in pairs):
            self._mark_synced()

    def _mark_synced(self) -> None:
        for value in self._values.it.values():
            value.was_assigned = False

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the layers belong to the network, whose own `quantize` converts them."""

    def get_layer(self, name: str | None = None, index: int | None = None) -> TargetView:
        """Returns a view of one of the network's layers that computes with the target's values.

        Args:
            name: The name of the layer.
            index: The index of the layer, if no name is given.
        """
        return TargetView(self, self._online.it.get_layer(name=name, index=index))

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Saves the online network with the target's values, like `keras.Model.save`.

        Args:
            filepath: The file to write.
            *args: Further positional arguments of `keras.Model.save`.
            **kwargs: Further keyword arguments of `keras.Model.save`.
        """
        with self.swapped_in() as network:
            network.save(filepath, *args, **kwargs)

    def save_own_variables(self, store: Any) -> None:
        """Writes the values to a Keras store, in the order of `network.variables`.

        The store also receives those of the network's own variables that Keras does not save unchanged.

        Args:
            store: The store to which arrays are added by name.
        """
        for place, value in enumerate(self.variables):
            store[f"{place}"] = np.array(value)
        for place, variable in enumerate(variables_of_lora(self._online.it)):
            store[f"online_{place}"] = np.array(variable)
        for place, variable in enumerate(_states_of(self._online.it)):
            store[f"state_{place}"] = np.array(variable)

    def load_own_variables(self, store: Any) -> None:
        """Reads the values from a Keras store, also in the older format in which the target had its own layers.

        Args:
            store: The store that holds arrays by name.

        Raises:
            ValueError: The store holds the values of another network.
        """
        values, keys = self.variables, set(store.keys())
        own = {"online_": variables_of_lora(self._online.it), "state_": _states_of(self._online.it)}
        for prefix, variables in own.items():
            if {f"{prefix}{place}" for place in range(len(variables))} <= keys:  # else the file is an older one
                for place, variable in enumerate(variables):
                    variable.assign(store[f"{prefix}{place}"])
        if not len(store.keys()) and has_path(store, _TARGET_BEFORE):
            self._load_layers(store)
        elif {key for key in keys if not key.startswith(tuple(own))} == {f"{place}" for place in range(len(values))}:
            for place, value in enumerate(values):
                value.assign(store[f"{place}"])
        else:
            raise ValueError(
                f"The file must hold the {len(values)} values of the target network '{self.name}'. Received: "
                f"{len(store.keys())}. Load it into a model of the same network."
            )
        self._mark_synced()

    def _load_layers(self, store: Any) -> None:
        network = self._online.it
        try:
            load_state(network, store, _TARGET_BEFORE)
            self.sync()
        finally:
            load_state(network, store, _ONLINE_BEFORE)


class _Untracked:
    """A holder that hides an object from the attribute tracking of Keras and TensorFlow.

    Args:
        it: The object, which is available under the same name.
    """

    def __init__(self, it: Any) -> None:
        self.it = it


def variables_of_lora(network: keras.Model) -> list[keras.Variable]:
    """Returns the variables of all layers of a network that have LoRA.

    When Keras saves such a layer, it adds the product of the two LoRA matrices to the kernel; when it loads the layer,
    it sets both to zero, after which their gradients are always zero.

    Args:
        network: The network.
    """
    adapted = [layer for layer in flatten_layers(network) if getattr(layer, "lora_enabled", False)]
    return [v for layer in adapted for v in own_variables(layer)]


def _states_of(network: keras.Model) -> list[keras.Variable]:
    """Returns the variables that Keras never saves: the states of random number generators, as of dropout."""
    saved = {id(variable) for variable in network.weights}
    return [variable for variable in network.variables if id(variable) not in saved]


def _value_for(variable: keras.Variable, prefix: str, taken: set[str]) -> TargetValue:
    """Creates the target's value of a variable, with the same initial value and a path of its own."""
    *scopes, name = variable.path.split("/")
    path, number = "/".join([prefix, *scopes, name]), 0
    while path in taken:
        number += 1
        path = "/".join([prefix, *scopes, f"{name}_{number}"])
    *scopes, name = path.split("/")
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(keras.name_scope(scope))
        return TargetValue(
            tf.convert_to_tensor(variable),
            dtype=variable.dtype,
            trainable=False,
            aggregation=variable.aggregation,
            synchronization=variable.synchronization,
            name=name,
        )
