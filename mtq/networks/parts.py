"""Encoders for the parts of Dict and Tuple observations, which reach the network as one vector."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import keras

from mtq.checks import integer
from mtq.dynamics.stacked import stacked_shape
from mtq.networks.backbones import backbone_for, minatar_cnn, nature_cnn
from mtq.networks.encoders import Encoder, check_encoder, with_free_name
from mtq.networks.layout import to_image
from mtq.networks.scaling import scaling_layer
from mtq.tasks.spec import TaskSpec, part_specs
from mtq.tasks.task import Task

_DEFAULTS: Mapping[str, Callable[[], keras.layers.Layer]] = {"minatar_cnn": minatar_cnn, "nature_cnn": nature_cnn}


@keras.saving.register_keras_serializable("mtq")
class ObservationPart(keras.layers.Layer):
    """Extracts one part of a Dict or Tuple observation from the flat vector: `[B, numbers]` → `[B, *shape]`.

    If observations are stacks of frames, the output is the part in every frame, stacked on the last axis, oldest first.

    Args:
        start: The index of the part's first number in the vector of one frame.
        shape: The shape of the part in one frame.
        frame_stack: The number of frames of an observation.
    """

    is_row_wise = True  # its output for one row depends on that row alone

    def __init__(self, start: int, shape: Any, frame_stack: int = 1, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # integers keep their values in half precision until scaled
        self.start = integer("start of ObservationPart", start, least=0)
        self.shape = tuple(integer("shape of ObservationPart", axis) for axis in shape)
        self.frame_stack = integer("frame_stack of ObservationPart", frame_stack)

    def call(self, observations: Any) -> Any:
        """Takes the part from observations `[B, numbers]`."""
        size = observations.shape[-1] // self.frame_stack
        stop = self.start + math.prod(self.shape)
        frames = keras.ops.reshape(observations, (-1, self.frame_stack, size))[:, :, self.start : stop]
        if self.frame_stack == 1:
            return keras.ops.reshape(frames, (-1, *self.shape))
        axes = self.shape if len(self.shape) == 2 else self.shape[:-1]  # those in front of the frames
        frames = keras.ops.reshape(frames, (-1, self.frame_stack, *self.shape))
        order = (0, *range(2, 2 + len(axes)), 1, *range(2 + len(axes), 2 + len(self.shape)))
        return keras.ops.reshape(keras.ops.transpose(frames, order), (-1, *stacked_shape(self.shape, self.frame_stack)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the part, or of its stack."""
        return (input_shape[0], *(stacked_shape(self.shape, self.frame_stack) if self.frame_stack > 1 else self.shape))

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {**super().get_config(), "start": self.start, "shape": self.shape, "frame_stack": self.frame_stack}


def has_images(task: Task) -> bool:
    """Returns whether the observations are a Dict or Tuple that holds an image or another array of several axes.

    Args:
        task: The task.
    """
    return any(len(shape) > 1 for _, shape in task.spec.parts)


def part_encoders(task: Task, given: Mapping[str, Encoder | None] | None) -> dict[str, Encoder | None]:
    """Checks the encoders of the parts of a task's observations, or chooses them.

    Args:
        task: The task, whose observations are a Dict or Tuple.
        given: The encoder of each part, by its name; None for a `minatar_cnn` or a `nature_cnn` for each image, by its
            size, and no encoders of vectors.

    Returns:
        The encoder, or None, of each part.

    Raises:
        ValueError: The observations have no parts, or the encoders are not those of exactly these parts; or none are
            given for an image of an ambiguous shape.
    """
    specs = part_specs(task.name, task.spec)
    if given is None:
        return {part: _default_encoder(task, part, spec) for part, spec in specs.items()}
    if not specs:
        raise ValueError(
            f"encoders of task '{task.name}' must be one layer. Received: a dict {list(given)}, but its observations "
            f"are arrays of shape {task.spec.observation_shape} without parts that have names. Make the task with an "
            "environment whose observation_space is a gymnasium.spaces.Dict."
        )
    if set(given) != set(specs):
        raise ValueError(
            f"encoders of task '{task.name}' must have an entry for each part of its observations, {list(specs)}. "
            f"Received: {list(given)}."
        )
    for part, encoder in given.items():
        check_encoder(f"encoder of '{part}' of task '{task.name}'", encoder)
    return {part: given[part] for part in specs}


def part_layers(task: Task, encoders: Mapping[str, Encoder | None]) -> dict[str, list[Any]]:
    """Creates the layers that each part of a task's observations passes through.

    Args:
        task: The task, whose observations are a Dict or Tuple.
        encoders: The encoder of each part, as `part_encoders` returns them.

    Returns:
        For each part a list of layers, of which the first takes the flat vector.

    Raises:
        ValueError: The encoder of an image would misread its axes, or scale it again.
    """
    layers, start = {}, 0
    specs = part_specs(task.name, task.spec)
    for number, (part, shape) in enumerate(task.spec.parts):
        spec, name = specs[part], f"{task.name}_part_{number}_{re.sub('[^A-Za-z0-9_]', '_', part)}"
        encoder = with_free_name(encoders[part], f"{name}_encoder")
        mover = to_image(name, spec.observation_shape, encoder) if isinstance(encoder, keras.layers.Layer) else None
        after = [layer for layer in (mover, encoder) if layer is not None]
        scaling = scaling_layer(name, spec, after)
        taken = ObservationPart(start, shape, task.spec.frame_stack, name=name)
        layers[part] = [taken, *([] if scaling is None else [scaling]), *after]
        start += math.prod(shape)
    return layers


def _default_encoder(task: Task, part: str, spec: TaskSpec) -> keras.layers.Layer | None:
    if len(spec.observation_shape) == 1:
        return None
    try:
        return _DEFAULTS[backbone_for([spec.observation_shape])]()
    except ValueError as error:
        example = dict.fromkeys(task.spec.part_names, "…")
        raise ValueError(
            f"'{part}' of task '{task.name}' must have an encoder, because its shape {spec.observation_shape} does not "
            f"determine one. Received: none. Give encoders={{'{task.name}': {example}, …}}, with a layer for each "
            "part, or None to pass a vector unchanged."
        ) from error
