"""Hard parameter sharing: one backbone for all tasks, and an encoder and a head for each task."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from mtq.checks import check_keras, flag, integer
from mtq.networks.encoding import TaskEncoder, call_layer, choose_encodings, error_reason
from mtq.networks.head_layers import TaskHead, design_heads
from mtq.networks.initialization import creations, initialize, keep_weights, seeded_build
from mtq.networks.layer_copies import copy_of_layer
from mtq.networks.sharing_depth import split_backbone
from mtq.tasks.task import Task, TaskSet, check_tasks


def shared_q_network(
    tasks: TaskSet,
    backbone: keras.layers.Layer,
    encoders: Mapping[str, TaskEncoder] | None = None,
    heads: TaskHead | Mapping[str, TaskHead] = "scalar",
    dueling: bool = False,
    seed: int | None = None,
    shared_layers: int | None = None,
    *,
    head_units: Sequence[int] | Mapping[str, Sequence[int]] = (),
    return_scaling: Any = None,
    noisy: bool = False,
) -> keras.Model:
    """Joins a shared backbone with an encoder and a head for each task.

    Bounded integers and images of floats are scaled from their bounds to `[0, 1]` at the input; the exact rules are in
    `mtq.tasks.observation_spaces`. Vectors of floats are not scaled, nor are integers that a layer of Keras takes as
    categories, such as `Embedding`; encoders that are functions or layers of your own receive scaled numbers. If no
    encoder is given and the backbone begins with a convolution, Gymnasium's frame stacks `[frames, height, width]` and
    `[frames, height, width, channels]` are rearranged to `[height, width, channels]`, and gray images `[height, width]`
    get a channel axis.

    Args:
        tasks: The tasks.
        backbone: The backbone, `[B, …]` → `[B, features]`: the result of `mlp`, `minatar_cnn`, `nature_cnn` or another
            function of `mtq.networks`, or any Keras layer or model.
        encoders: The encoder of each task, by name: a layer or a function of a Keras tensor that brings the observation
            to the input shape of the backbone, or None if it has that shape. By default observations of one shape get
            no encoder, vectors of different lengths get a `dense_encoder` each, and images with different numbers of
            channels are padded. Images of different sizes need a `resizing_encoder` each, or a backbone with `pooling`.
            For a task with Dict or Tuple observations, the entry may itself be a dict with an encoder for each part in
            `task.spec.parts`: a layer that maps the part to a vector, or None to pass a vector unchanged. The encoded
            parts are joined to one vector. A tuple of such a dict and a layer applies the layer to that vector. By
            default each image in a Dict or Tuple gets a `minatar_cnn` or a `nature_cnn`, by its size.
        heads: The heads, which determine how the outputs describe the return of an action and by which loss they are
            trained: `"scalar"`, `"categorical"` (C51), `"hl_gauss"`, `"quantile"` (QR-DQN), an `mtq.heads.Head`, or a
            dict with one for each task. A list of integers means scalar heads with these `head_units`.
        dueling: Whether each head has a dueling architecture, by a `mtq.heads.DuelingHead`.
        seed: The seed of the weights, which then do not depend on any other random state; None to draw them from
            Keras's global generator. A layer that already has weights, such as a trained backbone or one built with an
            input shape, keeps them.
        shared_layers: The number of the backbone's layers with weights that tasks share, counted from its input. Each
            task gets a copy of the others, named `"<task>_<layer>"`. By default all layers are shared; with 0 the tasks
            have separate networks. A layer and its normalization in a backbone of mtq, a residual block of `bro_net`, a
            section of `impala_cnn`, and a backbone other than a `keras.Sequential` count as one layer each.
        head_units: The widths of the hidden layers in each head, one list for all tasks or a dict with a list for each
            task.
        return_scaling: The scaling of returns: None, `"running"` for a running scale of each task's returns,
            `"popart"`, an `mtq.heads.ReturnScaling`, or a dict with one for each task.
        noisy: Whether the layers of the heads are `mtq.heads.NoisyDense`. Their noise explores, so the default
            exploration of `Experience` is then 0. Other layers may be `NoisyDense` too.

    Returns:
        A functional model `{task: observation [B, …]}` → `{task: q_values [B, num_actions]}`. Its layer `"backbone"`
        is the shared part.

    Raises:
        ValueError: encoders or heads are not given for exactly these tasks, the encoded shapes differ or do not fit the
            backbone, shared_layers exceeds the number of layers with weights, or a return scaling does not fit a head.

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
    dueling, noisy = flag("dueling", dueling), flag("noisy", noisy)
    seed = None if seed is None else integer("seed", seed, least=0)
    designs = design_heads(tasks, heads, head_units, dueling=dueling, noisy=noisy, return_scaling=return_scaling)
    if backbone.name != "backbone":
        backbone = keras.Sequential([backbone], name="backbone")
    encodings = choose_encodings(tasks, encoders, backbone)
    inputs = {
        name: keras.Input(task.spec.observation_shape, dtype=task.spec.observation_dtype, name=name)
        for name, task in tasks.items()
    }
    encoding_layers = [layer for encoding in encodings.values() for layer in encoding.all_layers]
    with creations() as was_made, seeded_build([backbone, *encoding_layers], seed):
        encoded = {name: encodings[name].call(inputs[name]) for name in tasks}
        shared, private = split_backbone(backbone, shared_layers)
        _check_agreement({name: tuple(tensor.shape[1:]) for name, tensor in encoded.items()}, shared)
        outputs, copies_of_built = {}, []
        for name, task in tasks.items():
            copies = [copy_of_layer(layer, f"{name}_{layer.name}") for layer in private]
            copies_of_built += [copy for copy, layer in zip(copies, private, strict=True) if layer.built]
            features = encoded[name]
            for layer in [*shared, *copies]:
                features = call_layer(layer, features, task, "backbone")
            _check_features(features, task)
            for layer in designs[name].layers():
                features = layer(features)
            outputs[name] = features
        network = _joined(inputs, outputs)
    kept = {id(variable) for variable in network.variables if not was_made(variable)}
    kept |= {id(variable) for copy in copies_of_built for variable in copy.variables}
    keep_weights(network, kept)
    if seed is not None:
        initialize(network, seed)
    return network


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


def _check_agreement(shapes: Mapping[str, tuple[int | None, ...]], shared: Sequence[keras.layers.Layer]) -> None:
    """Raises a ValueError unless the shared layers can take the encoded observations of all tasks.

    Images of different sizes are accepted if the weights of the shared layers do not depend on the size. Layers that
    are not built yet are built here for any height and width.
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
        raise _different_sizes(shapes, f"It failed with: {error_reason(error)}") from error
    if any(None in output[1:] for output in outputs):
        raise _different_sizes(shapes, f"It would return {outputs}.")


def _different_sizes(shapes: Mapping[str, tuple[int | None, ...]], what: str) -> ValueError:
    return ValueError(
        "The backbone must take images of different sizes, or get images of one size. Received, after the encoders: "
        f"{dict(shapes)}. {what} Give it pooling='average', as in nature_cnn(pooling='average'), or bring all images "
        "to one size with encoders={task: mtq.networks.resizing_encoder(task, height, width), …}."
    )
