"""Hard parameter sharing: one backbone for all tasks, and an encoder and a head for each task."""

import re
from collections.abc import Mapping, Sequence

import keras

from mtq.checks import check_keras, flag, integer, message_of
from mtq.keras_internals import flatten_layers, output_shapes
from mtq.networks.backbones import widths
from mtq.networks.encoders import Encoder, default_encoders
from mtq.networks.heads import head_layers
from mtq.networks.initialization import creations, initialize, keep_weights, seeded_build
from mtq.networks.layer_copies import copy_of_layer
from mtq.networks.layout import SMALLEST, to_image
from mtq.networks.scaling import scaling_layer
from mtq.networks.sharing_depth import split_backbone
from mtq.tasks.observation_spaces import LARGE
from mtq.tasks.task import Task, TaskSet, check_tasks

_LONGEST_REASON = 600


def shared_q_network(
    tasks: TaskSet,
    backbone: keras.layers.Layer,
    encoders: Mapping[str, Encoder | None] | None = None,
    heads: Sequence[int] | Mapping[str, Sequence[int]] = (),
    dueling: bool = False,
    seed: int | None = None,
    shared_layers: int | None = None,
) -> keras.Model:
    """Joins a shared backbone with an encoder and a head for each task.

    Bounded integers and images of floats are scaled from their bounds to `[0, 1]` at the input; the exact rules are in
    `mtq.tasks.observation_spaces`. Vectors of floats are not scaled. If no encoder is given and the backbone begins
    with a convolution, Gymnasium's frame stacks `[frames, height, width]` and `[frames, height, width, channels]` are
    rearranged to `[height, width, channels]`, and gray images `[height, width]` get a channel axis.

    Args:
        tasks: The tasks.
        backbone: The backbone, `[B, …]` → `[B, features]`: the result of `mlp`, `minatar_cnn` or `nature_cnn`, or any
            Keras layer or model.
        encoders: The encoder of each task, by name: a layer or a function of a Keras tensor that brings the observation
            to the input shape of the backbone, or None if it has that shape. By default observations of one shape get
            no encoder, vectors of different lengths get a `dense_encoder` each, and images with different numbers of
            channels are padded. Images of different sizes need a `resizing_encoder` each, or a backbone with `pooling`.
        heads: The widths of the hidden layers in each head, one list for all tasks or a dict with a list for each task.
        dueling: Whether the heads are `DuelingHead`s.
        seed: The seed of the weights, which then do not depend on any other random state; None to draw them from
            Keras's global generator. A layer that already has weights, such as a trained backbone or one built with an
            input shape, keeps them.
        shared_layers: The number of the backbone's layers with weights that tasks share, counted from its input. Each
            task gets a copy of the others, named `"<task>_<layer>"`. By default all layers are shared; with 0 the tasks
            have separate networks. A backbone other than a `keras.Sequential` counts as one layer.

    Returns:
        A functional model `{task: observation [B, …]}` → `{task: q_values [B, num_actions]}`. Its layer `"backbone"`
        is the shared part.

    Raises:
        ValueError: encoders or heads are not given for exactly these tasks, the encoded shapes differ or do not fit the
            backbone, or shared_layers exceeds the number of layers with weights.

    Example:
        >>> import mtq
        >>> tasks = mtq.TaskSet([mtq.Task("cart_pole", "CartPole-v1"), mtq.Task("acrobot", "Acrobot-v1")])
        >>> network = mtq.networks.shared_q_network(tasks, backbone=mtq.networks.mlp([32]))
        >>> {task: q_values.shape for task, q_values in network.output.items()}
        {'cart_pole': (None, 2), 'acrobot': (None, 3)}
    """
    check_tasks("tasks of the network", tasks)
    check_keras("backbone", backbone)
    if not isinstance(backbone, keras.layers.Layer):
        raise ValueError(f"backbone must be a Keras layer or model, such as mlp([128]). Received: {backbone!r}.")
    dueling = flag("dueling", dueling)
    seed = None if seed is None else integer("seed", seed, least=0)
    hidden = dict(heads) if isinstance(heads, Mapping) else dict.fromkeys(tasks, heads)
    _check_keys("heads", hidden, tasks)
    hidden = {name: widths(f"heads of task '{name}'", units) for name, units in hidden.items()}
    if encoders is not None and not isinstance(encoders, Mapping):
        raise ValueError(f"encoders must be a dict from tasks to layers. Received: {encoders!r}.")
    if backbone.name != "backbone":
        backbone = keras.Sequential([backbone], name="backbone")
    shapes = {name: task.spec.observation_shape for name, task in tasks.items()}
    movers = {
        name: to_image(name, shape, backbone) if encoders is None or encoders.get(name) is None else None
        for name, shape in shapes.items()
    }
    if encoders is None:
        encoders = default_encoders({name: _shape_after(movers[name], shape) for name, shape in shapes.items()}, tasks)
    _check_keys("encoders", encoders, tasks)
    for name, encoder in encoders.items():
        check_keras(f"encoder of task '{name}'", encoder)
        if encoder is not None and not callable(encoder):
            raise ValueError(f"encoder of task '{name}' must be a layer, a function or None. Received: {encoder!r}.")

    inputs = {
        name: keras.Input(task.spec.observation_shape, dtype=task.spec.observation_dtype, name=name)
        for name, task in tasks.items()
    }
    with creations() as was_made, seeded_build([backbone, *encoders.values()], seed):
        encoded = {}
        for name, task in tasks.items():
            encoded[name] = inputs[name]
            layers = [layer for layer in (movers[name], encoders[name]) if layer is not None]
            scaling = scaling_layer(task, [*layers, backbone])
            for layer in [scaling, *layers] if scaling is not None else layers:
                encoded[name] = _called(layer, encoded[name], task, "encoder")
        shared, private = split_backbone(backbone, shared_layers)
        _check_agreement({name: tuple(tensor.shape[1:]) for name, tensor in encoded.items()}, shared)
        outputs, copies_of_built = {}, []
        for name, task in tasks.items():
            copies = [copy_of_layer(layer, f"{name}_{layer.name}") for layer in private]
            copies_of_built += [copy for copy, layer in zip(copies, private, strict=True) if layer.built]
            features = encoded[name]
            for layer in [*shared, *copies]:
                features = _called(layer, features, task, "backbone")
            _check_features(features, task)
            for layer in head_layers(task, hidden[name], dueling):
                features = layer(features)
            outputs[name] = features
        network = _joined(inputs, outputs)
    kept = {id(variable) for variable in network.variables if not was_made(variable)}
    kept |= {id(variable) for copy in copies_of_built for variable in copy.variables}
    keep_weights(network, kept)
    if seed is not None:
        initialize(network, seed)
    return network


def _called(layer: Encoder, tensor: keras.KerasTensor, task: Task, role: str) -> keras.KerasTensor:
    try:
        output = layer(tensor)
        _check_not_empty(layer)
        return output
    except Exception as error:
        raise ValueError(
            f"The {role} must take the observations {task.spec.observation_shape} of task '{task.name}', which reach "
            f"'{getattr(layer, 'name', layer)}' as {tuple(tensor.shape[1:])}. Received: {_reason(error)} If it is the "
            f"shape that does not fit, choose another {role}: mlp takes vectors, minatar_cnn images [height, width, "
            f"channels] from {SMALLEST}×{SMALLEST}, nature_cnn from {LARGE}×{LARGE}; an encoder "
            "keras.layers.Flatten() can flatten smaller ones."
        ) from error


def _check_not_empty(layer: Encoder) -> None:
    """Raises a ValueError for images below a kernel's size, of which Keras 3.12 makes an output without numbers."""
    for inner in flatten_layers(layer) if isinstance(layer, keras.layers.Layer) else []:
        empty = [shape for shape in output_shapes(inner) if 0 in shape]
        if empty:
            raise ValueError(f"Layer '{inner.name}' has an output of shape {empty[0][1:]}.")


def _reason(error: Exception) -> str:
    """The message of an error without Keras's description of the call in which it was raised."""
    text = message_of(error).split("Arguments received by")[0]
    lines = [line.strip() for line in text.splitlines() if not line.startswith("Exception encountered when calling")]
    reason = " ".join(line for line in lines if line) or type(error).__name__
    reason = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"
    return reason if reason.endswith((".", "!", "…")) else f"{reason}."


def _shape_after(layer: keras.layers.Layer | None, shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if layer is None else tuple(layer.compute_output_shape((None, *shape))[1:])


def _check_features(features: keras.KerasTensor, task: Task) -> None:
    if len(features.shape) != 2 or features.shape[1] is None:
        raise ValueError(
            "The backbone must return features [B, features]. Received: an output of shape "
            f"{tuple(features.shape)}, for the observations {task.spec.observation_shape} of task '{task.name}'. For "
            "images choose minatar_cnn or nature_cnn; to treat observations as vectors, flatten them with an encoder "
            "keras.layers.Flatten()."
        )


def _joined(inputs: Mapping[str, keras.KerasTensor], outputs: Mapping[str, keras.KerasTensor]) -> keras.Model:
    try:
        return keras.Model(inputs, outputs, name="shared_q_network")
    except ValueError as error:
        repeated = re.search(r'name "(.+)" is used \d+ times', str(error))
        if repeated is None:
            raise
        raise ValueError(
            f"Each layer of the network must have a unique name. Received: '{repeated[1]}' more than once, for the "
            f"tasks {list(inputs)}. Rename a task, or the layer of an encoder or of the backbone (name=…)."
        ) from error


def _check_keys(argument: str, given: Mapping[str, object], tasks: TaskSet) -> None:
    if set(given) != set(tasks):
        raise ValueError(
            f"{argument} must have an entry for each task and no others. Received: {sorted(given)}, "
            f"for the tasks {list(tasks)}."
        )


def _check_agreement(shapes: Mapping[str, tuple[int | None, ...]], shared: Sequence[keras.layers.Layer]) -> None:
    """Raises a ValueError unless the shared layers can take the encoded observations of all tasks.

    Images of different sizes suit layers whose weights do not depend on the size, which are built for any size here.
    """
    if len(set(shapes.values())) == 1 or not shared:
        return
    are_images = (
        all(len(shape) == 3 for shape in shapes.values()) and len({shape[-1] for shape in shapes.values()}) == 1
    )
    if not are_images:
        raise ValueError(
            f"The backbone must get one shape from all tasks. Received, after the encoders: {dict(shapes)}. "
            "Give encoders that bring the observations to one shape, or omit encoders to use the default ones."
        )
    (layer,) = shared
    try:
        if not layer.built:
            layer.build((None, None, None, next(iter(shapes.values()))[-1]))
        outputs = {tuple(layer.compute_output_shape((None, *shape))) for shape in shapes.values()}
    except Exception as error:
        raise _different_sizes(shapes, f"It failed with: {_reason(error)}") from error
    if any(None in output[1:] for output in outputs):
        raise _different_sizes(shapes, f"It would return {outputs}.")


def _different_sizes(shapes: Mapping[str, tuple[int | None, ...]], what: str) -> ValueError:
    return ValueError(
        "The backbone must take images of different sizes, or get images of one size. Received, after the encoders: "
        f"{dict(shapes)}. {what} Give it pooling='average', as in nature_cnn(pooling='average'), or bring all images "
        "to one size with encoders={task: mtq.networks.resizing_encoder(task, height, width), …}."
    )
