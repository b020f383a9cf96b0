"""The layers before the backbone: scaling, rearranging of axes, and encoders."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import keras

from mtq.checks import message_of
from mtq.keras_internals import flatten_layers, output_shapes
from mtq.networks.encoders import Encoder, check_encoder, default_encoders, with_free_name
from mtq.networks.layout import SMALLEST, to_image
from mtq.networks.parts import has_images, part_encoders, part_layers
from mtq.networks.scaling import scaling_layer
from mtq.tasks.observation_spaces import LARGE
from mtq.tasks.task import Task, TaskSet

PartEncoders: TypeAlias = Mapping[str, Encoder | None]
TaskEncoder: TypeAlias = Encoder | PartEncoders | tuple[PartEncoders, Encoder] | None
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
            ValueError: A layer does not take its input, or the encoder of a part does not return vectors.
        """
        tensor = self._joined_parts(observation) if self.parts else observation
        for layer in self.layers:
            tensor = call_layer(layer, tensor, self.task, "encoder")
        return tensor

    def _joined_parts(self, observation: keras.KerasTensor) -> keras.KerasTensor:
        encoded = []
        for part, layers in self.parts.items():
            tensor = observation
            for layer in layers:
                tensor = call_layer(layer, tensor, self.task, f"encoder of '{part}'")
            if len(tensor.shape) != 2 or tensor.shape[1] is None:
                raise ValueError(
                    f"The encoder of '{part}' of task '{self.task.name}' must return vectors [B, features]. Received: "
                    f"an output of shape {tuple(tensor.shape)}. An image needs minatar_cnn() or nature_cnn(); other "
                    "arrays need a keras.layers.Flatten()."
                )
            encoded.append(tensor)
        if len(encoded) == 1:
            return encoded[0]
        precision = keras.config.dtype_policy().compute_dtype  # parts without layers are still float32
        return keras.layers.Concatenate(name=f"{self.task.name}_parts", dtype=precision)(encoded)


def choose_encodings(
    tasks: TaskSet,
    encoders: Mapping[str, TaskEncoder] | None,
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
        ValueError: The encoders are not given for exactly the tasks and their parts, or the order of axes or the
            scaling of images does not fit a layer.
    """
    if encoders is not None and not isinstance(encoders, Mapping):
        raise ValueError(f"encoders must be a dict from tasks to layers. Received: {encoders!r}.")
    if encoders is not None:
        check_keys("encoders", encoders, tasks)
    given: dict[str, Any] = {}
    parts = {}
    for name, task in tasks.items():
        of_parts, after = _split(None if encoders is None else encoders[name])
        if any(layer is backbone for layer in [after, *(of_parts or {}).values()]):
            raise ValueError(
                f"An encoder of task '{name}' must not be the backbone. Received: '{backbone.name}' as both. "
                "Create another layer."
            )
        if of_parts is not None or (after is None and has_images(task)):
            parts[name] = part_layers(task, part_encoders(task, of_parts))
        given[name] = after
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
        layers = [
            layer for layer in (movers.get(name), with_free_name(given[name], f"{name}_encoder")) if layer is not None
        ]
        scaling = None if name in parts else scaling_layer(name, task.spec, [*layers, backbone])
        encodings[name] = Encoding(task, parts.get(name, {}), [*([] if scaling is None else [scaling]), *layers])
    return encodings


def _split(given: Any) -> tuple[PartEncoders | None, Encoder | None]:
    """Returns the encoders of the parts, if any are given, and the encoder of the whole or joined observation."""
    if isinstance(given, Mapping):
        return given, None
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], Mapping):
        return given
    return None, given


def call_layer(layer: Encoder, tensor: keras.KerasTensor, task: Task, role: str) -> keras.KerasTensor:
    """Calls a layer on the encoded observations of a task.

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
            f"'{getattr(layer, 'name', layer)}' as {tuple(tensor.shape[1:])}. Received: {error_reason(error)} If it is "
            f"the shape that does not fit, choose another {role}: mlp takes vectors, minatar_cnn images [height, "
            f"width, channels] from {SMALLEST}×{SMALLEST}, nature_cnn from {LARGE}×{LARGE}; an encoder "
            "keras.layers.Flatten() can flatten smaller ones."
        ) from error


def _check_not_empty(layer: Encoder) -> None:
    """Raises a ValueError for an empty output, which Keras 3.12 returns for images smaller than the kernel."""
    for inner in flatten_layers(layer) if isinstance(layer, keras.layers.Layer) else []:
        empty = [shape for shape in output_shapes(inner) if 0 in shape]
        if empty:
            raise ValueError(f"Layer '{inner.name}' has an output of shape {empty[0][1:]}.")


def error_reason(error: Exception) -> str:
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
    """Returns the shape of a task's observations at its encoder: rearranged, or the joined parts."""
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
