"""The way from a task's observation to the backbone: scaling, the order of axes, and encoders."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from mtq.checks import message_of
from mtq.keras_internals import flatten_layers, output_shapes
from mtq.networks.encoders import Encoder, check_encoder, default_encoders, named
from mtq.networks.layout import SMALLEST, to_image
from mtq.networks.parts import has_images, part_encoders, part_layers
from mtq.networks.scaling import scaling_layer
from mtq.tasks.observation_spaces import LARGE
from mtq.tasks.task import Task, TaskSet

_LONGEST_REASON = 600


@dataclasses.dataclass(frozen=True)
class Encoding:
    """The layers between a task's observations and the backbone.

    Attributes:
        task: The task.
        parts: The layers that each part of a Dict or Tuple passes through, by its name; empty if observations are not
            taken apart.
        layers: The layers that the whole observation passes through, or the parts' joined vectors.
    """

    task: Task
    parts: Mapping[str, Sequence[Encoder]]
    layers: Sequence[Encoder]

    @property
    def all_layers(self) -> Iterator[Encoder]:
        """The layers, in the order of their calls."""
        for layers in self.parts.values():
            yield from layers
        yield from self.layers

    def call(self, observation: keras.KerasTensor) -> keras.KerasTensor:
        """Encodes observations.

        Args:
            observation: The task's input, `[B, …]`.

        Returns:
            The input of the backbone, `[B, …]`.

        Raises:
            ValueError: A layer does not take what reaches it, or the encoder of a part does not return vectors.
        """
        tensor = self._joined_parts(observation) if self.parts else observation
        for layer in self.layers:
            tensor = called(layer, tensor, self.task, "encoder")
        return tensor

    def _joined_parts(self, observation: keras.KerasTensor) -> keras.KerasTensor:
        encoded = []
        for part, layers in self.parts.items():
            tensor = observation
            for layer in layers:
                tensor = called(layer, tensor, self.task, f"encoder of '{part}'")
            if len(tensor.shape) != 2 or tensor.shape[1] is None:
                raise ValueError(
                    f"The encoder of '{part}' of task '{self.task.name}' must return vectors [B, features]. Received: "
                    f"an output of shape {tuple(tensor.shape)}. An image needs minatar_cnn() or nature_cnn(); other "
                    "arrays need a keras.layers.Flatten()."
                )
            encoded.append(tensor)
        if len(encoded) == 1:
            return encoded[0]
        precision = keras.config.dtype_policy().compute_dtype  # to which parts that no layer has cast are cast
        return keras.layers.Concatenate(name=f"{self.task.name}_parts", dtype=precision)(encoded)


def choose_encodings(
    tasks: TaskSet,
    encoders: Mapping[str, Encoder | Mapping[str, Encoder | None] | None] | None,
    backbone: keras.layers.Layer,
) -> dict[str, Encoding]:
    """Checks the encoders that a user gives, or chooses them, and adds the layers that scale and rearrange images.

    Args:
        tasks: The tasks.
        encoders: The encoders, as for `shared_q_network`.
        backbone: The backbone, whose first layer determines how images are rearranged.

    Returns:
        The encoding of each task.

    Raises:
        ValueError: The encoders are not given for exactly the tasks and their parts, or would misread observations.
    """
    if encoders is not None and not isinstance(encoders, Mapping):
        raise ValueError(f"encoders must be a dict from tasks to layers. Received: {encoders!r}.")
    if encoders is not None:
        check_keys("encoders", encoders, tasks)
    given: dict[str, Any] = dict.fromkeys(tasks) if encoders is None else {name: encoders[name] for name in tasks}
    parts = {}
    for name, task in tasks.items():
        is_by_part = isinstance(given[name], Mapping)
        if is_by_part or (given[name] is None and has_images(task)):
            parts[name] = part_layers(task, part_encoders(task, given[name]))
            given[name] = None
    movers = {
        name: to_image(name, task.spec.observation_shape, backbone)
        for name, task in tasks.items()
        if name not in parts and given[name] is None
    }
    if encoders is None:
        shapes = {name: _shape_reached(task, parts.get(name), movers.get(name)) for name, task in tasks.items()}
        given = default_encoders(shapes, tasks)
    encodings = {}
    for name, task in tasks.items():
        check_encoder(f"encoder of task '{name}'", given[name])
        layers = [layer for layer in (movers.get(name), named(given[name], f"{name}_encoder")) if layer is not None]
        scaling = None if name in parts else scaling_layer(name, task.spec, [*layers, backbone])
        encodings[name] = Encoding(task, parts.get(name, {}), [*([] if scaling is None else [scaling]), *layers])
    return encodings


def called(layer: Encoder, tensor: keras.KerasTensor, task: Task, role: str) -> keras.KerasTensor:
    """Calls a layer on what a task's observations have become.

    Args:
        layer: A layer or a function.
        tensor: Its input, `[B, …]`.
        task: The task.
        role: The name of the argument that the layer belongs to, for messages.

    Returns:
        The output.

    Raises:
        ValueError: The layer does not take the input, or its output holds no numbers.
    """
    try:
        output = layer(tensor)
        _check_not_empty(layer)
        return output
    except Exception as error:
        raise ValueError(
            f"The {role} must take the observations {task.spec.observation_shape} of task '{task.name}', which reach "
            f"'{getattr(layer, 'name', layer)}' as {tuple(tensor.shape[1:])}. Received: {reason_of(error)} If it is "
            f"the shape that does not fit, choose another {role}: mlp takes vectors, minatar_cnn images [height, "
            f"width, channels] from {SMALLEST}×{SMALLEST}, nature_cnn from {LARGE}×{LARGE}; an encoder "
            "keras.layers.Flatten() can flatten smaller ones."
        ) from error


def _check_not_empty(layer: Encoder) -> None:
    """Raises a ValueError for images below a kernel's size, of which Keras 3.12 makes an output without numbers."""
    for inner in flatten_layers(layer) if isinstance(layer, keras.layers.Layer) else []:
        empty = [shape for shape in output_shapes(inner) if 0 in shape]
        if empty:
            raise ValueError(f"Layer '{inner.name}' has an output of shape {empty[0][1:]}.")


def reason_of(error: Exception) -> str:
    """Returns the message of an error without Keras's description of the call in which it was raised.

    Args:
        error: The error that a layer raised.
    """
    text = message_of(error).split("Arguments received by")[0]
    lines = [line.strip() for line in text.splitlines() if not line.startswith("Exception encountered when calling")]
    reason = " ".join(line for line in lines if line) or type(error).__name__
    reason = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"
    return reason if reason.endswith((".", "!", "…")) else f"{reason}."


def _shape_reached(
    task: Task, parts: Mapping[str, Sequence[Encoder]] | None, mover: keras.layers.Layer | None
) -> tuple[int, ...]:
    """Returns the shape in which observations reach the encoder, if the parts' own encoders are the default ones."""
    shape = task.spec.observation_shape
    if parts is None:
        return _shape_after([] if mover is None else [mover], shape)
    return (sum(_shape_after(layers, shape)[-1] for layers in parts.values()),)


def _shape_after(layers: Sequence[Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    for layer in layers:
        shape = tuple(layer.compute_output_shape((None, *shape))[1:])
    return shape


def check_keys(argument: str, given: Mapping[str, object], tasks: TaskSet) -> None:
    """Raises a ValueError unless a dict has an entry for each task and no others.

    Args:
        argument: The name of the argument, for the message.
        given: The dict.
        tasks: The tasks.
    """
    if set(given) != set(tasks):
        raise ValueError(
            f"{argument} must have an entry for each task and no others. Received: {sorted(given)}, "
            f"for the tasks {list(tasks)}."
        )
